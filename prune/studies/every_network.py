"""The plan that takes many networks through training, pruning, fine-tuning, testing and INT8 on one data set."""

from pathlib import Path
from typing import Any

from prune.data.find_split import find_split
from prune.data.mask_files import classes_called
from prune.models import build_model, chosen_networks
from prune.models.cost import count
from prune.studies.settings import NetworksSettings

MOST_EPOCHS = 10
"""However small a network is, it gets no more epochs."""
FORWARD_BACKWARD = 3
"""A training step costs about three forward passes."""


def epochs_for(model: str, images: int, config: NetworksSettings) -> int:
    """How many epochs a network gets: what fits into the compute budget, at least 1, at most ``MOST_EPOCHS``."""
    if config.epochs:
        return config.epochs
    macs = count(build_model(model, 2), (config.crop_size, config.crop_size))[1]
    affordable = config.budget * 1e12 / (FORWARD_BACKWARD * macs * images)
    return min(MOST_EPOCHS, max(1, round(affordable)))


def plan_of(config: NetworksSettings) -> dict[str, Any]:
    """The keys of the plan that compares the networks of ``config``, each with epochs of its own.

    It is a first look at many networks and has no controls: Random and training from scratch would cost three times as much.

    Raises:
        UserError: for an unknown network and data that cannot be read.
    """
    models, data = chosen_networks(config.models), Path(str(config.data))
    train = find_split(
        data, classes_called(config.classes), dataset=config.dataset, role="train", threshold=config.mask_threshold
    )
    epochs = {model: epochs_for(model, len(train.pairs), config) for model in models}
    common = {name: getattr(config, name) for name in ("batch_size", "crop_size", "val_images", "workers")}
    return {
        **{name: getattr(config, name) for name in ("name", "dataset", "mask_threshold", "classes")},
        **{name: getattr(config, name) for name in ("latency_size", "latency_repeats")},
        "data": str(data),
        "networks": [
            {"model": model, "epochs": number, "finetune": {"epochs": config.finetune_epochs or number}}
            for model, number in epochs.items()
        ],
        "criteria": ["Taylor"],
        "ratios": [config.pruning_ratio],
        "precisions": ["fp32", "int8"],
        "runtimes": ["pytorch", "onnx"],
        "seeds": [config.seed],
        "controls": False,
        "train": {**common, "weights": config.weights, "lr": config.lr, "cache": True},
        "prune": {"crop_size": config.crop_size, "batch_size": 4},
        "finetune": {"lr": config.finetune_lr},
        "export": {"parity_images": config.int8_images},
    }
