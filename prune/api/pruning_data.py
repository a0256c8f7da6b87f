"""Labeled crops for pruning: what gradients are taken on, batch norm is recalibrated with and steps are trained between."""

from collections.abc import Iterator

import numpy as np
import torch

from prune.data.dataset import Batch, SegmentationDataset, class_pixels, draw_batch
from prune.data.find_split import usable_crop
from prune.data.labels import IGNORE_INDEX
from prune.data.split import Split
from prune.data.transforms import Augmentation, training_transform
from prune.errors import UserError
from prune.models.checkpoint import Network
from prune.models.freezing import backbone_of, freeze, unfreeze
from prune.number_format import NumberFormat, number_format
from prune.progress import say
from prune.pruning.pruner import Hooks
from prune.pruning.recalibrate import recalibrate_batch_norm
from prune.pruning.settings import PruneSettings
from prune.training.losses import class_weights, make_loss
from prune.training.settings import TrainSettings
from prune.training.step import TrainingStep, batch_gradients, make_optimizer, train_one_epoch

CALIBRATION_BATCH = 4
"""Images per batch-norm recalibration batch: ASPP's pooled branch needs several for a variance."""
CALIBRATION_CROP = 256
"""Largest side of its crops in px: per-channel statistics need no more."""
ROUNDS = 16
"""How often as many batches as asked for may be drawn to find every class."""


class PruningData:
    """Labeled batches for every purpose of one pruning, drawn from one split.

    Args:
        network: What is pruned, on ``device``; the images are normalized as it wants them.
        split: The labeled images.
        config: Crops, batches and loss.
        device: Where the network is.
    """

    def __init__(self, network: Network, split: Split, config: PruneSettings, device: torch.device) -> None:
        self.config, self.device = config, device
        crop = usable_crop(split, config.crop_size)
        say("crops", f"{crop} px")
        plain = Augmentation(crop, (1.0, 1.0), rotate=0, jitter=0, blur=0, noise=0, preprocessing=network.preprocessing)
        varied = Augmentation(min(crop, CALIBRATION_CROP), preprocessing=network.preprocessing)
        self.plain = SegmentationDataset(split, training_transform(plain), config.seed)
        self.varied = SegmentationDataset(split, training_transform(varied), config.seed)
        weights = None
        if config.class_weights != "none":
            weights = class_weights(config.class_weights, class_pixels(self.plain), network.classes)
        loss = make_loss(config.loss, None if weights is None else weights.to(device))
        backward = config.gradients or config.finetune_epochs_per_step
        numbers = number_format(config.amp, config.channels_last, device) if backward else NumberFormat()
        if backward:
            say("numbers", numbers)
        self.step = TrainingStep(network.model, loss, device, numbers, config.aux_weight)
        self._rounds = 0

    def batches(self, dataset: SegmentationDataset, number: int, size: int) -> Iterator[Batch]:
        """``number`` batches of ``size`` crops, others at every call, the same for the same seed."""
        self._rounds += 1
        for i in range(number):
            yield draw_batch(dataset, self._rounds, range(i * size, (i + 1) * size))

    def hooks(self) -> Hooks:
        """What pruning is handed, as far as the settings ask for it."""
        finetune = self.finetune if self.config.finetune_epochs_per_step else None
        recalibrate = self.recalibrate if self.config.recalibrate and self.config.pruning_ratio else None
        return Hooks(self.gradients, finetune, recalibrate)

    def gradients(self) -> Iterator[int | None]:
        """Gradients of the training loss, of what the criterion wants: batch after batch, every sample, or class by class."""
        number, size = self.config.batches, self.config.batch_size
        if self.config.gradients == "class":
            return self._class_gradients()
        if self.config.gradients == "sample":
            number, size = number * size, 1
        return batch_gradients(self.step, self.batches(self.plain, number, size))

    def _class_gradients(self) -> Iterator[int]:
        """Gradients of the loss on the pixels of one class of one batch, for all classes that a batch shows; which it was.

        ``batches`` batches are taken, and more for classes of the data that none of them shows.

        Raises:
            UserError: when such a class is not found in ``ROUNDS`` times as many.
        """
        missing = set(np.flatnonzero(class_pixels(self.plain)).tolist())
        for turn in range(ROUNDS):
            for images, label in self.batches(self.plain, self.config.batches, self.config.batch_size):
                shown = set(label.unique().tolist()) - {IGNORE_INDEX}
                for chosen in sorted(shown & missing if turn else shown):
                    only = torch.where(label == chosen, label, IGNORE_INDEX)
                    for _ in batch_gradients(self.step, [(images, only)]):
                        yield chosen
                missing -= shown
            if not missing:
                return
        names = ", ".join(self.plain.split.classes.classes[index] for index in sorted(missing))
        raise UserError(
            f"--class_balance: expected crops of every class, found none of {names} in "
            f"{ROUNDS * self.config.batches * self.config.batch_size} crops: choose larger --batches or --crop_size"
        )

    def recalibrate(self) -> None:
        """Re-estimate batch-norm statistics on training crops."""
        images = (
            images.to(self.device, memory_format=self.step.numbers.memory_format)
            for images, _ in self.batches(self.varied, self.config.recalibration_batches, CALIBRATION_BATCH)
        )
        recalibrate_batch_norm(self.step.model, images)

    def finetune(self, step: int) -> None:
        """Train for ``finetune_epochs_per_step`` epochs; the optimizer is new, because the tensors are."""
        model = self.step.model
        if self.config.keep_feature_extract:
            freeze(backbone_of(model))
        settings = TrainSettings(lr=self.config.lr)
        optimizer = make_optimizer(model, settings)
        scaler = torch.amp.GradScaler(self.device.type, enabled=self.step.numbers.autocast == torch.float16)
        size = min(CALIBRATION_BATCH, len(self.varied))
        for epoch in range(self.config.finetune_epochs_per_step):
            batches = self.batches(self.varied, max(1, len(self.varied) // size), size)
            loss = train_one_epoch(self.step, batches, optimizer, scaler, settings, lambda number, value: None)
            say("step", f"{step}, epoch {epoch + 1}/{self.config.finetune_epochs_per_step}: loss {loss:.3f}")
        if self.config.keep_feature_extract:
            unfreeze(backbone_of(model))
