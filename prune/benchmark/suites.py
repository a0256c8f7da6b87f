"""``python -m prune benchmark``: the figures the project promises, measured on this machine."""

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prune.api.evaluate import test
from prune.benchmark.contest import run_contest
from prune.benchmark.deploy import deploy
from prune.benchmark.figures import Figure, run_measured, scoring_speed
from prune.benchmark.folder_speed import folder_speed
from prune.benchmark.machine import cpu_kind, measured_machine, stored_rows
from prune.benchmark.networks import networks_speed
from prune.benchmark.training_speed import TrainingSpeed, training_speed
from prune.cli.benchmark import BenchmarkOptions
from prune.cli.test import TestOptions
from prune.data.labels import S2DS
from prune.files import BENCHMARKS, check_writable, write_json
from prune.hardware import set_threads, versions
from prune.models import build_model, chosen_networks
from prune.models.checkpoint import Network, save_checkpoint
from prune.report.kinds import write_kinds
from prune.synthetic import synthesize
from prune.tables import text_table

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
    config = TestOptions(test_dir=str(folder / "data/test"), weights=(file,), output=output, latency_repeats=0)
    seconds = test(config).content["run"]["seconds"]
    share = 1 - seconds["network"] / sum(seconds.values())
    detail = ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items()) + f", {images} images"
    return Figure("metrics and I/O, share of test.py", 100 * share, "%", "<=", 15.0, detail)


def _output(config: BenchmarkOptions) -> Path:
    name = "networks_bench.json" if config.suite == "networks" else "bench.json"
    return Path(config.output or BENCHMARKS / cpu_kind() / name)


def benchmark(config: BenchmarkOptions) -> list[Figure]:
    """Measure the chosen suites and write the figures with the machine's facts to ``config.output``.

    Without one they go to the folder of this kind of CPU in results/benchmarks, and the tables of all kinds are written
    again. A single suite replaces its own figures and keeps those of the others, if they are of the same machine.
    """
    set_threads(0)
    output = _output(config)
    check_writable(output.parent)
    machine = measured_machine()
    figures = _measured(config, output, machine)
    rows = [asdict(figure) | {"kept": figure.kept} for figure in figures]
    if config.suite not in ("all", "networks"):
        names = {figure.name for figure in figures}
        rows = [row for row in stored_rows(output, "figures", machine) if row["name"] not in names] + rows
    write_json(output, {"figures": rows, "machine": machine, "versions": versions()})
    if config.output is None and output.with_name("deploy.json").is_file():
        write_kinds(BENCHMARKS)
    return figures


def _measured(config: BenchmarkOptions, output: Path, machine: dict[str, Any]) -> list[Figure]:
    """The figures of the chosen suites; deploy and networks write their rows beside ``output``."""
    figures: list[Figure] = []
    if config.suite in ("all", "pruning", "evaluation"):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            _material(folder, config.size, config.images)
            if config.suite != "evaluation":
                figures += pruning_cost(folder, config.size)
            if config.suite != "pruning":
                figures.append(evaluation_overhead(folder, config.images))
    if config.suite in ("all", "training"):
        with tempfile.TemporaryDirectory() as name:
            synthesize(Path(name), LOADED_IMAGES, LOADED_SIZE, 0)
            loops = TrainingSpeed(config.crop_size, config.batch_size, config.repeats, config.compiled)
            figures += training_speed(Path(name), loops)
    if config.suite in ("all", "scores"):
        figures += scoring_speed(config.score_size, config.score_repeats)
    if config.suite in ("all", "folder"):
        figures += folder_speed()
    if config.suite in ("all", "deploy"):
        figures += deploy(output.with_name("deploy.json"), config.size, config.passes, machine)
    if config.suite == "networks":
        names = chosen_networks(config.models)
        figures += networks_speed(output.with_name("networks.json"), max(1, config.passes // 4), names, machine)
    return figures


def run(config: BenchmarkOptions) -> None:
    """Measure and print the table."""
    if config.files:
        print(run_contest(config))
        return
    if config.suite == "report":
        print(*write_kinds(BENCHMARKS), sep="\n")
        return
    figures = benchmark(config)
    header = ["figure", "value", "", "bound", "kept", "detail"]
    rows = [
        [f.name, f"{f.value:.2f}", f.unit, f"{f.relation} {f.bound:g}", "yes" if f.kept else "no", f.detail]
        for f in figures
    ]
    print(f"\n{text_table(header, rows)}\nfigures  {_output(config)}")
