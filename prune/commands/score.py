"""``python -m prune score``: masks of any program and labels in, the same workbook and JSON as ``test.py`` out."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from prune.commands.scoring import TestResult, conditions, crack_settings, now, run_facts, write_result
from prune.config import ScoreConfig, parse
from prune.data.labels import IGNORE_INDEX
from prune.data.layout import label_fingerprint
from prune.data.masks import BinaryMasks, classes_called, files_by_stem, label_files, read_class_mask, read_probability
from prune.data.scale import read_scales
from prune.engine.evaluation import scoring_pool
from prune.errors import UserError
from prune.files import METRICS, check_writable
from prune.metrics.calibration import calibration_counts
from prune.metrics.image import ImageCounts, ImageScorer
from prune.metrics.statistics import Statistics
from prune.report.content import Scored, evaluation_content

Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class _Masks:
    """Predicted masks and labels by stem, and how each are read."""

    predictions: dict[str, Path]
    labels: dict[str, Path]
    read_prediction: Callable[[Path], Mask]
    read_label: Callable[[Path], Mask]

    def read(self, stem: str, classes: int) -> tuple[Mask, Mask]:
        """Prediction and label of one image, checked against each other."""
        file = self.predictions[stem]
        prediction, label = self.read_prediction(file), self.read_label(self.labels[stem])
        if prediction.shape != label.shape:
            found, expected = (f"{m.shape[1]}x{m.shape[0]}" for m in (prediction, label))
            raise UserError(f"{file}: expected the size of its label, {expected}, found {found}")
        if prediction.max(initial=0) >= classes:
            hint = "; black and white masks need --classes crack" if classes > 2 else ""
            raise UserError(f"{file}: expected ids 0 to {classes - 1}, found ignored pixels in a prediction{hint}")
        return prediction, label


def _masks(config: ScoreConfig) -> _Masks:
    """Pair the files of both folders by stem; predictions without a label are left out with a note."""
    labels = label_files(Path(str(config.label_dir)))
    predictions = files_by_stem(Path(str(config.pred_dir)))
    missing = sorted(labels.keys() - predictions.keys())
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise UserError(f"{labels[missing[0]]}: no prediction with the same stem in {config.pred_dir}{more}")
    extra = len(predictions.keys() - labels.keys())
    if extra:
        print(f"note     {extra} predictions have no label and are left out")
    if config.classes == "s2ds":
        return _Masks(predictions, labels, read_class_mask, read_class_mask)
    readers = [BinaryMasks.of([files[stem] for stem in labels]) for files in (predictions, labels)]
    return _Masks(predictions, labels, *readers)


@dataclass
class _Counted:
    """Counts and facts of all images, in the order of their stems."""

    images: list[Scored]
    counts: dict[str, ImageCounts]
    calibration: list[dict[str, Any]]


def _calibration(file: Path, label: Mask, crack: int) -> dict[str, Any]:
    """Calibration counts of one image from its stored probabilities."""
    probability = read_probability(file)
    if probability.shape != label.shape:
        raise UserError(f"{file}: expected the size of its label, {label.shape}, found {probability.shape}")
    known = label != IGNORE_INDEX
    return calibration_counts("crack", probability[known], label[known] == crack)


def _stored_probabilities(config: ScoreConfig, stems: list[str]) -> dict[str, Path]:
    """The files of probabilities by stem; empty when there are none."""
    if not config.probabilities:
        return {}
    files = files_by_stem(Path(config.probabilities), (".npy",))
    missing = [stem for stem in stems if stem not in files]
    if missing:
        raise UserError(f"{config.probabilities}: no probabilities for the image {missing[0]}")
    return files


def _count(masks: _Masks, stems: list[str], scorer: ImageScorer, stored: dict[str, Path], workers: int) -> _Counted:
    """Read and count every image, ``workers`` processes counting while this one reads."""
    found, pending = _Counted([], {}, []), deque[tuple[str, Future[ImageCounts]]]()
    with scoring_pool(workers) as submit:
        for stem in tqdm(stems, desc="scoring", unit="image", leave=False):
            prediction, label = masks.read(stem, scorer.classes)
            found.images.append(Scored(stem, label.shape[0], label.shape[1], float("nan")))
            if stored:
                found.calibration.append(_calibration(stored[stem], label, scorer.crack or 0))
            pending.append((stem, submit(scorer, prediction, label)))
            while len(pending) > 2 * workers:
                done, future = pending.popleft()
                found.counts[done] = future.result()
        found.counts.update((stem, future.result()) for stem, future in pending)
    return found


def score(config: ScoreConfig) -> TestResult:
    """Score masks against labels and write the workbook and its JSON.

    Raises:
        UserError: for missing, unreadable or unpaired files, sizes that differ, and unknown ids or colors.
    """
    classes, settings, started, begin = (
        classes_called(config.classes),
        crack_settings(config),
        now(),
        time.perf_counter(),
    )
    masks = _masks(config)
    stems = sorted(masks.labels)
    print(f"masks    {config.pred_dir}\nlabels   {len(stems)} in {config.label_dir}")
    scales = read_scales(config.mm_per_pixel, stems) if config.mm_per_pixel else None
    stored = _stored_probabilities(config, stems)
    name = Path(str(config.pred_dir)).resolve().name
    workbook = Path(config.output) if config.output else METRICS / f"{name}.xlsx"
    check_writable(workbook.parent)
    crack = classes.index("crack")
    found = _count(masks, stems, ImageScorer(len(classes), crack, settings), stored, config.workers)
    statistics = Statistics.of(found.counts, settings, crack, scales=scales, calibration=found.calibration)
    data = {
        "folder": str(config.label_dir),
        "layout": "masks",
        "images": len(stems),
        "fingerprint": None,
        "labels": label_fingerprint((stem, masks.read_label(masks.labels[stem])) for stem in stems),
    }
    content = evaluation_content(
        found.images,
        statistics,
        classes,
        conditions(config, "whole images"),
        summary=_summary(name, str(config.pred_dir)),
        run=run_facts(config, data, {"scoring": time.perf_counter() - begin}, started),
    )
    return write_result(content, workbook)


def _summary(name: str, folder: str) -> dict[str, Any]:
    """Masks have a name and a place; what they cost nobody knows."""
    unknown = dict.fromkeys(("parameters", "macs", "file_mib", "latency_ms", "latency_threads"))
    text = dict.fromkeys(("macs_input", "latency_input", "latency_device", "latency_started"), "")
    return {
        "model": name,
        "file": folder,
        "architecture": "masks of another program",
        "runtime": "",
        "lineage": [],
        **unknown,
        **text,
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, score, print the table."""
    description = "Score masks made by any program against labels."
    print(score(parse(ScoreConfig, description, argv, "python -m prune score")))
