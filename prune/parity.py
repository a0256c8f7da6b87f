"""Is the exported file the network: both run on the same labeled photographs, compared logit by logit and crack by crack."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.data.dataset import Sample
from prune.metrics.crack import CrackSettings
from prune.metrics.image import ImageCounts, ImageScorer
from prune.metrics.statistics import Statistics
from prune.predict import Predictor

TOLERANCE = 4
"""Tolerance in px of the ltIoU that is compared."""


@dataclass(frozen=True)
class Gate:
    """One condition a file has to meet; ``value`` None = cannot be told on these images, which is no failure."""

    name: str
    value: float | None
    relation: str
    bound: float
    unit: str

    @property
    def passed(self) -> bool:
        """Whether it is met."""
        if self.value is None:
            return True
        return self.value >= self.bound if self.relation == ">=" else self.value <= self.bound

    def __str__(self) -> str:
        value = "not to be told" if self.value is None else f"{self.value:.3f} {self.unit}"
        return f"{self.name} {value} (expected {self.relation} {self.bound:g} {self.unit})"


@dataclass(frozen=True)
class Parity:
    """How far a file is from the network it was made of.

    Args:
        images: Photographs compared.
        pixels: Pixels compared.
        agreement: Share of pixels with the same class, 0…1.
        max_logit_difference: Largest absolute difference of a logit; None when the file gives no logits.
        reference: Scores of the network, 0…1: ``miou``, ``crack_iou``, ``crack_lt_iou_4``; None = absent.
        exported: The same of the file.
    """

    images: int
    pixels: int
    agreement: float
    max_logit_difference: float | None
    reference: dict[str, float | None]
    exported: dict[str, float | None]

    def drop(self, name: str) -> float | None:
        """Points the file loses in a score; None when there is none."""
        before, after = self.reference[name], self.exported[name]
        return None if before is None or after is None else 100 * (before - after)

    def gates(self, min_agreement: float, max_miou_drop: float, max_crack_drop: float) -> list[Gate]:
        """The conditions with what was found; bounds in percent and points."""
        return [
            Gate("agreement of the class maps", 100 * self.agreement, ">=", min_agreement, "%"),
            Gate("mIoU lost", self.drop("miou"), "<=", max_miou_drop, "points"),
            Gate("crack ltIoU@4 lost", self.drop("crack_lt_iou_4"), "<=", max_crack_drop, "points"),
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def _scores(counts: dict[str, ImageCounts], settings: CrackSettings, crack: int | None) -> dict[str, float | None]:
    found = Statistics.of(counts, settings, crack).intervals(0)
    names = {"miou": "miou", "crack_iou": "iou", "crack_lt_iou_4": f"lt_iou@{TOLERANCE}"}
    return {key: found[name].to_json()["value"] if name in found else None for key, name in names.items()}


def _both(reference: Predictor, exported: Predictor, image: NDArray[np.uint8]) -> Iterable[tuple[Any, Any, Any]]:
    """(window, logits of the network, logits of the file), cut alike."""
    for one, other in zip(reference.windows(image), exported.windows(image), strict=True):
        yield one, reference.to_numpy(one.logits), exported.to_numpy(other.logits)


def compare(reference: Predictor, exported: Predictor, samples: Iterable[Sample], logits: bool = True) -> Parity:
    """Run both on labeled photographs.

    Args:
        reference: The network; it must cut images like the file does (``card.size``).
        exported: The file.
        samples: Whole images uint8 (3, H, W) with labels int64 (H, W).
        logits: Whether the file gives logits; False for one that gives class maps.
    """
    classes, crack = reference.classes, reference.classes.index("crack")
    settings = CrackSettings(tolerances=(TOLERANCE,))
    score = ImageScorer(len(classes), crack, settings)
    counts: tuple[dict[str, ImageCounts], dict[str, ImageCounts]] = ({}, {})
    equal = pixels = 0
    largest = 0.0
    for sample in samples:
        maps = [np.empty(tuple(sample.label.shape), np.uint8) for _ in counts]
        for window, first, second in _both(reference, exported, sample.image.permute(1, 2, 0).numpy()):
            largest = max(largest, float(np.abs(first - second).max()))
            for class_map, values in zip(maps, (first, second), strict=True):
                class_map[window.rows, window.columns] = values.argmax(0)
        equal, pixels = equal + int((maps[0] == maps[1]).sum()), pixels + maps[0].size
        for counted, class_map in zip(counts, maps, strict=True):
            counted[sample.stem] = score(class_map, sample.label.numpy())
    scores = [_scores(counted, settings, crack) for counted in counts]
    return Parity(len(counts[0]), pixels, equal / pixels, largest if logits else None, *scores)
