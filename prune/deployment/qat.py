"""Quantization-aware training: a network learns on with the rounding of its INT8 file (see ``fake_quantization``)."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import fx

from prune.data.split import Split
from prune.deployment.fake_quantization import fake_quantized
from prune.deployment.settings import ExportSettings
from prune.deployment.target import Batches, quiet
from prune.errors import UserError, first_line
from prune.models.checkpoint import Network
from prune.number_format import NumberFormat
from prune.training.loop import RunFiles
from prune.training.prepare import training_splits
from prune.training.run import Material, train_network
from prune.training.settings import TrainSettings

CROP = 256
"""Smallest side in px of the crops: ranges learned on small ones do not fit whole photographs."""
KEPT = (
    *("batch_size", "crop_size", "scale_min", "scale_max", "augment", "loss", "focal_gamma", "class_weights"),
    *("voids", "optimizer", "clip", "monitor", "val_images", "workers", "cache", "seed", "dataset", "mask_threshold"),
)
"""Settings of the network's own training that its quantization-aware training repeats."""


def training_settings(network: Network, settings: ExportSettings) -> TrainSettings:
    """How a network is trained with rounding: as it was trained before, with fewer and smaller steps in float32.

    Args:
        network: The settings of its last training are in its lineage; without one the defaults are taken.
        settings: Of the export.
    """
    stages = [stage["settings"] for stage in network.lineage if stage["stage"] in ("train", "fine-tune")]
    stored: Mapping[str, Any] = stages[-1] if stages else {}
    found = TrainSettings(**{name: stored[name] for name in KEPT if name in stored})
    return replace(
        found,
        epochs=settings.qat_epochs,
        lr=settings.qat_lr,
        distill_weight=settings.distill_weight,
        crop_size=max(CROP, found.crop_size),
        weight_decay=0.0,
        patience=0,
        amp="off",
        threads=settings.threads,
    )


def train_with_rounding(
    network: Network,
    train: Split,
    val: Split,
    batches: Batches,
    settings: ExportSettings,
    teacher: Network | None = None,
) -> fx.GraphModule:
    """Train a network with rounding and return it with the weights and ranges of its best epoch.

    Its lineage gets the stage ``qat``; the network itself stays as it is.

    Args:
        network: What is quantized.
        train: Images it learns from.
        val: Images the best epoch is chosen on.
        batches: Normalized photographs float32 (1, 3, H, W) that the ranges start from.
        settings: Epochs, learning rate, weight of distillation.
        teacher: Whose logits it learns besides the labels; None = those of the network in float32.

    Raises:
        UserError: for data it cannot be trained on, a teacher that does not fit, a network that cannot be traced.
        TrainingDiverged: when a loss or a weight stops being finite.
    """
    config = training_settings(network, settings)
    try:
        with quiet():
            rounded = fake_quantized(network, batches)
    except (RuntimeError, ValueError, TypeError) as error:
        name = network.file or network.architecture
        raise UserError(f"{name}: cannot be trained with rounding: {first_line(error)}") from error
    learner = Network(rounded, network.architecture, network.classes, network.preprocessing)
    if config.distill_weight and teacher is None:
        teacher = replace(network, model=copy.deepcopy(network.model))
    material = Material(
        learner, *training_splits(train, val), fine_tuned=True, teacher=teacher if config.distill_weight else None
    )
    files = RunFiles(record={"train_dir": str(train.folder), "val_dir": str(val.folder)})
    with torch.random.fork_rng():
        train_network(material, config, files, NumberFormat(None, channels_last=True))
    network.lineage = [*network.lineage, *({**stage, "stage": "qat"} for stage in learner.lineage)]
    rounded.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return rounded.eval()
