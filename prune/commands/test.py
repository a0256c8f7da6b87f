"""``test.py``: checkpoints and a test split in, a workbook and the same numbers as JSON out for each, and a comparison."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from prune.checkpoint import Network, load_checkpoint, newest_model, require_classes
from prune.commands.compare import CompareResult, compare
from prune.commands.defaults import data_folder
from prune.commands.scoring import TestResult, conditions, crack_settings, now, run_facts, write_result
from prune.config import CompareConfig, TestConfig, parse
from prune.data.dataset import Sample, SegmentationDataset, whole_images
from prune.data.framing import Framing
from prune.data.images import image_size
from prune.data.labels import S2DS
from prune.data.layout import Split, find_split
from prune.data.scale import read_scales
from prune.engine.evaluation import Evaluation, evaluate
from prune.errors import UserError
from prune.files import METRICS, check_writable, find_model
from prune.hardware import autocast_type, choose_device, set_threads
from prune.metrics.image import ImageScorer
from prune.metrics.statistics import Statistics
from prune.models.cost import Latency, count, measure_latency
from prune.predict_torch import TorchPredictor
from prune.report.content import Scored, evaluation_content


def model_files(config: TestConfig) -> list[Path]:
    """The checkpoints the flags mean: named ones, else the newest pruned one, else the newest.

    Raises:
        UserError: when one is missing, or two would write the same workbook.
    """
    named = (*config.weights, *config.pruned_model)
    if not named:
        return [newest_model(pruned=True if config.use_pruned else None)]
    files = [find_model(name) for name in named]
    stems = [file.stem for file in files]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice:
        raise UserError(f"--weights, --pruned_model: two files called {twice}, expected different names")
    return files


def _scales(config: TestConfig, split: Split, framing: Framing) -> dict[str, float] | None:
    """Millimeters per scored pixel by stem, None without a scale."""
    if not config.mm_per_pixel:
        return None
    scales = read_scales(config.mm_per_pixel, [pair.stem for pair in split.pairs])
    return {pair.stem: scales[pair.stem] / framing.scale(image_size(pair.image)) for pair in split.pairs}


@dataclass(frozen=True)
class _Timed:
    """A latency, and when it was measured: those of one time were measured in turns."""

    latency: Latency
    started: str


def _summary(network: Network, config: TestConfig, timed: _Timed | None) -> dict[str, Any]:
    size = (config.latency_size, config.latency_size)
    parameters, macs = count(network.model, size)
    shape = f"3x{size[0]}x{size[1]}"
    return {
        "model": network.file.stem if network.file else network.architecture,
        "file": str(network.file),
        "architecture": network.architecture,
        "lineage": network.history(),
        "parameters": parameters,
        "macs": macs,
        "macs_input": shape,
        "file_mib": network.file.stat().st_size / 2**20 if network.file else None,
        "latency_ms": timed.latency.median_ms if timed else None,
        "latency_input": f"1x{shape}",
        "latency_device": timed.latency.device if timed else "",
        "latency_threads": torch.get_num_threads(),
        "latency_started": timed.started if timed else "",
    }


def _latencies(networks: Mapping[Path, Network], config: TestConfig) -> dict[Path, _Timed]:
    """Latency of every network, taken in turns; empty when it is not to be measured."""
    if not config.latency_repeats:
        return {}
    models = {str(file): network.model for file, network in networks.items()}
    size = (config.latency_size, config.latency_size)
    started = now()
    measured = measure_latency(models, size, config.latency_repeats, choose_device(config.device))
    return {file: _Timed(measured[str(file)], started) for file in networks}


def _evaluate(network: Network, split: Split, framing: Framing, config: TestConfig) -> Evaluation:
    device = choose_device(config.device)
    predictor = TorchPredictor(network, device, autocast_type(config.amp, device), config.channels_last)
    dataset = SegmentationDataset(split)

    def samples() -> Iterator[Sample]:
        return map(framing, whole_images(dataset, config.workers))

    scorer = ImageScorer(len(network.classes), network.classes.index("crack"), crack_settings(config))
    options = {"scorer": scorer, "workers": config.workers, "calibrate": config.calibration}
    return evaluate(predictor, samples(), len(dataset), f"testing {network.architecture}", **options)  # type: ignore[arg-type]


def _test(network: Network, split: Split, workbook: Path, config: TestConfig, timed: _Timed | None) -> TestResult:
    framing, started = Framing(config.resize, config.crop), now()
    scales = _scales(config, split, framing)
    result = _evaluate(network, split, framing, config)
    crack = network.classes.index("crack")
    statistics = Statistics.of(
        {image.stem: image.counts for image in result.images},
        crack_settings(config),
        crack,
        scales=scales,
        calibration=[image.calibration for image in result.images] if config.calibration else (),
    )
    data = {
        "folder": str(split.folder),
        "layout": split.layout,
        "images": len(split.pairs),
        "fingerprint": split.fingerprint(),
        "labels": split.label_fingerprint(),
    }
    content = evaluation_content(
        [Scored(image.stem, image.height, image.width, image.loss) for image in result.images],
        statistics,
        network.classes,
        conditions(config, str(framing)),
        summary=_summary(network, config, timed),
        run=run_facts(config, data, result.seconds, started, config.device),
        loss=result.loss,
    )
    return write_result(content, workbook)


def score_checkpoints(config: TestConfig) -> list[TestResult]:
    """Score checkpoints on the images of a split and write a workbook and its JSON for each.

    Images are scored whole at their own size, unless ``config`` asks for something else, which every table then says.

    Raises:
        UserError: for anything the user can fix.
    """
    set_threads(config.threads)
    files = model_files(config)
    split = find_split(Path(config.test_dir) if config.test_dir else data_folder() / "test", S2DS)
    print(f"{'models' if len(files) > 1 else 'model'}    {', '.join(map(str, files))}")
    print(f"test     {len(split.pairs)} images in {split.folder}")
    _scales(config, split, Framing(config.resize, config.crop))
    choose_device(config.device)
    own = Path(config.output) if config.output and len(files) == 1 else None
    workbooks = {file: own or METRICS / f"{file.stem}.xlsx" for file in files}
    networks = {file: load_checkpoint(file, config.trust_pickle) for file in files}
    for network in networks.values():
        require_classes(network, S2DS)
    for workbook in workbooks.values():
        check_writable(workbook.parent)
    latencies = _latencies(networks, config)
    return [_test(networks[file], split, workbooks[file], config, latencies.get(file)) for file in files]


def test(config: TestConfig) -> TestResult:
    """Score one checkpoint (see ``score_checkpoints``)."""
    return score_checkpoints(config)[0]


def score_and_compare(config: TestConfig) -> CompareResult:
    """Score several checkpoints on the same images and compare them with the first (see ``score_checkpoints``, ``compare``)."""
    results = score_checkpoints(replace(config, output=None))
    files = tuple(str(result.json) for result in results)
    output = config.output or str(METRICS / "comparison.xlsx")
    return compare(CompareConfig(files=files, baseline=files[0], output=output, seed=config.seed))


test.__test__ = False  # type: ignore[attr-defined]


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line of ``test.py``, score, print the table."""
    config = parse(TestConfig, "Score checkpoints on whole images; several are compared.", argv, "test.py")
    print(score_and_compare(config) if len(config.weights + config.pruned_model) > 1 else test(config))
