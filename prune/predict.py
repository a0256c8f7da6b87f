"""Image in, logits or class map at the image's own size out, in bounded memory whatever that size is."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from prune.checkpoint import Network
from prune.models import all_logits, mode, without_auxiliary

WHOLE_SIDE = 2048
"""Images up to this many pixels on both sides go through the network in one piece."""
TILE = 1536
"""Side in px of the part of a larger image whose result is kept from one forward pass."""
MARGIN = 128
"""Context in px around a tile that is seen by the network and then thrown away, so that seams do not show."""


@dataclass(frozen=True)
class Window:
    """The result for one part of an image: its place in the image and logits float32 (C, h, w)."""

    rows: slice
    columns: slice
    logits: torch.Tensor


def _spans(length: int) -> list[tuple[int, int]]:
    """Even cuts of 0…length into tiles of at most ``TILE``."""
    count = -(-length // TILE)
    edges = [round(i * length / count) for i in range(count + 1)]
    return list(itertools.pairwise(edges))


class Predictor:
    """A network made ready for prediction: on its device, run in evaluation mode and without auxiliary head.

    Args:
        network: What to run. Its module is moved to ``device``.
        device: Where to run it.
        autocast: Autocast type, None = float32.
        channels_last: Whether images and weights use that memory format.
    """

    def __init__(
        self,
        network: Network,
        device: torch.device,
        autocast: torch.dtype | None = None,
        channels_last: bool = True,
    ) -> None:
        self.network = network
        self.device = device
        self.autocast = autocast
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        network.model.to(device).to(memory_format=self.format)  # type: ignore[call-overload]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits float32 (C, H, W) of one uint8 RGB image (3, H, W), in one piece."""
        batch = self.network.preprocessing.normalize(image.to(self.device)).unsqueeze(0)
        batch = batch.contiguous(memory_format=self.format)
        enabled = self.autocast is not None
        with torch.inference_mode(), torch.autocast(self.device.type, self.autocast, enabled=enabled):
            with without_auxiliary(self.network.model) as model, mode(model, training=False):
                return all_logits(model, batch)["out"][0].float()

    def windows(self, image: torch.Tensor) -> Iterator[Window]:
        """Logits of a uint8 RGB image (3, H, W), piece by piece; the pieces cover every pixel exactly once."""
        height, width = image.shape[-2:]
        if max(height, width) <= WHOLE_SIDE:
            yield Window(slice(0, height), slice(0, width), self.forward(image))
            return
        for top, bottom in _spans(height):
            for left, right in _spans(width):
                up, before = max(0, top - MARGIN), max(0, left - MARGIN)
                logits = self.forward(image[:, up : bottom + MARGIN, before : right + MARGIN])
                inner = logits[:, top - up : bottom - up, left - before : right - before]
                yield Window(slice(top, bottom), slice(left, right), inner)

    def class_map(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Class ids uint8 (H, W) of a photograph uint8 (H, W, 3), RGB."""
        result = np.empty(image.shape[:2], dtype=np.uint8)
        for window in self.windows(torch.from_numpy(image).permute(2, 0, 1)):
            result[window.rows, window.columns] = window.logits.argmax(0).to(torch.uint8).cpu().numpy()
        return result
