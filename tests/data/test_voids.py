"""Air voids drawn onto training crops: short dark background, never on or beside a label."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torchvision import tv_tensors

from prune.data.preprocessing import Preprocessing
from prune.data.transforms import augmentation, training_transform
from prune.data.voids import CLEAR, LENGTHS, DrawnVoids
from prune.errors import UserError
from prune.training.settings import TrainSettings

SIDE, GRAY = 128, 150


def drawn(seed: int, label: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """How much each pixel of a gray crop changed, int64 (S, S), and its label after drawing."""
    torch.manual_seed(seed)
    gray = torch.full((3, SIDE, SIDE), GRAY, dtype=torch.uint8)
    image, mask = DrawnVoids()(tv_tensors.Image(gray), tv_tensors.Mask(torch.from_numpy(label)))
    assert image.dtype == torch.uint8 and image.shape == gray.shape and isinstance(mask, tv_tensors.Mask)
    return image.numpy().astype(np.int64).mean(axis=0) - GRAY, mask.numpy()


def test_voids_are_dark_and_short_and_the_label_stays() -> None:
    label = np.zeros((SIDE, SIDE), np.uint8)
    lengths, dark, lit = [], 0, 0
    for seed in range(30):
        change, after = drawn(seed, label)
        assert (after == 0).all()
        dark, lit = dark + (change < -20).sum(), lit + (change > 5).sum()
        spots, _ = ndimage.label(np.abs(change) > 20)
        lengths += [max(part.stop - part.start for part in spot) for spot in ndimage.find_objects(spots)]
    assert dark > 10 * SIDE and 0 < lit < dark / 3
    assert np.median(lengths) < LENGTHS[1] / 2 and 15 < np.percentile(lengths, 95) < 2 * LENGTHS[1]


def test_nothing_is_drawn_close_to_a_label_or_where_nothing_is_known() -> None:
    label = np.zeros((SIDE, SIDE), np.uint8)
    label[::40], label[:, :10] = 1, 255
    near = ndimage.maximum_filter(label, 2 * CLEAR - 1) > 0
    changes = [drawn(seed, label)[0] for seed in range(40)]
    assert max(np.abs(change[near]).max() for change in changes) <= 0.05 * GRAY
    assert sum((np.abs(change) > 20).any() for change in changes) >= 10


def test_they_come_as_often_as_asked_and_from_the_seed() -> None:
    def crops(voids: float) -> list[torch.Tensor]:
        transform = training_transform(augmentation("none", SIDE, (1.0, 1.0), Preprocessing(), voids))
        made = []
        for seed in range(24):
            torch.manual_seed(seed)
            gray = torch.full((3, SIDE, SIDE), GRAY, dtype=torch.uint8)
            made.append(transform(tv_tensors.Image(gray), tv_tensors.Mask(torch.zeros(SIDE, SIDE, dtype=torch.uint8)))[0])
        return made

    def spotted(images: list[torch.Tensor]) -> list[bool]:
        return [bool(image.std(dim=(1, 2)).max() > 1e-6) for image in images]

    assert not any(spotted(crops(0))) and all(spotted(crops(1))) and 4 < sum(spotted(crops(0.5))) < 20
    assert all(torch.equal(one, other) for one, other in zip(crops(0.5), crops(0.5), strict=True))


def test_more_than_all_crops_are_refused() -> None:
    with pytest.raises(UserError, match="voids: expected at most 1, found 2"):
        TrainSettings(voids=2)
