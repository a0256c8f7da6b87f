"""One dense network, pruned by several criteria, each fine-tuned with the same budget, tested, tabulated."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.data.find_split import Split, find_split
from prune.data.sampling import evenly_spread
from prune.evaluation.comparison import compare_contents
from prune.files import FIGURES, METRICS, MODELS, RESULTS, RUNS, find_model, write_json, write_text
from prune.hardware import choose_device, machine_facts, set_threads, versions
from prune.inference.latency import measure_latency
from prune.inference.torch import TorchPredictor
from prune.models.checkpoint import load_checkpoint
from prune.progress import tell
from prune.report.agreement import error_rows
from prune.report.charts import study_charts
from prune.report.figures import color_mask, save_image
from prune.report.paper import grid, names_of
from prune.studies.journal import Journal, RunCommand
from prune.studies.settings import StudySettings
from prune.tables import markdown_table, text_table, write_csv

COST_TITLES = ("network", "criterion", "stage", "parameters M", "MACs G", "MiB", "latency ms")
SCORES = {
    "miou": "mIoU",
    "miou_defects": "mIoU defects",
    "iou": "crack IoU",
    "recall": "crack recall",
    "lt_iou@4": "crack ltIoU@4",
    "f1_tolerant@2": "crack F1@2",
    "f1_tolerant@5": "crack F1@5",
    "cl_dice": "crack clDice",
    "length_px.relative_error": "length error",
    "width_px.relative_error": "width error",
}
"""The scores of the table, by their names in a comparison."""
LEFT_OUT = (
    "criterion",
    "stage",
    "mIoU defects",
    "crack recall",
    "crack F1@5",
    "length error",
    "width error",
    "certainty",
)
"""Columns the screen has no room for; the files have all."""


@dataclass(frozen=True)
class StudyResult:
    """The rows of the comparison and the files written."""

    rows: list[dict[str, Any]]
    files: list[Path]

    def __str__(self) -> str:
        shown = [i for i, title in enumerate(_header()) if title not in LEFT_OUT]
        rows = [_cells(row) for row in self.rows]
        table = text_table([_header()[i] for i in shown], [[row[i] for i in shown] for row in rows])
        return "\n".join(["", table, "", *(str(file) for file in self.files)])


def _header(intervals: bool = False) -> list[str]:
    bounds = ["", " 95 % low", " 95 % high"] if intervals else [""]
    return [*COST_TITLES, *(title + bound for title in SCORES.values() for bound in bounds), "verdict", "certainty"]


def _score(score: dict[str, float | None]) -> str:
    return "" if score["value"] is None else f"{score['value']:.3f}"


def _with_interval(score: dict[str, float | None]) -> str:
    """A score with its 95% interval in brackets."""
    if score["value"] is None or score["low"] is None or score["high"] is None:
        return _score(score)
    return f"{score['value']:.3f} [{score['low']:.2f}, {score['high']:.2f}]"


def _cells(row: dict[str, Any], show: Callable[[dict[str, float | None]], Any] = _score) -> list[Any]:
    """A row as a table shows it; None is blank."""
    cost = [
        f"{row['parameters'] / 1e6:.2f}",
        f"{row['macs'] / 1e9:.2f}",
        f"{row['mib']:.1f}",
        f"{row['latency_ms']:.0f}",
    ]
    return [
        *(row[name] for name in ("name", "criterion", "stage")),
        *cost,
        *(show(row["scores"][name]) for name in SCORES),
        row["verdict"],
        {True: "clear", False: "within the interval", None: ""}[row["clear"]],
    ]


def _csv_cells(row: dict[str, Any]) -> list[Any]:
    """The cells with the bounds of the intervals in columns of their own."""
    plain = _cells(row)
    bounds = [row["scores"][name][bound] for name in SCORES for bound in ("value", "low", "high")]
    return [*plain[: len(COST_TITLES)], *bounds, *plain[-2:]]


def _prune_arguments(config: StudySettings, criterion: str, dense: str, data: Path) -> list[object]:
    kind = {"L1": ("Magnitude", 1), "L2": ("Magnitude", 2)}.get(criterion, (criterion, 2))
    return [
        *("--pruning_ratio", config.pruning_ratio, "--importance_type", kind[0], "--p_value", kind[1]),
        *("--model_name", f"{config.name}_{criterion.lower()}", "--iterative_steps", config.iterative_steps),
        *("--state_dict", dense, "--data_dir", data, "--crop_size", config.crop_size, "--seed", config.seed),
        *("--class_weights", config.class_weights, "--latency_size", config.latency_size),
    ]


def _run_all(config: StudySettings, data: Path, journal: Journal) -> list[tuple[str, str, str]]:
    """Run every step; returns (model name, criterion, stage) of every network tested."""
    folders = [data, data]
    reading = ["--dataset", config.dataset, "--mask_threshold", config.mask_threshold]
    common = [*reading, "--batch_size", config.batch_size, "--crop_size", config.crop_size, "--patience", 0]
    common += ["--workers", config.workers, "--cache", config.cache, "--seed", config.seed]
    common += ["--class_weights", config.class_weights]
    dense = config.dense or f"{config.name}_dense"
    networks = [(dense, "", "dense")]
    if not config.dense:
        start = ["--model", config.model, "--weights", config.weights, "--epochs", config.epochs, "--lr", config.lr]
        start += ["--classes", config.classes]
        journal.run(MODELS / f"{dense}.pth", "train.py", *folders, dense, *start, *common)
    for criterion in config.criteria.split(","):
        pruned = f"{config.name}_{criterion.lower()}"
        tuned = f"{pruned}_finetuned"
        model = MODELS / f"{pruned}.pth"
        journal.run(model, "torchvision_pruning.py", *_prune_arguments(config, criterion, dense, data), *reading)
        start = ["--pruned_model", pruned, "--epochs", config.finetune_epochs, "--lr", config.finetune_lr]
        journal.run(MODELS / f"{tuned}.pth", "train.py", *folders, tuned, *start, *common)
        networks += [(pruned, criterion, "pruned"), (tuned, criterion, "fine-tuned")]
    for name, _, _ in networks:
        options = ["--weights", name, "--latency_size", config.latency_size, "--latency_repeats", 0, *reading]
        journal.run(_metrics(name), "test.py", data, *options)
    return networks


def _metrics(name: str) -> Path:
    """Where ``test.py`` writes the scores of a model."""
    return METRICS / f"{find_model(name).stem}.json"


def _latencies(networks: list[tuple[str, str, str]], config: StudySettings) -> dict[str, float]:
    """Median latency in ms of every network, measured interleaved in one go."""
    models = {name: load_checkpoint(find_model(name)).model for name, _, _ in networks}
    size = (config.latency_size, config.latency_size)
    tell(f"\nmeasuring latency of {len(models)} networks at {size[1]}x{size[0]}, interleaved")
    measured = measure_latency(models, size, config.latency_repeats, choose_device("auto"))
    return {name: latency.median_ms for name, latency in measured.items()}


def _rows(
    networks: list[tuple[str, str, str]], latencies: dict[str, float], config: StudySettings
) -> list[dict[str, Any]]:
    """Cost, scores with intervals, differences to the dense network and the verdict, of every network."""
    contents = {str(_metrics(name)): json.loads(_metrics(name).read_text()) for name, _, _ in networks}
    compared = compare_contents(contents, str(_metrics(networks[0][0])), config, config.seed)
    rows = []
    for (name, criterion, stage), found in zip(networks, compared.rows, strict=True):
        content = contents[found.file]
        summary, told = content["summary"], found.to_json()
        headline = {key: summary[key] for key in ("miou", "miou_defects", "crack_iou", "crack_lt_iou_4")}
        rows.append(
            {
                "name": name,
                "criterion": criterion,
                "stage": stage,
                "parameters": summary["parameters"],
                "macs": summary["macs"],
                "mib": summary["file_mib"],
                "latency_ms": latencies[name],
                **headline,
                "crack_recall": told["scores"]["recall"]["value"],
                "scores": {key: told["scores"][key] for key in SCORES},
                "differences": {key: told["differences"][key] for key in SCORES if key in told["differences"]},
                "verdict": found.verdict,
                "clear": found.clear,
                "per_class": {row["class"]: row["iou"] for row in content["per_class"]},
            }
        )
    return rows


def _test_split(config: StudySettings, data: Path, dense: str) -> Split:
    """The test images, their labels read as the classes of the networks."""
    classes = load_checkpoint(find_model(dense)).classes
    return find_split(data, classes, dataset=config.dataset, role="test", threshold=config.mask_threshold)


def _comparison_sheets(networks: list[tuple[str, str, str]], split: Split, config: StudySettings) -> list[Path]:
    """Test images in rows; photograph, label, dense and every fine-tuned network in columns, as masks and as errors."""
    shown = [network for network in networks if network[2] in ("dense", "fine-tuned")]
    pairs = [split.pairs[i] for i in evenly_spread(len(split.pairs), config.figures)]
    photographs = [(split.read_image(pair), split.read_label(pair), list[NDArray[np.uint8]]()) for pair in pairs]
    for name, _, _ in shown:
        predictor = TorchPredictor(load_checkpoint(find_model(name)), choose_device("auto"))
        for image, _, maps in photographs:
            maps.append(predictor.class_map(image))
    columns, stems = [criterion or stage for _, criterion, stage in shown], [pair.stem for pair in pairs]
    classes, base = split.classes, FIGURES / config.name
    rows = [
        [image, *(color_mask(m, classes, config.palette) for m in (label, *maps))] for image, label, maps in photographs
    ]
    found = [int(i) for _, label, maps in photographs for m in (label, *maps) for i in np.unique(m)]
    legend = names_of(found, classes.recolored(config.palette, on_photograph=False))
    masks = grid(rows, ["photograph", "label", *columns], stems, [legend])
    files = [save_image(masks, base.with_name(f"{base.name}_comparison.png"))]
    crack = classes.index("crack")
    if crack is not None:
        errors, legends = error_rows(photographs, classes, crack, config.palette)
        sheet = grid(errors, ["label", *(f"{column}: crack" for column in columns)], stems, legends)
        files.append(save_image(sheet, base.with_name(f"{base.name}_errors.png")))
    return files


def _markdown(rows: list[dict[str, Any]], commands: str) -> str:
    """Cost and verdict in one table, scores with 95% intervals in another, then the commands."""
    costs, scores = len(COST_TITLES), len(SCORES)
    cells = [_cells(row, _with_interval) for row in rows]
    first = [row[:costs] + row[costs + scores :] for row in cells]
    second = [[row[0], *row[costs : costs + scores]] for row in cells]
    titles = [*COST_TITLES, "verdict", "certainty"], ["network", *SCORES.values()]
    tables = [markdown_table(title, table) for title, table in zip(titles, (first, second), strict=True)]
    return "\n\n".join([*tables, commands]) + "\n"


def study(config: StudySettings, run_command: RunCommand) -> StudyResult:
    """Run the whole comparison through the project's own command lines and tabulate it.

    Run it again to resume. Writes table.json, table.csv, table.md (with the commands)
    and charts; the comparison sheets go to results/figures, because they show photographs.

    Args:
        config: What to compare; it names the data.
        run_command: Runs a command line of this project, see ``prune.studies.journal``.

    Raises:
        UserError: whatever a step raises.
    """
    set_threads(0)
    data = Path(str(config.data))
    output = Path(config.output) if config.output else RESULTS / "studies" / config.name
    journal = Journal(RUNS / f"{config.name}.json", data, run_command, force=config.force)
    networks = _run_all(config, data, journal)
    rows = _rows(networks, _latencies(networks, config), config)
    split = _test_split(config, data, networks[0][0])
    images = len(split.pairs)
    title = f"{data.name}, test split ({images} images), seed {config.seed}"
    facts = {
        "data": data.name,
        "images": images,
        "machine": machine_facts(choose_device("auto")),
        "versions": versions(),
    }
    files = [
        write_json(output / "table.json", {"rows": rows, "latency_size": config.latency_size, **facts}),
        write_csv(_header(intervals=True), [_csv_cells(row) for row in rows], output / "table.csv"),
        write_text(output / "table.md", _markdown(rows, journal.published())),
        *study_charts(rows, output, title=title),
    ]
    if config.figures:
        files += _comparison_sheets(networks, split, config)
    return StudyResult(rows, files)
