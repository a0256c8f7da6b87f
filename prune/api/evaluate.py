"""``test.py``: checkpoints and a test split in, a workbook and the same numbers as JSON out for each, and a comparison."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from prune.api.compare import CompareResult, compare
from prune.api.defaults import open_split
from prune.api.scoring import TestResult, conditions, crack_settings, now, run_facts, write_result
from prune.benchmark.latency import Timing, time_predictors
from prune.cli.compare import CompareOptions
from prune.cli.test import TestOptions
from prune.data.dataset import Sample, SegmentationDataset, whole_images
from prune.data.eval_crop import Framing
from prune.data.find_split import Split
from prune.data.images import image_size
from prune.data.labels import ClassSet
from prune.data.mask_files import classes_called
from prune.data.pixel_size import read_scales
from prune.errors import UserError
from prune.evaluation.content import Scored, evaluation_content
from prune.evaluation.evaluate import Evaluation, evaluate
from prune.files import METRICS, check_writable, file_mib, find_model
from prune.hardware import choose_device, device_name, set_threads
from prune.inference.load import load_predictor
from prune.inference.predictor import EXPORT_SUFFIXES, Predictor
from prune.inference.replicas import replicated
from prune.inference.torch import TorchPredictor
from prune.metrics.image import ImageScorer
from prune.metrics.statistics import Statistics
from prune.models.checkpoint import newest_model, require_classes
from prune.models.cost import count
from prune.number_format import evaluation_format


def _name(file: Path) -> str:
    """What a model is called: exports keep their suffix, because they share the stem of their checkpoint."""
    return file.name if file.suffix in EXPORT_SUFFIXES else file.stem


def model_files(config: TestOptions) -> list[Path]:
    """The checkpoints the flags mean: named ones, else the newest pruned one, else the newest.

    Raises:
        UserError: when one is missing, or two would write the same workbook.
    """
    named = (*config.weights, *config.pruned_model)
    if not named:
        return [newest_model(pruned=True if config.use_pruned else None)]
    files = [find_model(name) for name in named]
    stems = [_name(file) for file in files]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice:
        raise UserError(f"--weights, --pruned_model: two files called {twice}, expected different names")
    return files


def _scales(config: TestOptions, split: Split, framing: Framing) -> dict[str, float] | None:
    """Millimeters per scored pixel by stem, None without a scale."""
    if not config.mm_per_pixel:
        return None
    scales = read_scales(config.mm_per_pixel, [pair.stem for pair in split.pairs])
    return {pair.stem: scales[pair.stem] / framing.scale(image_size(pair.image)) for pair in split.pairs}


@dataclass(frozen=True)
class _Timed:
    """A latency, and when it was measured: those of one time were measured in turns."""

    latency: Timing
    started: str


def _cost(predictor: Predictor, size: tuple[int, int]) -> tuple[int | None, int | None, tuple[int, int]]:
    """Parameters, MACs and the input (height, width) they are counted on; None = unknown."""
    if isinstance(predictor, TorchPredictor):
        return *count(predictor.network.model, size), size
    known = predictor.card.macs
    name = f"{size[1]}x{size[0]}"
    name = name if name in known else next(iter(known), name)
    width, height = (int(side) for side in name.split("x"))
    return predictor.card.parameters, known.get(name), (height, width)


def _summary(predictor: Predictor, config: TestOptions, timed: _Timed | None) -> dict[str, Any]:
    card = predictor.card
    size = card.size or (config.latency_size, config.latency_size)
    parameters, macs, counted = _cost(predictor, size)
    device = predictor.device or device_name(torch.device("cpu"))
    return {
        "model": _name(card.file),
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


def _latencies(predictors: Mapping[Path, Predictor], config: TestOptions) -> dict[Path, _Timed]:
    """Latency of every network, taken in turns; empty when it is not to be measured."""
    if not config.latency_repeats:
        return {}
    size, started = (config.latency_size, config.latency_size), now()
    found = time_predictors({str(file): p for file, p in predictors.items()}, size, config.latency_repeats)
    return {file: _Timed(found[str(file)], started) for file in predictors}


def _predictor(file: Path, config: TestOptions) -> Predictor:
    device = choose_device(config.device)
    numbers = evaluation_format(config.amp, config.channels_last, device)
    options: dict[str, Any] = {"autocast": numbers.autocast, "channels_last": numbers.channels_last}
    classes = classes_called(config.classes) if config.classes else None
    return load_predictor(
        file,
        threads=config.threads,
        classes=classes,
        device=device,
        trust_pickle=config.trust_pickle,
        **options,
    )


def _evaluate(predictor: Predictor, split: Split, framing: Framing, config: TestOptions) -> Evaluation:
    dataset = SegmentationDataset(split)

    def samples() -> Iterator[Sample]:
        return map(framing, whole_images(dataset, config.workers))

    first = partial(split.read_image, split.pairs[0])
    replicas = replicated(predictor, config.networks, config.threads, len(dataset), first)
    if len(replicas.predictors) > 1:
        print(f"running  {replicas}")
    scorer = ImageScorer(len(predictor.classes), predictor.classes.index("crack"), crack_settings(config))
    options: dict[str, Any] = {"scorer": scorer, "workers": config.workers, "calibrate": config.calibration}
    return evaluate(replicas, samples(), len(dataset), f"testing {predictor.card.name}", **options)


@dataclass(frozen=True)
class _Material:
    """What all networks are scored on: the split, its facts for the report, the framing and the scales in mm per px."""

    split: Split
    facts: dict[str, Any]
    framing: Framing
    scales: dict[str, float] | None


def _material(config: TestOptions, classes: ClassSet) -> _Material:
    """The labels are read as the classes of the networks."""
    split = open_split(config, config.test_dir, "test", classes)
    framing = Framing(config.resize, config.crop)
    facts = {
        "folder": str(split.folder),
        "layout": split.layout,
        "images": len(split.pairs),
        "fingerprint": split.fingerprint(),
        "labels": split.label_fingerprint(),
    }
    return _Material(split, facts, framing, _scales(config, split, framing))


def _test(
    predictor: Predictor, material: _Material, workbook: Path, config: TestOptions, timed: _Timed | None
) -> TestResult:
    started = now()
    result = _evaluate(predictor, material.split, material.framing, config)
    crack = predictor.classes.index("crack")
    statistics = Statistics.of(
        {image.stem: image.counts for image in result.images},
        crack_settings(config),
        crack,
        scales=material.scales,
        calibration=[image.calibration for image in result.images] if config.calibration else (),
    )
    content = evaluation_content(
        [Scored(image.stem, image.height, image.width, image.loss) for image in result.images],
        statistics,
        predictor.classes,
        conditions(config, str(material.framing)),
        summary=_summary(predictor, config, timed),
        run=run_facts(config, material.facts, result.seconds, started, config.device),
        loss=result.loss,
    )
    return write_result(content, workbook)


def score_checkpoints(config: TestOptions) -> list[TestResult]:
    """Score checkpoints on the images of a split and write a workbook and its JSON for each.

    Images are scored whole at their own size, unless ``config`` asks for something else, which every table then says.

    Raises:
        UserError: for anything the user can fix.
    """
    set_threads(config.threads)
    files = model_files(config)
    print(f"{'models' if len(files) > 1 else 'model'}    {', '.join(map(str, files))}")
    device = choose_device(config.device)
    if config.amp != "off":
        print(f"numbers  {evaluation_format(config.amp, config.channels_last, device)}")
    own = Path(config.output) if config.output and len(files) == 1 else None
    workbooks = {file: own or METRICS / f"{_name(file)}.xlsx" for file in files}
    predictors = {file: _predictor(file, config) for file in files}
    classes = predictors[files[0]].classes
    for predictor in predictors.values():
        require_classes(predictor.card, classes)
    material = _material(config, classes)
    for workbook in workbooks.values():
        check_writable(workbook.parent)
    latencies = _latencies(predictors, config)
    return [_test(predictors[file], material, workbooks[file], config, latencies.get(file)) for file in files]


def test(config: TestOptions) -> TestResult:
    """Score one checkpoint (see ``score_checkpoints``)."""
    return score_checkpoints(config)[0]


def score_and_compare(config: TestOptions) -> CompareResult:
    """Score several checkpoints on the same images and compare them with the first (see ``score_checkpoints``, ``compare``)."""
    results = score_checkpoints(replace(config, output=None))
    files = tuple(str(result.json) for result in results)
    output = config.output or str(METRICS / "comparison.xlsx")
    return compare(CompareOptions(files=files, baseline=files[0], output=output, seed=config.seed))


test.__test__ = False  # type: ignore[attr-defined]


def run(config: TestOptions) -> None:
    """Score and print the table."""
    print(score_and_compare(config) if len(config.weights + config.pruned_model) > 1 else test(config))
