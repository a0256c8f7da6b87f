"""One epoch of training, and gradients on labeled batches: the forward and backward pass both share."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import nn

from prune.data.dataset import Batch
from prune.errors import TrainingDiverged, UserError
from prune.models import all_logits, mode
from prune.number_format import NumberFormat
from prune.training.distillation import Distillation
from prune.training.losses import Loss
from prune.training.settings import TrainSettings


@dataclass
class TrainingStep:
    """Forward and backward pass on one batch, with autocast, memory format, the auxiliary and the distillation loss.

    Args:
        model: Network on ``device``.
        loss: Takes logits (N, C, H, W) and labels (N, H, W).
        device: Where the batch goes.
        numbers: Autocast type, and memory format of the images.
        aux_weight: Weight of the auxiliary heads' losses.
        distillation: Adds the loss of a student, None = there is no teacher.
        forward: What is called in place of ``model`` while several processes train it, see ``prune.training.parallel``.
    """

    model: nn.Module
    loss: Loss
    device: torch.device
    numbers: NumberFormat = field(default_factory=NumberFormat)
    aux_weight: float = 0.4
    distillation: Distillation | None = None
    forward: nn.Module | None = None

    def __call__(self, batch: Batch) -> torch.Tensor:
        """The training loss of a batch as a scalar with its graph; logits are float32 where the loss is taken."""
        images = batch[0].to(self.device, non_blocking=True).contiguous(memory_format=self.numbers.memory_format)
        label = batch[1].to(self.device, non_blocking=True)
        autocast = self.numbers.autocast
        with torch.autocast(self.device.type, autocast, enabled=autocast is not None):
            logits = all_logits(self.forward or self.model, images)
            taught = self.distillation.logits(images) if self.distillation else None
        total = self.loss(logits["out"].float(), label)
        for name, output in logits.items():
            if name != "out":
                total = total + self.aux_weight * self.loss(output.float(), label)
        if self.distillation is not None and taught is not None:
            total = total + self.distillation.loss(logits["out"].float(), taught, label)
        return total


def make_optimizer(model: nn.Module, config: TrainSettings) -> torch.optim.Optimizer:
    """The optimizer over every parameter that learns."""
    parameters = [p for p in model.parameters() if p.requires_grad]
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
            _update(step.model, optimizer, scaler, config.clip)
            pending = False
        on_batch(number, value)
    if pending:
        _update(step.model, optimizer, scaler, config.clip)
    return total / max(1, count)


def _update(model: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, clip: float) -> None:
    if clip:
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), clip)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)


def batch_gradients(step: TrainingStep, batches: Iterable[Batch]) -> Iterator[None]:
    """Leave the gradient of the training loss of one labeled batch after the other in ``.grad`` and yield.

    The network is in evaluation mode while a gradient is taken: running batch-norm statistics stay as they are, dropout
    is off, and a batch of one is enough, which is what keeps the memory small. Gradients are cleared between batches.

    Raises:
        UserError: when a loss is not finite.
    """
    for batch in batches:
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
