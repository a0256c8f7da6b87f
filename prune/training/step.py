"""One epoch of training, and gradients on labeled batches: the forward and backward pass both share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn

from prune.data.dataset import Batch
from prune.data.labels import IGNORE_INDEX
from prune.errors import TrainingDiverged, UserError
from prune.models import all_logits, mode
from prune.number_format import NumberFormat
from prune.training.averaging import AveragedWeights
from prune.training.distillation import Distillation
from prune.training.losses import Loss
from prune.training.parallel import average_gradients
from prune.training.settings import TrainSettings

if TYPE_CHECKING:  # it imports torch-pruning, which few trainings need
    from prune.training.group_lasso import GroupLasso


@dataclass
class TrainingStep:
    """Forward and backward pass on one batch, with autocast, memory format, the auxiliary and the distillation loss.

    It also holds what an optimizer step does besides.

    Args:
        model: Network on ``device``.
        loss: Takes logits (N, C, H, W) and labels (N, H, W).
        device: Where the batch goes.
        numbers: Autocast type, and memory format of the images.
        aux_weight: Weight of the auxiliary heads' losses.
        distillation: Adds the loss of a student, None = there is no teacher.
        forward: What is called in place of ``model`` while several processes train it, see ``prune.training.parallel``.
        sparsity: Adds its gradients before the optimizer step, None = no penalty. It is no part of the loss that is returned.
        average: Takes the weights in after the optimizer step, None = they are not averaged.
    """

    model: nn.Module
    loss: Loss
    device: torch.device
    numbers: NumberFormat = field(default_factory=NumberFormat)
    aux_weight: float = 0.4
    distillation: Distillation | None = None
    forward: nn.Module | None = None
    sparsity: GroupLasso | None = None
    average: AveragedWeights | None = None

    @property
    def projection(self) -> nn.Module | None:
        """What is trained beside the network and is no part of it, see ``SharedFeatures``."""
        features = self.distillation and self.distillation.features
        return features.projection if features else None

    def __call__(self, batch: Batch) -> torch.Tensor:
        """The training loss of a batch as a scalar with its graph; logits are float32 where the loss is taken."""
        images = batch[0].to(self.device, non_blocking=True).contiguous(memory_format=self.numbers.memory_format)
        label = batch[1].to(self.device, non_blocking=True)
        autocast = self.numbers.autocast
        with torch.autocast(self.device.type, autocast, enabled=autocast is not None):
            forward = partial(all_logits, self.forward or self.model)
            logits, lesson = self.distillation.taught(forward, images) if self.distillation else (forward(images), None)
        total = self.loss(logits["out"].float(), label)
        for name, output in logits.items():
            if name != "out":
                total = total + self.aux_weight * self.loss(output.float(), label)
        if self.distillation is not None and lesson is not None:
            total = total + self.distillation.loss(logits["out"].float(), lesson, label)
        return total


def make_optimizer(
    model: nn.Module, config: TrainSettings, projection: nn.Module | None = None
) -> torch.optim.Optimizer:
    """The optimizer over every parameter that learns; ``projection`` is trained beside the network."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    parameters += list(projection.parameters()) if projection is not None else []
    if config.optimizer == "sgd":
        return torch.optim.SGD(parameters, config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, config.lr, weight_decay=config.weight_decay)


def train_one_epoch(
    step: TrainingStep,
    batches: Iterable[Batch],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    config: TrainSettings,
    on_batch: Callable[[int, float], None],
) -> float:
    """Train on ``batches`` and return the mean loss per batch.

    ``on_batch(number, loss)`` is called after each batch: it sets learning rates and shows progress.

    Raises:
        TrainingDiverged: when the loss is no longer finite; parameters are then those before that batch.
    """
    step.model.train()
    optimizer.zero_grad(set_to_none=True)
    total, count, pending = 0.0, 0, False
    for number, batch in enumerate(batches):
        loss = step(batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingDiverged(f"the loss became {value} in batch {number + 1}: try a smaller --lr or --amp off")
        scaler.scale(loss / config.accumulate).backward()
        total, count, pending = total + value, count + 1, True
        if count % config.accumulate == 0:
            _update(step, optimizer, scaler, config.clip)
            pending = False
        on_batch(number, value)
    if pending:
        _update(step, optimizer, scaler, config.clip)
    return total / max(1, count)


def _update(step: TrainingStep, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, clip: float) -> None:
    if step.projection is not None:
        average_gradients(step.projection.parameters())
    if clip or step.sparsity:
        scaler.unscale_(optimizer)
    if step.sparsity:
        step.sparsity.add_gradients()
    if clip:
        nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], clip)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    if step.average:
        step.average.update()


def batch_gradients(step: TrainingStep, batches: Iterable[Batch]) -> Iterator[None]:
    """Leave the gradient of the training loss of one labeled batch after the other in ``.grad`` and yield.

    The network is in evaluation mode while a gradient is taken: running batch-norm statistics stay as they are, dropout
    is off, and a batch of one is enough, which is what keeps the memory small. Gradients are cleared between batches.

    Raises:
        UserError: when a loss is not finite, and, in the end, when no pixel was labeled.
    """
    labeled = False
    for batch in batches:
        labeled = labeled or bool((batch[1] != IGNORE_INDEX).any())
        step.model.zero_grad(set_to_none=True)
        with mode(step.model, training=False):
            loss = step(batch)
            if not torch.isfinite(loss):
                raise UserError(
                    "the training loss of a labeled batch is not finite: the network is broken or untrained"
                )
            loss.backward()
        yield
    step.model.zero_grad(set_to_none=True)
    if not labeled:
        raise UserError("expected labeled pixels to take gradients of, found only ignored ones")
