"""``python -m prune benchmark``: the project's own performance figures, measured on this machine."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prune.benchmark.deploy import deploy
from prune.benchmark.distillation_speed import distillation_speed
from prune.benchmark.figures import Figure, run_measured, scoring_speed
from prune.benchmark.folder_speed import folder_speed
from prune.benchmark.machine import measured_machine, stored_rows
from prune.benchmark.measuring import measuring
from prune.benchmark.networks import networks_speed
from prune.benchmark.settings import SuiteSettings
from prune.benchmark.survey_speed import survey_speed
from prune.benchmark.training_speed import TrainingSpeed, training_speed
from prune.data.labels import S2DS
from prune.files import check_writable, write_json
from prune.hardware import set_threads, versions
from prune.models import build_model, chosen_networks
from prune.models.checkpoint import Network, save_checkpoint
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
    words = [str(SCRIPTS / "test.py"), "data/test", "--weights", "results/models/dense.pth"]
    run_measured([*words, "--output", "metrics.xlsx", "--latency_repeats", "0"], folder)
    seconds = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["run"]["seconds"]
    share = 1 - seconds["network"] / sum(seconds.values())
    detail = ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items()) + f", {images} images"
    return Figure("metrics and I/O, share of test.py", 100 * share, "%", "<=", 15.0, detail)


@dataclass(frozen=True)
class SuiteResult:
    """Figures of the project with the bounds they should keep, and the file that has them with their details."""

    figures: list[Figure]
    file: Path

    def __str__(self) -> str:
        rows = [
            [f.name, f"{f.value:.2f}", f.unit, f"{f.relation} {f.bound:g}", "yes" if f.kept else "no"]
            for f in self.figures
        ]
        return f"{text_table(['figure', 'value', '', 'bound', 'kept'], rows)}\nfigures  {self.file}"


def measure_suites(
    settings: SuiteSettings, output: Path, page: Callable[[], list[Figure]] | None = None
) -> SuiteResult:
    """Measure the chosen suites and write the figures with the machine's facts to ``output``.

    ``page`` measures the suite page, which is a room above this one; None leaves it out. The suites deploy and networks
    write their rows beside it. A single suite replaces its own figures and keeps those of
    the others, if they are of the same machine.
    """
    set_threads(0)
    check_writable(output.parent)
    machine = measured_machine()
    figures = _measured(settings, output, machine)
    if page is not None and settings.suite in ("all", "page"):
        figures += page()
    rows = [asdict(figure) | {"kept": figure.kept} for figure in figures]
    if settings.suite not in ("all", "networks"):
        names = {figure.name for figure in figures}
        rows = [row for row in stored_rows(output, "figures", machine) if row["name"] not in names] + rows
    write_json(output, {"figures": rows, "machine": machine, "versions": versions()})
    return SuiteResult(figures, output)


def _measured(settings: SuiteSettings, output: Path, machine: dict[str, Any]) -> list[Figure]:
    """The figures of the chosen suites; deploy and networks write their rows beside ``output``."""
    figures: list[Figure] = []
    if settings.suite in ("all", "pruning", "evaluation"):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            _material(folder, settings.size, settings.images)
            if settings.suite != "evaluation":
                figures += pruning_cost(folder, settings.size)
            if settings.suite != "pruning":
                figures.append(evaluation_overhead(folder, settings.images))
    if settings.suite in ("all", "training"):
        with tempfile.TemporaryDirectory() as name:
            synthesize(Path(name), LOADED_IMAGES, LOADED_SIZE, 0)
            loops = TrainingSpeed(settings.crop_size, settings.batch_size, settings.repeats, settings.compiled)
            figures += training_speed(Path(name), loops) + distillation_speed(loops)
    if settings.suite in ("all", "scores"):
        figures += scoring_speed(settings.score_size, settings.score_repeats)
    if settings.suite in ("all", "measuring"):
        figures += measuring()
    if settings.suite in ("all", "folder"):
        figures += folder_speed()
    if settings.suite in ("all", "survey"):
        figures += survey_speed()
    if settings.suite in ("all", "deploy"):
        figures += deploy(output.with_name("deploy.json"), settings.size, settings.passes, machine)
    if settings.suite == "studies":
        from prune.benchmark.studies_speed import studies_speed

        figures += studies_speed()
    if settings.suite == "networks":
        names = chosen_networks(settings.models)
        figures += networks_speed(output.with_name("networks.json"), max(1, settings.passes // 4), names, machine)
    return figures
