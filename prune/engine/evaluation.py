"""Score a network on whole images: one matrix over the whole set, and one per image."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F
from tqdm import tqdm

from prune.data.dataset import Sample
from prune.data.labels import IGNORE_INDEX
from prune.metrics.confusion import Scores, confusion_matrix
from prune.predict import Predictor


@dataclass(frozen=True)
class ImageResult:
    """What happened on one image; ``loss_sum`` is the cross entropy summed over its valid pixels."""

    stem: str
    height: int
    width: int
    matrix: NDArray[np.int64]
    loss_sum: float

    @property
    def loss(self) -> float:
        """Cross entropy per valid pixel, NaN without any."""
        return self.loss_sum / self.matrix.sum() if self.matrix.any() else float("nan")


@dataclass
class Evaluation:
    """Results per image, and the seconds spent in the network, in scoring, and waiting for files."""

    images: list[ImageResult] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"network": 0.0, "scoring": 0.0, "reading": 0.0})

    @property
    def scores(self) -> Scores:
        """Scores of the matrix pooled over all images."""
        return Scores.of(np.sum([i.matrix for i in self.images], axis=0))

    @property
    def loss(self) -> float:
        """Cross entropy per valid pixel over all images."""
        pixels = sum(int(i.matrix.sum()) for i in self.images)
        return sum(i.loss_sum for i in self.images) / pixels if pixels else float("nan")


def _score(predictor: Predictor, sample: Sample, seconds: dict[str, float]) -> ImageResult:
    classes = len(predictor.network.classes)
    matrix, loss = np.zeros((classes, classes), dtype=np.int64), 0.0
    start = time.perf_counter()
    for window in predictor.windows(sample.image):
        if window.logits.is_cuda:
            torch.cuda.synchronize()
        seconds["network"] += time.perf_counter() - start
        start = time.perf_counter()
        label = sample.label[window.rows, window.columns]
        target = label.to(window.logits.device)
        loss += float(F.cross_entropy(window.logits[None], target[None], ignore_index=IGNORE_INDEX, reduction="sum"))
        matrix += confusion_matrix(window.logits.argmax(0).cpu().numpy(), label.numpy(), classes)
        seconds["scoring"] += time.perf_counter() - start
        start = time.perf_counter()
    height, width = sample.label.shape
    return ImageResult(sample.stem, height, width, matrix, loss)


def evaluate(predictor: Predictor, samples: Iterable[Sample], total: int, label: str = "") -> Evaluation:
    """Run the network over whole images and count.

    Args:
        predictor: The network, ready for prediction.
        samples: Whole images uint8 (3, H, W) with labels int64 (H, W); sizes may differ.
        total: How many there are, for the progress bar.
        label: What the progress bar says; nothing shows when it is empty.
    """
    result = Evaluation()
    start = time.perf_counter()
    for sample in tqdm(samples, total=total, desc=label, unit="image", disable=not label, leave=False):
        result.seconds["reading"] += time.perf_counter() - start
        result.images.append(_score(predictor, sample, result.seconds))
        start = time.perf_counter()
    return result
