"""Knowledge distillation: a student learns from the logits and the features of a teacher besides the labels."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from prune.data.labels import IGNORE_INDEX
from prune.errors import UserError
from prune.models import all_logits, mode, output_layers, without_auxiliary
from prune.models.blocks import resize_to
from prune.models.checkpoint import Network
from prune.training.parallel import global_sum

Forward = Callable[[torch.Tensor], dict[str, torch.Tensor]]
"""Takes images (N, 3, H, W); gives the logits of every head."""


class _Divergence(torch.autograd.Function):
    """KL(softmax(t / T) ‖ softmax(s / T)) along an axis; its gradient is (softmax(s / T) − softmax(t / T)) / T.

    One image after the other, with the gradient taken at once: of the six maps that autograd would keep for the backward pass,
    one is left, in the number format of s.
    """

    @staticmethod
    def forward(
        ctx: Any, student: torch.Tensor, teacher: torch.Tensor, ignored: Any, t: float, axis: int
    ) -> torch.Tensor:
        gradient, divergences = torch.empty_like(student), []
        exact = torch.promote_types(student.dtype, torch.float32)
        for number, pair in enumerate(zip(student, teacher, strict=True)):
            scaled = [one.to(exact) / t for one in pair]
            if ignored is not None:
                scaled = [one.masked_fill_(ignored[number], -torch.inf) for one in scaled]
            found, wanted = (one.log_softmax(axis - 1) for one in scaled)
            share = wanted.exp()
            parts = wanted.sub_(found).mul_(share)
            if ignored is not None:
                parts.masked_fill_(ignored[number], 0)
            divergences.append(parts.sum(axis - 1))
            gradient[number] = found.exp_().sub_(share)
        ctx.save_for_backward(gradient)
        ctx.axis, ctx.t = axis, t
        return torch.stack(divergences)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * (gradients[0] / ctx.t).unsqueeze(ctx.axis).to(gradient.dtype), None, None, None, None


def pixelwise_kl(student: torch.Tensor, teacher: torch.Tensor, label: torch.Tensor, temperature: float) -> torch.Tensor:
    """T² · KL(softmax(teacher / T) ‖ softmax(student / T)), mean over the valid pixels (Hinton et al. 2015).

    The softmax runs over the classes. The factor T² keeps the size of the gradients the same for every temperature. 0 when
    no pixel is valid.

    Args:
        student: Logits float32 (N, C, H, W).
        teacher: Logits float32 (N, C, H, W); no gradient flows into them.
        label: int64 (N, H, W); pixels that are ignored are left out.
        temperature: T, larger = softer probabilities.
    """
    valid = label != IGNORE_INDEX
    divergence = _Divergence.apply(student, teacher.detach(), None, temperature, 1)
    return temperature**2 * global_sum((divergence * valid).sum()) / global_sum(valid.sum()).clamp(min=1)


def channelwise_kl(
    student: torch.Tensor, teacher: torch.Tensor, label: torch.Tensor, temperature: float
) -> torch.Tensor:
    """T² / C · Σ_c KL(φ_c(teacher) ‖ φ_c(student)), mean over the images (Shu et al. 2021, CWD, equations 3 and 4).

    φ_c is the softmax of channel c over the pixels i of an image, φ_c(y)_i = exp(y_ci / T) / Σ_j exp(y_cj / T): it tells
    where a channel is active, not how strongly. Every channel counts alike, so that a class of 0.1% of the pixels weighs as
    much as the background. Ignored pixels have no share in the softmax; images without a valid pixel are left out, and
    without any the loss is 0.

    Args:
        student: Logits or features float32 (N, C, H, W).
        teacher: The same of the teacher; no gradient flows into it.
        label: int64 (N, H, W).
        temperature: T, larger = more of the image counts beside the strongest pixels.
    """
    valid = (label != IGNORE_INDEX).flatten(1)
    labeled = valid.any(1)
    ignored = None if valid.all() else (~valid & labeled[:, None]).unsqueeze(1)
    divergence = _Divergence.apply(student.flatten(2), teacher.detach().flatten(2), ignored, temperature, 2).mean(1)
    return temperature**2 * global_sum((divergence * labeled).sum()) / global_sum(labeled.sum()).clamp(min=1)


PARTS = {"kl": pixelwise_kl, "cwd": channelwise_kl}
"""What ``--distill_loss`` names, several joined by ``+``."""
FINEST = 4
"""Pixels of the images per side of a pixel of the features; finer maps cost as much as a small student itself."""


@contextmanager
def _read_by(layer: nn.Module) -> Iterator[list[torch.Tensor]]:
    """What a layer reads in forward passes inside the block, the last at the end."""
    maps: list[torch.Tensor] = []
    handle = layer.register_forward_pre_hook(lambda module, given: maps.append(given[0]))
    try:
        yield maps
    finally:
        handle.remove()


def _scoring_layer(model: nn.Module) -> nn.Conv2d | nn.ConvTranspose2d:
    """The convolution that gives the class scores.

    Raises:
        UserError: when there is none.
    """
    try:
        layer = output_layers(model)[0]
    except UserError as error:
        raise UserError(f"--distill_features: {error.message}") from error
    if not isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
        kind = type(layer).__name__
        raise UserError(
            f"--distill_features: expected a convolution that gives the classes of {type(model).__name__}, found {kind}"
        )
    return layer


def _averaged(maps: torch.Tensor, side: int) -> torch.Tensor:
    """Means of maps (N, C, h, w) over squares of ``side`` pixels; fewer at the edges."""
    return F.avg_pool2d(maps, side, ceil_mode=True) if side > 1 else maps


class SharedFeatures:
    """The feature map that is distilled: what the layer reads that gives the class scores, in student and teacher.

    Where their channels differ, as after pruning, a 1x1 convolution without bias makes the teacher's of the student's
    (Shu et al. 2021). It is trained with the student and is no part of the network. Maps that are finer than 1 / ``FINEST``
    of the images are averaged to that, and the teacher's are resized to the student's size.

    Args:
        student: Network on the device of the batch.
        teacher: Network on that device.
        weight: Weight of this loss beside the others.
        seed: Of the convolution; all processes of a training start from the same.

    Raises:
        UserError: when a network has no convolution that gives the class scores.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module, weight: float, seed: int = 0) -> None:
        self.weight = weight
        self.layers = _scoring_layer(student), _scoring_layer(teacher)
        own, others = (layer.in_channels for layer in self.layers)
        self.projection: nn.Module = nn.Identity()
        if own != others:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.projection = nn.Conv2d(own, others, 1, bias=False).to(next(student.parameters()).device)

    def aligned(
        self, student: torch.Tensor, teacher: torch.Tensor, images: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The maps (N, C, h, w) of ``images`` (N, 3, H, W) with the teacher's channels at one size, at most H / 4 by W / 4."""
        student, teacher = (_averaged(one, FINEST * one.shape[2] // images.shape[2]) for one in (student, teacher))
        if teacher.shape[2:] != student.shape[2:]:
            teacher = resize_to(teacher, student)
        return self.projection(student), teacher

    def loss(self, maps: tuple[torch.Tensor, torch.Tensor], label: torch.Tensor, temperature: float) -> torch.Tensor:
        """The weighted ``channelwise_kl`` of aligned maps; a pixel of theirs is ignored where the nearest label is."""
        near = F.interpolate(label[:, None].float(), size=maps[0].shape[2:], mode="nearest")[:, 0].long()
        return self.weight * channelwise_kl(*maps, near, temperature)


@dataclass(frozen=True)
class Lesson:
    """What a teacher shows of a batch.

    Args:
        logits: The teacher's, float32 (N, C, H, W).
        features: ``SharedFeatures.aligned`` of student and teacher, where they are distilled.
    """

    logits: torch.Tensor
    features: tuple[torch.Tensor, torch.Tensor] | None = None


@dataclass(frozen=True)
class Distillation:
    """The distillation loss of a batch.

    Args:
        teacher: Network on the device of the batch; it runs in evaluation mode and without gradients.
        weight: Weight of the loss on the logits beside the others.
        temperature: See ``pixelwise_kl`` and ``channelwise_kl``.
        kind: Keys of ``PARTS`` joined by ``+``; their sum is taken on the logits.
        features: Adds a loss on one feature map, None = there is none.
    """

    teacher: nn.Module
    weight: float = 1.0
    temperature: float = 2.0
    kind: str = "kl"
    features: SharedFeatures | None = None

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """What the teacher says of ``images`` (N, 3, H, W): float32 (N, C, H, W)."""
        with torch.no_grad(), without_auxiliary(self.teacher) as teacher, mode(teacher, training=False):
            return all_logits(teacher, images)["out"].float()

    def taught(self, forward: Forward, images: torch.Tensor) -> tuple[dict[str, torch.Tensor], Lesson]:
        """The logits of the student by ``forward``, and what the teacher shows of the same images (N, 3, H, W).

        The teacher runs first: what it needs is free again before the student's graph is kept.
        """
        if self.features is None:
            lesson = Lesson(self.logits(images))
            return forward(images), lesson
        own, others = self.features.layers
        with _read_by(others) as shown:
            logits = self.logits(images)
        with _read_by(own) as found:
            heads = forward(images)
        return heads, Lesson(logits, self.features.aligned(found[-1], shown[-1], images))

    def loss(self, student: torch.Tensor, lesson: Lesson, label: torch.Tensor) -> torch.Tensor:
        """The weighted losses on logits float32 (N, C, H, W) and on features as a scalar."""
        parts = [PARTS[name](student, lesson.logits, label, self.temperature) for name in self.kind.split("+")]
        total = self.weight * sum(parts[1:], parts[0])
        if self.features is None or lesson.features is None:
            return total
        return total + self.features.loss(lesson.features, label, self.temperature)


def require_fitting_teacher(teacher: Network, student: Network) -> None:
    """Check that a teacher speaks of the same classes and takes the same images as the student.

    Raises:
        UserError: when it does not.
    """
    name = teacher.file or teacher.architecture
    if teacher.classes.classes != student.classes.classes:
        raise UserError(
            f"--teacher: expected the classes {', '.join(student.classes.classes)}, "
            f"found {', '.join(teacher.classes.classes)} in {name}"
        )
    if teacher.preprocessing != student.preprocessing:
        raise UserError(f"--teacher: expected the normalization of the network that learns, found another in {name}")
