"""``python -m prune score``: masks of any program and labels in, the same workbook and JSON as ``test.py`` out."""

import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from prune.api.scoring import TestResult, conditions, crack_settings, now, run_facts, write_result
from prune.cli.score import ScoreOptions
from prune.data.find_split import label_fingerprint
from prune.data.labels import CRACK, IGNORE_INDEX, S2DS, ClassSet
from prune.data.mask_files import Masks, classes_called, files_by_stem, open_labels, open_masks, read_probability
from prune.data.pixel_size import read_scales
from prune.errors import UserError
from prune.evaluation.content import Scored, evaluation_content
from prune.evaluation.evaluate import scoring_pool
from prune.files import METRICS, check_writable
from prune.metrics.calibration import calibration_counts
from prune.metrics.image import ImageCounts, ImageScorer
from prune.metrics.statistics import Statistics

Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class _Pairs:
    """Predicted masks and labels of the same stems, and the classes both are read as."""

    predictions: Masks
    labels: Masks
    classes: ClassSet

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


def _pairs(config: ScoreOptions) -> _Pairs:
    """Pair the files of both folders by stem; predictions without a label are left out with a note.

    The classes are crack and background unless both sides hold those of S2DS, or nothing at all.
    """
    named = None if config.classes == "auto" else classes_called(config.classes)
    labels = open_labels(Path(str(config.label_dir)), config.mask_threshold, named, config.dataset)
    files = files_by_stem(Path(str(config.pred_dir)))
    missing = sorted(labels.files.keys() - files.keys())
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise UserError(f"{labels.files[missing[0]]}: no prediction with the same stem in {config.pred_dir}{more}")
    predictions = open_masks({stem: files[stem] for stem in labels.files}, config.mask_threshold, named)
    classes = named or (CRACK if CRACK in (predictions.native, labels.native) else S2DS)
    print(f"masks    {config.pred_dir}: {predictions.seen}")
    print(f"labels   {len(labels.files)} in {config.label_dir}: {labels.seen}")
    print(f"classes  {', '.join(classes.classes)}")
    extra = len(files) - len(labels.files)
    if extra:
        print(f"note     {extra} predictions have no label and are left out")
    return _Pairs(predictions, labels, classes)


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


def _stored_probabilities(config: ScoreOptions, stems: list[str]) -> dict[str, Path]:
    """The files of probabilities by stem; empty when there are none."""
    if not config.probabilities:
        return {}
    files = files_by_stem(Path(config.probabilities), (".npy",))
    missing = [stem for stem in stems if stem not in files]
    if missing:
        raise UserError(f"{config.probabilities}: no probabilities for the image {missing[0]}")
    return files


def _count(pairs: _Pairs, stems: list[str], scorer: ImageScorer, stored: dict[str, Path], workers: int) -> _Counted:
    """Read and count every image, ``workers`` processes counting while this one reads."""
    found, pending = _Counted([], {}, []), deque[tuple[str, Future[ImageCounts]]]()
    with scoring_pool(workers) as submit:
        for stem in tqdm(stems, desc="scoring", unit="image", leave=False):
            prediction, label = pairs.read(stem)
            found.images.append(Scored(stem, label.shape[0], label.shape[1], float("nan")))
            if stored:
                found.calibration.append(_calibration(stored[stem], label, scorer.crack or 0))
            pending.append((stem, submit(scorer, prediction, label)))
            while len(pending) > 2 * workers:
                done, future = pending.popleft()
                found.counts[done] = future.result()
        found.counts.update((stem, future.result()) for stem, future in pending)
    return found


def score(config: ScoreOptions) -> TestResult:
    """Score masks against labels and write the workbook and its JSON.

    Raises:
        UserError: for missing, unreadable or unpaired files, sizes that differ, and unknown ids or colors.
    """
    settings, started, begin = crack_settings(config), now(), time.perf_counter()
    pairs = _pairs(config)
    classes, stems = pairs.classes, sorted(pairs.labels.files)
    scales = read_scales(config.mm_per_pixel, stems) if config.mm_per_pixel else None
    stored = _stored_probabilities(config, stems)
    name = Path(str(config.pred_dir)).resolve().name
    workbook = Path(config.output) if config.output else METRICS / f"{name}.xlsx"
    check_writable(workbook.parent)
    crack = classes.index("crack")
    found = _count(pairs, stems, ImageScorer(len(classes), crack, settings), stored, config.workers)
    statistics = Statistics.of(found.counts, settings, crack, scales=scales, calibration=found.calibration)
    data = {
        "folder": str(config.label_dir),
        "layout": "masks",
        "images": len(stems),
        "fingerprint": None,
        "labels": label_fingerprint((stem, pairs.labels.read(stem, classes)) for stem in stems),
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
    """Masks have a name and a place; their cost is unknown."""
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


def run(config: ScoreOptions) -> None:
    """Score and print the table."""
    print(score(config))
