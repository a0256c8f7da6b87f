"""Score a network on whole images: count every image once, in worker processes while the network continues."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from prune.data.dataset import Sample
from prune.data.labels import IGNORE_INDEX
from prune.evaluation.pool import scoring_pool
from prune.inference.pipeline import Gate, Limits, Pipeline, Stage
from prune.inference.predictor import Predictor, class_ids
from prune.inference.replicas import Replicas
from prune.metrics.calibration import calibration_counts
from prune.metrics.confusion import Scores
from prune.metrics.crack_scores import line_scores
from prune.metrics.image import ImageCounts, ImageScorer
from prune.progress import progress

PIXELS_UNDER_WAY = 16_000_000
"""Of the images that several networks work on at a time; the logits of one take 4 bytes per class and pixel."""


@dataclass(frozen=True)
class ImageResult:
    """What happened on one image.

    Args:
        stem: Name of the image.
        height: In px.
        width: In px.
        counts: Everything counted.
        loss_sum: Cross entropy summed over its labeled pixels; NaN when only a class map was there.
        calibration: Counts of ``prune.metrics.calibration``; empty when not asked for.
    """

    stem: str
    height: int
    width: int
    counts: ImageCounts
    loss_sum: float = float("nan")
    calibration: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def matrix(self) -> NDArray[np.int64]:
        """Confusion matrix int64 (C, C), rows = label."""
        return self.counts.matrix

    @property
    def loss(self) -> float:
        """Cross entropy per labeled pixel, NaN without any."""
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
        """Cross entropy per labeled pixel over all images."""
        pixels = sum(int(i.matrix.sum()) for i in self.images)
        return sum(i.loss_sum for i in self.images) / pixels if pixels else float("nan")

    def lt_iou(self, tolerance: int) -> float:
        """Crack ltIoU pooled over all images, NaN without any line; ``tolerance`` in px must have been counted."""
        totals = {
            name: np.array(sum(i.counts.crack[name] for i in self.images)) for name in self.images[0].counts.crack
        }
        return float(line_scores(totals, tolerance)[f"lt_iou@{tolerance}"])


@dataclass
class _Forward:
    """The class map of one image, what only the logits can tell, and the seconds both took."""

    class_map: NDArray[np.uint8]
    loss_sum: float = 0.0
    calibration: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: {"network": 0.0, "scoring": 0.0})

    def add(self, logits: torch.Tensor, label: torch.Tensor, crack: int | None) -> None:
        """Count the confidences of one window; ``label`` (h, w) has 255 where nothing is labeled."""
        probabilities = logits.softmax(0)
        confidence, predicted = probabilities.max(0)
        known = label != IGNORE_INDEX
        parts = [calibration_counts("top", confidence[known].cpu().numpy(), (predicted == label)[known].cpu().numpy())]
        if crack is not None:
            crack_probability = probabilities[crack][known].cpu().numpy()
            parts.append(calibration_counts("crack", crack_probability, (label == crack)[known].cpu().numpy()))
        for name, values in {k: v for part in parts for k, v in part.items()}.items():
            self.calibration[name] = self.calibration.get(name, 0.0) + values


def _class_ids(logits: torch.Tensor) -> NDArray[np.uint8]:
    """The most probable class of every pixel of logits (C, H, W); on the CPU NumPy is many times as fast as ``argmax``."""
    if logits.device.type == "cpu":
        return class_ids(logits.numpy())
    return logits.argmax(0).to(torch.uint8).cpu().numpy()


def _forward(predictor: Predictor, sample: Sample, crack: int | None, calibrate: bool) -> _Forward:
    result = _Forward(np.empty(tuple(sample.label.shape), np.uint8))
    start = time.perf_counter()
    for window in predictor.windows(sample.image.permute(1, 2, 0).numpy()):
        predictor.synchronize()
        ready = time.perf_counter()
        result.seconds["network"] += ready - start
        logits = torch.as_tensor(window.logits)
        target = sample.label[window.rows, window.columns].to(logits.device)
        loss = F.cross_entropy(logits[None], target[None], ignore_index=IGNORE_INDEX, reduction="sum")
        result.loss_sum += float(loss)
        result.class_map[window.rows, window.columns] = _class_ids(logits)
        if calibrate:
            result.add(logits, target, crack)
        start = time.perf_counter()
        result.seconds["scoring"] += start - ready
    return result


Look = Callable[[Predictor, Sample], _Forward]


def _looked(replicas: Replicas, samples: Iterable[Sample], look: Look) -> Iterator[tuple[Sample, _Forward]]:
    """Every sample with what a network says of it, in order; several networks work at the same time."""
    if len(replicas.predictors) == 1:
        yield from ((sample, look(replicas.predictors[0], sample)) for sample in samples)
        return
    gate = Gate(replicas.predictors, PIXELS_UNDER_WAY)

    def work(sample: Sample) -> tuple[Sample, _Forward]:
        with gate.lent(sample.label.numel()) as predictor:
            return sample, look(predictor, sample)

    count = len(replicas.predictors)
    limits = Limits(2 * count, PIXELS_UNDER_WAY, lambda sample: sample.label.numel())
    with Pipeline([Stage(work, count)], limits) as pipeline:
        for predictor in replicas.predictors:
            predictor.stopped = pipeline.stopped
        yield from pipeline(samples)


def _finished(stem: str, size: tuple[int, int], seen: _Forward, counted: "Future[ImageCounts]") -> ImageResult:
    return ImageResult(stem, *size, counted.result(), seen.loss_sum, seen.calibration)


def evaluate(
    network: Predictor | Replicas,
    samples: Iterable[Sample],
    total: int,
    label: str = "",
    *,
    scorer: ImageScorer | None = None,
    workers: int = 0,
    calibrate: bool = False,
) -> Evaluation:
    """Run the network over whole images and count.

    The result does not depend on the number of workers, nor on that of networks as far as the runtime's logits do not
    depend on threads.

    Args:
        network: Ready for prediction; several copies take an image each. Their seconds are divided by their number.
        samples: Whole images uint8 (3, H, W) with labels int64 (H, W); sizes may differ.
        total: How many there are, for the progress bar.
        label: What the progress bar says; nothing shows when it is empty.
        scorer: Counts an image; None = the confusion matrix and what training logs.
        workers: Processes that count while the network processes the next image; 0 = none.
        calibrate: Count confidences too.
    """
    replicas = network if isinstance(network, Replicas) else Replicas((network,), 0)
    classes, share = replicas.predictors[0].classes, 1 / len(replicas.predictors)
    scorer = scorer or ImageScorer(len(classes), classes.index("crack"))
    result, pending = Evaluation(), deque[Callable[[], ImageResult]]()

    def collect(most: int) -> None:
        start = time.perf_counter()
        while len(pending) > most:
            result.images.append(pending.popleft()())
        result.seconds["scoring"] += time.perf_counter() - start

    def look(predictor: Predictor, sample: Sample) -> _Forward:
        return _forward(predictor, sample, scorer.crack, calibrate)

    with scoring_pool(workers) as submit:
        start = time.perf_counter()
        looked = _looked(replicas, samples, look)
        for sample, seen in progress(looked, label, total=total) if label else looked:
            spent = {name: share * seconds for name, seconds in seen.seconds.items()}
            for name, seconds in spent.items():
                result.seconds[name] += seconds
            result.seconds["reading"] += max(0.0, time.perf_counter() - start - sum(spent.values()))
            start = time.perf_counter()
            counted = submit(scorer, seen.class_map, sample.label.to(torch.uint8).numpy())
            pending.append(
                partial(_finished, sample.stem, (sample.label.shape[0], sample.label.shape[1]), seen, counted)
            )
            result.seconds["scoring"] += time.perf_counter() - start
            collect(2 * workers)
            start = time.perf_counter()
        collect(0)
    return result
