"""Samples of a split, for training (augmented crops) and evaluation (whole images)."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision import tv_tensors

from prune.data.find_split import Split
from prune.data.sampling import evenly_spread
from prune.errors import UserError
from prune.progress import progress


@dataclass(frozen=True)
class Sample:
    """One image and label: image (3, H, W), label int64 (H, W) with ids 0…C−1 and 255 = ignored."""

    stem: str
    image: torch.Tensor
    label: torch.Tensor


Draw = tuple[int, int]
"""Epoch and index: together with the seed they fix every random choice made for a sample."""


class SegmentationDataset(Dataset[Sample | UserError]):
    """The pairs of a split as samples.

    Indexing with a plain integer gives the whole image as stored (uint8); indexing with a ``Draw`` gives the augmented
    sample, whose randomness depends on the seed, epoch and index only: neither the number of workers nor a restart
    changes it. A damaged file gives the ``UserError`` itself, because an exception that crosses a worker process
    loses its one-line message.

    Args:
        split: What to read.
        transform: Applied to samples indexed by a ``Draw``.
        seed: First component of the random stream.
        cache: Keep decoded images in RAM, shared by all workers.
    """

    def __init__(
        self, split: Split, transform: Callable[..., Any] | None = None, seed: int = 0, cache: bool = False
    ) -> None:
        self.split = split
        self.transform = transform
        self.seed = seed
        self._cache = self._decode_all() if cache else None

    def __len__(self) -> int:
        return len(self.split.pairs)

    def __getitem__(self, key: int | Draw) -> Sample | UserError:
        try:
            return self.read(key) if isinstance(key, int) else self._augmented(*key)
        except UserError as error:
            return error

    def read(self, index: int) -> Sample:
        """The whole sample ``index``, not augmented: image uint8 (3, H, W), label int64 (H, W)."""
        image, label = self._cache[index] if self._cache else self._decode(index)
        return Sample(self.split.pairs[index].stem, image, label.long())

    def _decode(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        pair = self.split.pairs[index]
        image, label = self.split.read_image(pair), self.split.read_label(pair)
        if image.shape[:2] != label.shape:
            raise UserError(f"{pair.label}: expected the size of its image, {image.shape[:2]}, found {label.shape}")
        return torch.from_numpy(image).permute(2, 0, 1).contiguous(), torch.from_numpy(label)

    def _decode_all(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        decoded: list[tuple[torch.Tensor, torch.Tensor]] = []
        for index in progress(range(len(self)), f"caching {self.split.folder}"):
            image, label = self._decode(index)
            if image.numel() + label.numel() > 0.5 * psutil.virtual_memory().available:
                raise UserError(f"{self.split.folder} does not fit into memory: omit --cache")
            decoded.append((image.share_memory_(), label.share_memory_()))
        return decoded

    def _augmented(self, epoch: int, index: int) -> Sample:
        image, label = self._cache[index] if self._cache else self._decode(index)
        if self.transform is None:
            return Sample(self.split.pairs[index].stem, image, label.long())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.SeedSequence([self.seed, epoch, index]).generate_state(1)[0]))
            out_image, out_label = self.transform(tv_tensors.Image(image), tv_tensors.Mask(label))
        plain = torch.Tensor
        return Sample(self.split.pairs[index].stem, out_image.as_subclass(plain), out_label.as_subclass(plain).long())


@dataclass(frozen=True)
class Share:
    """What one of several processes gets of every batch: the ``rank``-th of ``size`` equal parts."""

    rank: int = 0
    size: int = 1


class EpochSampler(Sampler[Draw]):
    """Shuffled draws of one epoch; the order depends on the seed and epoch only.

    Args:
        length: Number of samples.
        seed: First component of the random stream.
        batch_size: Of all processes together, a multiple of their number; counts where there are several, and then the
            samples that fill no batch are left out.
        share: Which part of each batch is given.
    """

    def __init__(self, length: int, seed: int, batch_size: int = 1, share: Share = Share()) -> None:
        self.length = length
        self.seed = seed
        self.batch_size = batch_size
        self.share = share
        self.epoch = 0

    def __len__(self) -> int:
        if self.share.size == 1:
            return self.length
        return self.length // self.batch_size * (self.batch_size // self.share.size)

    def __iter__(self) -> Iterator[Draw]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
        if self.share.size > 1:
            batches = order[: self.length // self.batch_size * self.batch_size].reshape(-1, self.batch_size)
            order = np.split(batches, self.share.size, axis=1)[self.share.rank].ravel()
        return iter([(self.epoch, int(index)) for index in order])


Batch = tuple[torch.Tensor, torch.Tensor]


def _collate(samples: list[Sample | UserError]) -> Batch | UserError:
    stacked: list[Sample] = []
    for sample in samples:
        if isinstance(sample, UserError):
            return sample
        stacked.append(sample)
    return torch.stack([s.image for s in stacked]), torch.stack([s.label for s in stacked])


def draw_batch(dataset: SegmentationDataset, epoch: int, numbers: Iterable[int]) -> Batch:
    """A batch of augmented samples; sample numbers beyond the end wrap around, over an order shuffled by ``epoch``.

    Raises:
        UserError: for a damaged file.
    """
    order = np.random.default_rng([dataset.seed, epoch]).permutation(len(dataset))
    batch = _collate([dataset[(epoch, int(order[number % len(order)]))] for number in numbers])
    if isinstance(batch, UserError):
        raise batch
    return batch


def training_loader(
    dataset: SegmentationDataset, batch_size: int, workers: int, share: Share = Share()
) -> DataLoader[Any]:
    """Batches of augmented samples; the short last batch is dropped (ASPP cannot normalize a batch of one).

    Args:
        dataset: What is drawn from.
        batch_size: Of all processes together, a multiple of their number.
        workers: Processes that read, 0 = none.
        share: Which part of each batch this process gets.
    """
    return DataLoader(
        dataset,
        batch_size=batch_size // share.size,
        sampler=EpochSampler(len(dataset), dataset.seed, batch_size, share),  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=_collate,
        drop_last=True,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
    )


def spread(split: Split, most: int) -> Split:
    """The split with at most ``most`` images, evenly spread over its names; 0 = all of them."""
    if not most or most >= len(split.pairs):
        return split
    return replace(split, pairs=tuple(split.pairs[i] for i in evenly_spread(len(split.pairs), most)))


def whole_images(dataset: SegmentationDataset, workers: int) -> Iterator[Sample]:
    """Every sample of the split at its own size, in order: image uint8 (3, H, W), label int64 (H, W).

    Raises:
        UserError: at the first damaged file.
    """
    return checked(DataLoader(dataset, batch_size=None, num_workers=workers, collate_fn=None))


def checked(loader: Iterable[Any]) -> Iterator[Any]:
    """Pass items on and raise the ``UserError`` that a worker could only hand over."""
    for item in loader:
        if isinstance(item, UserError):
            raise item
        yield item


def class_pixels(dataset: SegmentationDataset) -> NDArray[np.int64]:
    """Number of labeled pixels of each class, int64 (C,); reads (and so validates) every label once."""
    split = dataset.split
    counts = np.zeros(256, dtype=np.int64)
    for pair in progress(split.pairs, f"checking labels of {split.folder}", "label"):
        counts += np.bincount(split.read_label(pair).ravel(), minlength=256)
    return counts[: len(split.classes)]
