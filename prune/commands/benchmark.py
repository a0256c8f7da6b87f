"""``python -m prune benchmark``: the figures the project promises, measured on this machine."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from prune.benchmark import Figure, run_measured, scoring_speed, training_speed
from prune.checkpoint import Network, save_checkpoint
from prune.commands.contest import deploy, run_contest
from prune.commands.speed import networks_speed
from prune.commands.test import test
from prune.config import BenchmarkConfig, TestConfig, parse
from prune.data.labels import S2DS
from prune.data.synthetic import synthesize
from prune.files import BENCHMARKS, write_json
from prune.hardware import choose_device, machine_facts, set_threads, versions
from prune.models import build_model, chosen_networks
from prune.report.tables import text_table

SCRIPTS = Path(__file__).parent.parent.parent
LOADED_IMAGES, LOADED_SIZE = 36, 1024
"""Images data loading is measured on, as large as those of S2DS."""


def _material(folder: Path, size: int, images: int) -> None:
    """Synthetic images, as many of them for testing as asked, and an untrained full-size network."""
    synthesize(folder / "data", max(12, round(images / 0.15)), size, 0)
    network = Network(build_model("deeplabv3_resnet101", len(S2DS)), "deeplabv3_resnet101")
    save_checkpoint(network, folder / "results/models/dense.pth")


def pruning_cost(folder: Path, size: int) -> list[Figure]:
    """Time and peak memory of ``torchvision_pruning.py`` with Taylor on 8 labeled batches of one image."""
    words = [str(SCRIPTS / "torchvision_pruning.py"), "--pruning_ratio", "50", "--importance_type", "Taylor"]
    words += ["--batches", "8", "--crop_size", str(size), "--data_dir", "data", "--latency_repeats", "0"]
    seconds, gib = run_measured(words, folder)
    detail = f"DeepLabV3-ResNet101 at {size} px, 8 labeled batches of 1, recalibration included"
    return [
        Figure("Taylor pruning, peak memory", gib, "GiB", "<=", 6.0, detail),
        Figure("Taylor pruning, time", seconds, "s", "<=", 120.0, detail),
    ]


def evaluation_overhead(folder: Path, images: int) -> Figure:
    """Share of ``test.py``'s time that is not the network: reading, scoring, writing."""
    file = str(folder / "results/models/dense.pth")
    output = str(folder / "metrics.xlsx")
    config = TestConfig(test_dir=str(folder / "data/test"), weights=(file,), output=output, latency_repeats=0)
    seconds = test(config).content["run"]["seconds"]
    share = 1 - seconds["network"] / sum(seconds.values())
    detail = ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items()) + f", {images} images"
    return Figure("metrics and I/O, share of test.py", 100 * share, "%", "<=", 15.0, detail)


def _output(config: BenchmarkConfig) -> Path:
    return Path(config.output or BENCHMARKS / ("networks_bench.json" if config.suite == "networks" else "bench.json"))


def benchmark(config: BenchmarkConfig) -> list[Figure]:
    """Measure the chosen suites and write the figures with the machine's facts to ``config.output``.

    Without one they go to results/benchmarks.
    """
    set_threads(0)
    output = _output(config)
    figures: list[Figure] = []
    if config.suite in ("all", "training"):
        with tempfile.TemporaryDirectory() as name:
            synthesize(Path(name), LOADED_IMAGES, LOADED_SIZE, 0)
            loops = config.crop_size, config.batch_size, config.repeats, config.compiled
            figures += training_speed(Path(name), *loops)
    if config.suite in ("all", "scores"):
        figures += scoring_speed(config.score_size, config.score_repeats)
    if config.suite in ("all", "pruning", "evaluation"):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            _material(folder, config.size, config.images)
            if config.suite != "evaluation":
                figures += pruning_cost(folder, config.size)
            if config.suite != "pruning":
                figures.append(evaluation_overhead(folder, config.images))
    if config.suite in ("all", "deploy"):
        figures += deploy(output.with_name("deploy.json"), config.size, config.passes)
    if config.suite == "networks":
        names = chosen_networks(config.models)
        figures += networks_speed(output.with_name("networks.json"), max(1, config.passes // 4), names)
    machine = machine_facts(choose_device("cpu"))
    rows = [asdict(figure) | {"kept": figure.kept} for figure in figures]
    write_json(output, {"figures": rows, "machine": machine, "versions": versions()})
    return figures


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, measure, print the table."""
    description = "Time networks of any runtime against each other, or measure what the project itself promises."
    config = parse(BenchmarkConfig, description, argv, "python -m prune benchmark")
    if config.files:
        print(run_contest(config))
        return
    figures = benchmark(config)
    header = ["figure", "value", "", "bound", "kept", "detail"]
    rows = [
        [f.name, f"{f.value:.2f}", f.unit, f"{f.relation} {f.bound:g}", "yes" if f.kept else "no", f.detail]
        for f in figures
    ]
    print(f"\n{text_table(header, rows)}\nfigures  {_output(config)}")
