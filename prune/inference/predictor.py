"""Image in, logits or class map at the image's own size out, in bounded memory whatever that size is.

Needs NumPy only; the runtimes (PyTorch, ONNX Runtime, OpenVINO, ncnn) are behind one call and are imported when they are used.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.data.labels import ClassSet
from prune.data.preprocessing import Preprocessing

WHOLE_SIDE = 2048
"""Images up to this many pixels on both sides go through the network in one piece."""
TILE = 1536
"""Side in px of the tiles larger images are cut into."""
OVERLAP = 0.25
"""Share of a tile's side that neighboring tiles have in common."""
SIGMA = 1 / 8
"""Width of the Gaussian that weighs a tile's logits, as a share of its side: trust falls toward the tile's border,
where the network sees least around it (as in nnU-Net, Isensee et al. 2021)."""
FAINTEST = 1e-3
"""Smallest weight: where only corners of tiles meet, the quotient must stay well defined."""
TORCH_FREE_SUFFIXES = (".onnx", ".xml", ".param")
"""Of files that run without PyTorch: ONNX, OpenVINO, ncnn."""
EXPORT_SUFFIXES = (*TORCH_FREE_SUFFIXES, ".pt2")


@dataclass(frozen=True)
class Window:
    """The result for one part of an image: its place in the image and logits float32 (C, h, w) of the runtime's kind."""

    rows: slice
    columns: slice
    logits: Any


@dataclass(frozen=True)
class Card:
    """What a network says about itself, wherever it came from.

    Args:
        name: Of the file, without folder and suffix.
        file: Where it lies.
        classes: What its output channels mean.
        preprocessing: What must happen to an image first.
        architecture: Its name, or how it is known.
        history: How it came about, as sentences.
        runtime: What runs it: pytorch, onnx, openvino, ncnn, pt2.
        precision: What it is computed in: fp32, bf16, fp16 (files: weights of 16 bits), int8.
        size: The one (height, width) in px it accepts, None = any.
        parameters: Weights of the inference network, None = unknown.
        macs: Multiply-accumulates by input size (``"512x512"``), as far as they are known.
        notes: What its maker says of it (data, license, scores, known failures): lines of text by heading.
        crack_errors: How far its measurements were off on labeled photographs, see ``prune.inspection.known_errors``;
            empty = unknown.
    """

    name: str
    file: Path
    classes: ClassSet
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    architecture: str = ""
    history: tuple[str, ...] = ()
    runtime: str = "pytorch"
    precision: str = "fp32"
    size: tuple[int, int] | None = None
    parameters: int | None = None
    macs: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    crack_errors: Mapping[str, Any] = field(default_factory=dict)


def gaussian(length: int) -> NDArray[np.float32]:
    """Weights float32 (length,) of a tile along one axis, 1 in the middle."""
    places = np.arange(length) - (length - 1) / 2
    return np.maximum(np.exp(-0.5 * (places / (SIGMA * length)) ** 2), FAINTEST).astype(np.float32)


def tile_starts(length: int, tile: int) -> list[int]:
    """Where the tiles of one axis begin: evenly spread, covering 0…length, overlapping by at least ``OVERLAP``."""
    if length <= tile:
        return [0]
    count = 1 + -(-(length - tile) // max(1, int(tile * (1 - OVERLAP))))
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


def class_ids(logits: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The most probable class of every pixel, uint8 (H, W), of finite logits (C, H, W); of equal ones the lower id.

    The same as ``argmax``, which takes longer along the first axis: 100 times for two classes, 14 times for seven.
    """
    if len(logits) < 2:
        return np.zeros(logits.shape[1:], np.uint8)
    result = (logits[1] > logits[0]).view(np.uint8)
    best = np.maximum(logits[0], logits[1]) if len(logits) > 2 else logits[0]
    for number in range(2, len(logits)):
        better = (logits[number] > best).view(np.uint8)
        np.maximum(result, better * np.uint8(number), out=result)
        np.maximum(best, logits[number], out=best)
    return result


class Predictor(ABC):
    """A network ready for prediction. Subclasses know one runtime."""

    card: Card
    tensors: tuple[str, str] = ("", "")
    """Names of the input and output of a file, empty where they have none."""
    stopped: Callable[[], bool] | None = None
    """Asked before every tile of a large photograph: True gives it up. None = never."""

    @property
    def classes(self) -> ClassSet:
        """What the output channels mean."""
        return self.card.classes

    @abstractmethod
    def run(self, batch: NDArray[np.float32]) -> Any:
        """Logits (1, C, H, W) of normalized images float32 (1, 3, H, W), as the runtime gives them."""

    def forward(self, image: NDArray[np.uint8]) -> Any:
        """Logits (C, H, W) of a photograph uint8 (H, W, 3), RGB, in one piece."""
        return self.run(self.card.preprocessing.normalize(image))[0]

    def synchronize(self) -> None:  # noqa: B027, most runtimes return when they are done
        """Wait until the device has finished."""

    @property
    def device(self) -> str:
        """What it runs on, for tables; empty = the CPU."""
        return ""

    def to_numpy(self, logits: Any) -> NDArray[np.float32]:
        """Logits as the runtime gives them, as an array."""
        return np.asarray(logits, dtype=np.float32)

    def windows(self, image: NDArray[np.uint8]) -> Iterator[Window]:
        """Logits of a photograph uint8 (H, W, 3), RGB, piece by piece; the pieces cover every pixel exactly once.

        What is larger than the network takes in one piece is cut into overlapping tiles whose logits are averaged with
        Gaussian weights; only the rows that tiles still share are kept in memory.
        """
        height, width = image.shape[:2]
        tile = self.card.size or (TILE, TILE)
        limit = self.card.size or (WHOLE_SIDE, WHOLE_SIDE)
        if (height, width) == self.card.size or (self.card.size is None and height <= limit[0] and width <= limit[1]):
            yield Window(slice(0, height), slice(0, width), self.forward(image))
            return
        yield from self._tiled(image, tile)

    def _tiled(self, image: NDArray[np.uint8], tile: tuple[int, int]) -> Iterator[Window]:
        (height, width), fixed = image.shape[:2], self.card.size is not None
        size = tile if fixed else (min(tile[0], height), min(tile[1], width))
        tops, lefts = tile_starts(height, size[0]), tile_starts(width, size[1])
        weights = gaussian(size[0])[:, None] * gaussian(size[1])
        band = np.zeros((len(self.classes), size[0], width), np.float32)
        total = np.zeros((size[0], width), np.float32)
        for top, following in itertools.zip_longest(tops, tops[1:]):
            for left in lefts:
                if self.stopped is not None and self.stopped():
                    raise CancelledError
                logits = self._tile(image[top : top + size[0], left : left + size[1]], size)
                h, w = logits.shape[1:]
                band[:, :h, left : left + w] += logits * weights[:h, :w]
                total[:h, left : left + w] += weights[:h, :w]
            done = min(height, top + size[0]) - top if following is None else following - top
            yield Window(slice(top, top + done), slice(0, width), band[:, :done] / total[:done])
            band[:, : size[0] - done], total[: size[0] - done] = band[:, done:].copy(), total[done:].copy()
            band[:, size[0] - done :], total[size[0] - done :] = 0, 0

    def _tile(self, part: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float32]:
        """Logits of a tile; a part smaller than ``size`` is continued by its own mirror image and cut again."""
        height, width = part.shape[:2]
        if (height, width) != size:
            part = np.pad(part, ((0, size[0] - height), (0, size[1] - width), (0, 0)), mode="symmetric")
        return self.to_numpy(self.forward(part))[:, :height, :width]

    def class_map(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Class ids uint8 (H, W) of a photograph uint8 (H, W, 3), RGB."""
        result = np.empty(image.shape[:2], dtype=np.uint8)
        for window in self.windows(image):
            result[window.rows, window.columns] = class_ids(self.to_numpy(window.logits))
        return result
