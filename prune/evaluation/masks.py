"""Masks from any program scored against labels; needs NumPy, SciPy and Pillow only."""

import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.data.labels import CRACK, IGNORE_INDEX, S2DS, ClassSet
from prune.data.mask_files import Masks, classes_called, files_by_stem, open_labels, open_masks, read_probability
from prune.data.pixel_size import read_scales
from prune.data.split import label_fingerprint
from prune.errors import UserError
from prune.evaluation.content import Scored, conditions, crack_settings, evaluation_content
from prune.evaluation.pool import scoring_pool
from prune.evaluation.provenance import now, run_facts
from prune.evaluation.settings import MaskSettings
from prune.metrics.calibration import calibration_counts
from prune.metrics.image import ImageCounts, ImageScorer
from prune.metrics.statistics import Statistics
from prune.progress import progress, say

Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class MaskPairs:
    """Predicted masks and labels of the same stems.

    Args:
        folder: Of the predictions.
        label_folder: Of the labels.
        predictions: The masks.
        labels: What they are scored against.
        classes: What both are read as.
        probabilities: Files of crack probabilities by stem; empty when there are none.
    """

    folder: Path
    label_folder: Path
    predictions: Masks
    labels: Masks
    classes: ClassSet
    probabilities: dict[str, Path]

    @property
    def stems(self) -> list[str]:
        """Of all images, sorted."""
        return sorted(self.labels.files)

    def read(self, stem: str) -> tuple[Mask, Mask]:
        """Prediction and label of one image, checked against each other."""
        file = self.predictions.files[stem]
        prediction, label = (masks.read(stem, self.classes) for masks in (self.predictions, self.labels))
        if prediction.shape != label.shape:
            found, expected = (f"{m.shape[1]}x{m.shape[0]}" for m in (prediction, label))
            raise UserError(f"{file}: expected the size of its label, {expected}, found {found}")
        if prediction.max(initial=0) >= len(self.classes):
            last = len(self.classes) - 1
            raise UserError(f"{file}: expected ids 0 to {last}, found ignored pixels in a prediction")
        return prediction, label

    def calibration(self, stem: str, label: Mask) -> dict[str, Any]:
        """Calibration counts of one image from its stored probabilities."""
        file = self.probabilities[stem]
        probability = read_probability(file)
        if probability.shape != label.shape:
            raise UserError(f"{file}: expected the size of its label, {label.shape}, found {probability.shape}")
        known = label != IGNORE_INDEX
        return calibration_counts("crack", probability[known], label[known] == (self.classes.index("crack") or 0))


def pair_masks(folder: Path, label_folder: Path, probabilities: Path | None, settings: MaskSettings) -> MaskPairs:
    """Pair the files of both folders by stem; predictions without a label are left out with a note.

    The classes are crack and background unless both sides hold those of S2DS, or nothing at all.

    Raises:
        UserError: for missing, unreadable or unpaired files, and masks of several codings.
    """
    named = None if settings.classes == "auto" else classes_called(settings.classes)
    labels = open_labels(label_folder, settings.mask_threshold, named, settings.dataset)
    files = files_by_stem(folder)
    missing = sorted(labels.files.keys() - files.keys())
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise UserError(f"{labels.files[missing[0]]}: no prediction with the same stem in {folder}{more}")
    predictions = open_masks({stem: files[stem] for stem in labels.files}, settings.mask_threshold, named)
    classes = named or (CRACK if CRACK in (predictions.native, labels.native) else S2DS)
    say("masks", f"{folder}: {predictions.seen}")
    say("labels", f"{len(labels.files)} in {label_folder}: {labels.seen}")
    say("classes", ", ".join(classes.classes))
    extra = len(files) - len(labels.files)
    if extra:
        say("note", f"{extra} predictions have no label and are left out")
    stored = files_by_stem(probabilities, (".npy",)) if probabilities else {}
    lacking = [stem for stem in sorted(labels.files) if stored and stem not in stored]
    if lacking:
        raise UserError(f"{probabilities}: no probabilities for the image {lacking[0]}")
    return MaskPairs(folder, label_folder, predictions, labels, classes, stored)


@dataclass
class _Counted:
    """Counts and facts of all images, in the order of their stems."""

    images: list[Scored]
    counts: dict[str, ImageCounts]
    calibration: list[dict[str, Any]]


def _count(pairs: MaskPairs, scorer: ImageScorer, workers: int) -> _Counted:
    """Read and count every image, ``workers`` processes counting while this one reads."""
    found, pending = _Counted([], {}, []), deque[tuple[str, Future[ImageCounts]]]()
    with scoring_pool(workers) as submit:
        for stem in progress(pairs.stems, "scoring"):
            prediction, label = pairs.read(stem)
            found.images.append(Scored(stem, label.shape[0], label.shape[1], float("nan")))
            if pairs.probabilities:
                found.calibration.append(pairs.calibration(stem, label))
            pending.append((stem, submit(scorer, prediction, label)))
            while len(pending) > 2 * workers:
                done, future = pending.popleft()
                found.counts[done] = future.result()
        found.counts.update((stem, future.result()) for stem, future in pending)
    return found


def score_masks(pairs: MaskPairs, settings: MaskSettings, arguments: dict[str, Any]) -> dict[str, Any]:
    """Score masks against labels.

    Args:
        pairs: Both.
        settings: How.
        arguments: What was asked for, for the record.

    Returns:
        The evaluation as plain values, see ``prune.evaluation.content``.

    Raises:
        UserError: for sizes that differ, unknown ids or colors, unreadable files, and a scale that misses an image.
    """
    started, begin = now(), time.perf_counter()
    classes, stems, counted = pairs.classes, pairs.stems, crack_settings(settings)
    scales = read_scales(str(settings.mm_per_pixel), stems) if settings.mm_per_pixel else None
    crack = classes.index("crack")
    found = _count(pairs, ImageScorer(len(classes), crack, counted), settings.workers)
    statistics = Statistics.of(found.counts, counted, crack, scales=scales, calibration=found.calibration)
    data = {
        "folder": str(pairs.label_folder),
        "layout": "masks",
        "images": len(stems),
        "fingerprint": None,
        "labels": label_fingerprint((stem, pairs.labels.read(stem, classes)) for stem in stems),
    }
    return evaluation_content(
        found.images,
        statistics,
        classes,
        conditions(settings, "whole images"),
        summary=_summary(pairs.folder),
        run=run_facts(arguments, data, {"scoring": time.perf_counter() - begin}, started),
    )


def _summary(folder: Path) -> dict[str, Any]:
    """Masks have a name and a place; their cost is unknown."""
    unknown = dict.fromkeys(("parameters", "macs", "file_mib", "latency_ms", "latency_threads"))
    text = dict.fromkeys(("macs_input", "latency_input", "latency_device", "latency_started"), "")
    return {
        "model": folder.resolve().name,
        "file": str(folder),
        "architecture": "masks from another program",
        "runtime": "",
        "lineage": [],
        **unknown,
        **text,
    }
