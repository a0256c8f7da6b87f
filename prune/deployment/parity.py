"""Parity of an export: file and network run on the same labeled photographs, compared logit by logit and crack by crack."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prune.data.dataset import Sample, SegmentationDataset, spread, whole_images
from prune.data.labels import IGNORE_INDEX
from prune.data.split import Split
from prune.errors import UserError
from prune.inference.metadata import votes
from prune.inference.predictor import Predictor
from prune.inference.torch import TorchPredictor
from prune.metrics.crack import CrackSettings
from prune.metrics.image import ImageCounts, ImageScorer
from prune.metrics.statistics import Statistics
from prune.models.checkpoint import Network

TOLERANCE = 4
"""Tolerance in px of the ltIoU that is compared."""
VALIDATION_IMAGES = 32
"""Images that accuracy control scores a candidate on, at most."""


@dataclass(frozen=True)
class Gate:
    """One condition a file has to meet.

    Args:
        name: What is measured.
        value: What was found, None = it cannot be judged on these images.
        relation: ``>=`` or ``<=``.
        bound: What ``value`` is held against.
        unit: Of both.
        missing: Why there is no value.
    """

    name: str
    value: float | None
    relation: str
    bound: float
    unit: str
    missing: str = ""

    @property
    def judged(self) -> bool:
        """Whether the images can tell."""
        return self.value is not None

    @property
    def passed(self) -> bool:
        """Whether it is judged and met."""
        if self.value is None:
            return False
        return self.value >= self.bound if self.relation == ">=" else self.value <= self.bound

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.name} not judged, {self.missing}"
        unit = "%" if self.unit == "%" else f" {self.unit}"
        return f"{self.name} {self.value:.3f}{unit} (expected {self.relation} {self.bound:g}{unit})"


@dataclass(frozen=True)
class Parity:
    """How far a file is from the network it was made of.

    Args:
        images: Photographs compared.
        pixels: Pixels compared.
        labeled: Those of them with a label.
        crack: Those of them labeled as crack; None for a network without that class.
        agreement: Share of pixels with the same class, 0…1.
        max_logit_difference: Largest absolute difference of a logit; None when the file gives no logits.
        reference: Scores of the network, 0…1: ``miou``, ``crack_iou``, ``crack_lt_iou_4``; None = absent.
        exported: The same of the file.
    """

    images: int
    pixels: int
    labeled: int
    crack: int | None
    agreement: float
    max_logit_difference: float | None
    reference: dict[str, float | None]
    exported: dict[str, float | None]

    def drop(self, name: str) -> float | None:
        """Points the file loses in a score; None when there is none."""
        before, after = self.reference[name], self.exported[name]
        return None if before is None or after is None else 100 * (before - after)

    def gates(self, min_agreement: float, max_miou_drop: float, max_crack_drop: float) -> list[Gate]:
        """The conditions with what was found; bounds in percent and points.

        Scores are judged on labels only: without a labeled crack both sides score 0, whatever they find. A network
        without a crack class has no condition on cracks.
        """
        agreement = Gate("agreement of the class maps", 100 * self.agreement, ">=", min_agreement, "%")
        gates = [agreement, self._lost("mIoU", "miou", max_miou_drop, self.labeled, "pixel")]
        if self.crack is not None:
            gates.append(self._lost("crack ltIoU@4", "crack_lt_iou_4", max_crack_drop, self.crack, "crack"))
        return gates

    def _lost(self, title: str, key: str, most: float, labeled: int, what: str) -> Gate:
        value = self.drop(key) if labeled else None
        missing = "" if value is not None else f"no labeled {what} in the {self.images} images compared"
        return Gate(f"{title} lost", value, "<=", most, "points", missing)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def _scores(counts: dict[str, ImageCounts], settings: CrackSettings, crack: int | None) -> dict[str, float | None]:
    found = Statistics.of(counts, settings, crack).intervals(0)
    names = {"miou": "miou", "crack_iou": "iou", "crack_lt_iou_4": f"lt_iou@{TOLERANCE}"}
    return {key: found[name].to_json()["value"] if name in found else None for key, name in names.items()}


def _class_maps(reference: Predictor, exported: Predictor, sample: Sample) -> tuple[list[NDArray[np.uint8]], float]:
    """The class maps of both, of an image cut alike, and the largest absolute difference of a logit."""
    image, largest = sample.image.permute(1, 2, 0).numpy(), 0.0
    maps = [np.empty(image.shape[:2], np.uint8) for _ in range(2)]
    for one, other in zip(reference.windows(image), exported.windows(image), strict=True):
        first, second = reference.to_numpy(one.logits), exported.to_numpy(other.logits)
        difference = float(np.abs(first - second).max())
        if not math.isfinite(difference):
            raise UserError(
                f"{exported.card.file.name} does not match the network: a logit of {sample.stem} is not finite"
            )
        largest = max(largest, difference)
        for class_map, logits in zip(maps, (first, second), strict=True):
            class_map[one.rows, one.columns] = logits.argmax(0)
    return maps, largest


def compare(reference: Predictor, exported: Predictor, samples: Iterable[Sample], logits: bool = True) -> Parity:
    """Run both on labeled photographs.

    Args:
        reference: The network; it must cut images like the file does (``card.size``).
        exported: The file.
        samples: Whole images uint8 (3, H, W) with labels int64 (H, W).
        logits: Whether the file gives logits; False for one that gives class maps.

    Raises:
        UserError: when one of the two gives a logit that is not finite.
    """
    classes, crack = reference.classes, reference.classes.index("crack")
    settings = CrackSettings(tolerances=(TOLERANCE,))
    score = ImageScorer(len(classes), crack, settings)
    counts: tuple[dict[str, ImageCounts], dict[str, ImageCounts]] = ({}, {})
    equal = pixels = labeled = cracks = 0
    largest = 0.0
    for sample in samples:
        maps, difference = _class_maps(reference, exported, sample)
        largest = max(largest, difference)
        equal, pixels = equal + int((maps[0] == maps[1]).sum()), pixels + maps[0].size
        labeled += int((sample.label != IGNORE_INDEX).sum())
        cracks += 0 if crack is None else int((sample.label == crack).sum())
        for counted, class_map in zip(counts, maps, strict=True):
            counted[sample.stem] = score(class_map, sample.label.numpy())
    scores = [_scores(counted, settings, crack) for counted in counts]
    return Parity(
        images=len(counts[0]),
        pixels=pixels,
        labeled=labeled,
        crack=None if crack is None else cracks,
        agreement=equal / pixels,
        max_logit_difference=largest if logits else None,
        reference=scores[0],
        exported=scores[1],
    )


def labeled_samples(split: Split, most: int) -> Iterator[Sample]:
    """Whole labeled images, at most ``most`` of them (0 = all), spread over the split."""
    return whole_images(SegmentationDataset(spread(split, most)), 0)


def reference_predictor(network: Network, size: tuple[int, int] | None) -> TorchPredictor:
    """The network in float32 on the CPU, cutting images like a file that takes ``size`` does."""
    predictor = TorchPredictor(network, torch.device("cpu"))
    predictor.card = replace(predictor.card, size=size)
    return predictor


class _Compiled(Predictor):
    """A network NNCF is still working on."""

    def __init__(self, compiled: Any, like: Predictor) -> None:
        self.compiled, self.card = compiled, like.card

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits float32 (1, C, H, W)."""
        return votes(self.compiled(batch)[0], len(self.classes))


def validator(reference: Predictor, split: Split) -> Callable[[Any], float]:
    """Scores a compiled network: the mean of mIoU and crack ltIoU@4 on labeled images, of the mIoU alone without cracks."""

    def score(compiled: Any) -> float:
        samples = labeled_samples(split, VALIDATION_IMAGES)
        found = compare(reference, _Compiled(compiled, reference), samples).exported
        known = [value for value in (found["miou"], found["crack_lt_iou_4"]) if value is not None]
        if not known:
            raise UserError(f"--max_drop: expected labeled pixels in {split.folder}, found none")
        return float(np.mean(known))

    return score


def require_passed(file: Path, gates: Sequence[Gate], accept_unjudged: bool, report: Path) -> None:
    """Raise ``UserError`` for the gates a file does not pass, and for those that cannot be judged unless that is accepted."""
    failed = [gate for gate in gates if gate.judged and not gate.passed]
    if failed:
        raise UserError(f"{file.name} does not match the network: {'; '.join(map(str, failed))}; report in {report}")
    unjudged = [gate for gate in gates if not gate.judged]
    if unjudged and not accept_unjudged:
        raise UserError(
            f"{file.name}: {'; '.join(map(str, unjudged))}: use test images that have some (--data, --parity_images), "
            f"or add --accept_unjudged True; report in {report}"
        )
