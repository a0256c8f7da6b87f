"""Networks scored on a split: what they are scored on, their cost, and the evaluation as plain values."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from prune.data.dataset import Sample, SegmentationDataset, whole_images
from prune.data.eval_crop import Framing
from prune.data.images import image_size
from prune.data.pixel_size import read_scales
from prune.data.split import Split
from prune.evaluation.content import Scored, conditions, crack_settings, evaluation_content
from prune.evaluation.evaluate import Evaluation, evaluate
from prune.evaluation.provenance import now, run_facts
from prune.evaluation.settings import EvaluateSettings
from prune.files import file_mib
from prune.hardware import device_name
from prune.inference.latency import Timing, time_predictors
from prune.inference.predictor import EXPORT_SUFFIXES, Predictor
from prune.inference.replicas import replicated
from prune.inference.torch import TorchPredictor
from prune.metrics.image import ImageScorer
from prune.metrics.statistics import Statistics
from prune.models.cost import count
from prune.progress import say


@dataclass(frozen=True)
class Timed:
    """A latency, and when it was measured: those of one time were measured in interleaved runs."""

    latency: Timing
    started: str


@dataclass(frozen=True)
class TestSet:
    """What networks are scored on.

    Args:
        split: Images and labels.
        facts: Of the split, for the report.
        framing: What part of every image is scored.
        scales: Millimeters per scored pixel by stem, None without a scale.
    """

    __test__ = False  # pytest would take the name for a test class

    split: Split
    facts: dict[str, Any]
    framing: Framing
    scales: dict[str, float] | None


def model_name(file: Path) -> str:
    """What a model is called: exports keep their suffix, because they share the stem of their checkpoint."""
    return file.name if file.suffix in EXPORT_SUFFIXES else file.stem


def prepare_test_set(split: Split, settings: EvaluateSettings) -> TestSet:
    """The split as it is going to be scored.

    Raises:
        UserError: for unreadable files, and a scale that misses an image.
    """
    framing = Framing(settings.resize, settings.crop)
    facts = {
        "folder": str(split.folder),
        "layout": split.layout,
        "images": len(split.pairs),
        "fingerprint": split.fingerprint(),
        "labels": split.label_fingerprint(),
    }
    scales = None
    if settings.mm_per_pixel:
        given = read_scales(str(settings.mm_per_pixel), [pair.stem for pair in split.pairs])
        scales = {pair.stem: given[pair.stem] / framing.scale(image_size(pair.image)) for pair in split.pairs}
    return TestSet(split, facts, framing, scales)


def measure_latencies(predictors: Sequence[Predictor], settings: EvaluateSettings) -> list[Timed | None]:
    """Latency of every network, measured in interleaved runs; None when it is not to be measured."""
    if not settings.latency_repeats:
        return [None] * len(predictors)
    size, started = (settings.latency_size, settings.latency_size), now()
    found = time_predictors({str(i): p for i, p in enumerate(predictors)}, size, settings.latency_repeats)
    return [Timed(found[str(i)], started) for i in range(len(predictors))]


def _cost(predictor: Predictor, size: tuple[int, int]) -> tuple[int | None, int | None, tuple[int, int]]:
    """Parameters, MACs and the input (height, width) they are counted on; None = unknown."""
    if isinstance(predictor, TorchPredictor):
        return *count(predictor.network.model, size), size
    known = predictor.card.macs
    name = f"{size[1]}x{size[0]}"
    name = name if name in known else next(iter(known), name)
    width, height = (int(side) for side in name.split("x"))
    return predictor.card.parameters, known.get(name), (height, width)


def _summary(predictor: Predictor, settings: EvaluateSettings, timed: Timed | None) -> dict[str, Any]:
    card = predictor.card
    size = card.size or (settings.latency_size, settings.latency_size)
    parameters, macs, counted = _cost(predictor, size)
    device = predictor.device or device_name(torch.device("cpu"))
    return {
        "model": model_name(card.file),
        "file": str(card.file),
        "architecture": card.architecture,
        "runtime": f"{card.runtime} {card.precision}",
        "lineage": list(card.history),
        "parameters": parameters,
        "macs": macs,
        "macs_input": f"3x{counted[0]}x{counted[1]}",
        "file_mib": file_mib(card.file) if card.file.is_file() else None,
        "latency_ms": timed.latency.median if timed else None,
        "latency_input": f"1x3x{size[0]}x{size[1]}",
        "latency_device": device if timed else "",
        "latency_threads": torch.get_num_threads(),
        "latency_started": timed.started if timed else "",
    }


def _count(predictor: Predictor, data: TestSet, settings: EvaluateSettings) -> Evaluation:
    dataset = SegmentationDataset(data.split)

    def samples() -> Iterator[Sample]:
        return map(data.framing, whole_images(dataset, settings.workers))

    first = partial(data.split.read_image, data.split.pairs[0])
    replicas = replicated(predictor, settings.networks, settings.threads, len(dataset), first)
    if len(replicas.predictors) > 1:
        say("running", replicas)
    scorer = ImageScorer(len(predictor.classes), predictor.classes.index("crack"), crack_settings(settings))
    options: dict[str, Any] = {"scorer": scorer, "workers": settings.workers, "calibrate": settings.calibration}
    return evaluate(replicas, samples(), len(dataset), f"testing {predictor.card.name}", **options)


def evaluate_network(
    predictor: Predictor,
    data: TestSet,
    settings: EvaluateSettings,
    *,
    timed: Timed | None,
    arguments: Mapping[str, Any],
) -> dict[str, Any]:
    """Score one network.

    Args:
        predictor: The network, of the classes of the split.
        data: What it is scored on.
        settings: How.
        timed: Its latency, None = not measured.
        arguments: What was asked for, for the record.

    Returns:
        The evaluation as plain values, see ``prune.evaluation.content``.

    Raises:
        UserError: for a damaged file, and for several copies of a network that cannot be copied.
    """
    started = now()
    result = _count(predictor, data, settings)
    statistics = Statistics.of(
        {image.stem: image.counts for image in result.images},
        crack_settings(settings),
        predictor.classes.index("crack"),
        scales=data.scales,
        calibration=[image.calibration for image in result.images] if settings.calibration else (),
    )
    device = str(predictor.where) if isinstance(predictor, TorchPredictor) else settings.device
    return evaluation_content(
        [Scored(image.stem, image.height, image.width, image.loss) for image in result.images],
        statistics,
        predictor.classes,
        conditions(settings, str(data.framing)),
        summary=_summary(predictor, settings, timed),
        run=run_facts(arguments, data.facts, result.seconds, started, device),
        loss=result.loss,
    )
