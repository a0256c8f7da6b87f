"""What a training starts from: a network, images to learn from and to choose the best epoch on, batches."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from prune.data.dataset import SegmentationDataset, Share, training_loader
from prune.data.labels import ClassSet
from prune.data.preprocessing import Preprocessing
from prune.data.split import Split, hold_out
from prune.data.transforms import augmentation, training_transform
from prune.errors import UserError
from prune.models import build_model
from prune.models.checkpoint import Network, read_state_dict
from prune.models.pretrained import initialize, load_matching
from prune.progress import say
from prune.training import ranks
from prune.training.history import Row
from prune.training.settings import DEFAULT_MODEL, TrainSettings


def fresh_network(settings: TrainSettings, classes: ClassSet) -> Network:
    """A network for ``classes`` from pretrained weights, a file's matching ones, or random ones, by ``settings.seed``.

    Raises:
        UserError: for an unknown network, and when less than half of the tensors of a file fit.
    """
    name = settings.model or DEFAULT_MODEL
    torch.manual_seed(settings.seed)
    network = Network(build_model(name, len(classes)), name, classes)
    if not settings.load_pretrained_weights:
        say("network", f"{name}, {initialize(network.model, name, settings.weights)}")
        return network
    file = Path(settings.load_pretrained_weights)
    fitted, total = load_matching(network.model, read_state_dict(file, settings.trust_pickle))
    if 2 * fitted < total:
        raise UserError(
            f"{file}: {fitted} of the {total} tensors of {name} fit, expected at least half of them: it holds another "
            "network (--model), or a pruned one, which goes to --pruned_model"
        )
    say("network", f"{name}, {fitted} of {total} tensors from {file}")
    return network


def training_splits(train: Split, val: Split) -> tuple[Split, Split]:
    """Training and validation images; when both are the same images, a tenth is held out of training.

    Raises:
        UserError: when fewer than two images are left to train on.
    """
    if {pair.image for pair in train.pairs} == {pair.image for pair in val.pairs} and len(train.pairs) > 1:
        train, val = hold_out(train)
        say("", f"no separate validation images: {len(val.pairs)} training images are held out")
    if len(train.pairs) < 2:
        raise UserError(f"{train.folder}: expected at least 2 images to train on, found {len(train.pairs)}")
    return train, val


def training_batches(settings: TrainSettings, split: Split, crop: int, preprocessing: Preprocessing) -> DataLoader[Any]:
    """Training batches of augmented square crops of ``crop`` px; of several processes each gets an equal part of every batch.

    Raises:
        UserError: when a batch cannot be divided among them.
    """
    batch_size, size = min(settings.batch_size, len(split.pairs)), ranks.size()
    if batch_size % size:
        raise UserError(f"--batch_size: expected a multiple of the {size} processes of torchrun, found {batch_size}")
    if size > 1 and not settings.sync_batchnorm and batch_size < 2 * size:
        raise UserError(
            f"--batch_size: expected at least 2 crops for each of the {size} processes with --sync_batchnorm False, "
            f"found {batch_size}"
        )
    scale = (settings.scale_min, settings.scale_max)
    transform = training_transform(augmentation(settings.augment, crop, scale, preprocessing, settings.voids))
    dataset = SegmentationDataset(split, transform, settings.seed, settings.cache)
    return training_loader(dataset, batch_size, settings.workers, Share(ranks.rank(), size))


def no_crack_warning(row: Row, classes: ClassSet, labeled: NDArray[np.int64]) -> str:
    """What is wrong with an epoch that finds none of the labeled crack pixels of the validation images, else empty.

    Args:
        row: Of the history.
        classes: Of the network.
        labeled: Validation pixels of each class, int64 (C,).
    """
    crack = classes.index("crack")
    if crack is None or not labeled[crack] or row[f"val_iou_{classes.classes[crack]}"] != 0:
        return ""
    return (
        f"the best epoch finds no crack, none of {labeled[crack]:,} labeled pixels: train longer, or give the class "
        "more weight, --class_weights crack=10"
    )
