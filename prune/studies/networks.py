"""Every network on one data set: trained, pruned, fine-tuned, tested, exported, tabulated."""

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from prune.data.find_split import find_split
from prune.data.mask_files import classes_called
from prune.files import EXPORTS, METRICS, MODELS, RESULTS, RUNS, file_mib, find_model, write_json, write_text
from prune.hardware import choose_device, machine_facts, set_threads, versions
from prune.inference.latency import time_predictors
from prune.inference.load import load_predictor
from prune.models import build_model, chosen_networks
from prune.models.cost import count
from prune.progress import Bar, progress, show, shown, tell
from prune.report.network_charts import network_charts
from prune.studies.journal import Journal, RunCommand
from prune.studies.settings import NetworksSettings
from prune.tables import markdown_table, text_table, write_csv

MOST_EPOCHS = 10
"""However small a network is, it gets no more epochs."""
MOST_JOBS = 4
"""Networks taken through at a time by default: training one may take 3 GiB."""
FORWARD_BACKWARD = 3
"""A training step costs about three forward passes."""
SCORES = {"miou": "mIoU", "iou": "crack IoU", "lt_iou@4": "crack ltIoU@4", "f1_tolerant@2": "crack F1@2"}
"""The scores of the table, by their names in a comparison."""
HEADER = ["network", "stage", "epochs", "parameters M", "MACs G", "MiB", "latency ms", *SCORES.values(), "verdict"]
EXPORT_HEADER = [
    "network",
    "ONNX fp32 ms",
    "ONNX INT8 ms",
    "fp32 MiB",
    "INT8 MiB",
    "INT8: mIoU points",
    "INT8: crack ltIoU@4 points",
    "parity gates",
]


def epochs_for(model: str, images: int, config: NetworksSettings) -> int:
    """How many epochs a network gets: what fits into the compute budget, at least 1, at most ``MOST_EPOCHS``."""
    if config.epochs:
        return config.epochs
    macs = count(build_model(model, 2), (config.crop_size, config.crop_size))[1]
    affordable = config.budget * 1e12 / (FORWARD_BACKWARD * macs * images)
    return min(MOST_EPOCHS, max(1, round(affordable)))


@dataclass(frozen=True)
class _Names:
    """What the files of one network are called."""

    dense: str
    pruned: str
    tuned: str

    @property
    def comparison(self) -> Path:
        """Where ``test.py`` compares the fine-tuned network with the dense one."""
        return METRICS / f"{self.dense}_comparison.json"

    def exported(self, precision: str) -> Path:
        """The ONNX file of the fine-tuned network."""
        return EXPORTS / f"{self.tuned}{'' if precision == 'fp32' else f'_{precision}'}.onnx"


def _names(config: NetworksSettings, model: str) -> _Names:
    dense = f"{config.name}_{model}"
    return _Names(dense, f"{dense}_pruned", f"{dense}_finetuned")


def _journal(config: NetworksSettings, model: str, run_command: RunCommand) -> Journal:
    """One per network, so that several processes may share the work."""
    return Journal(RUNS / f"{config.name}_{model}.json", Path(str(config.data)), run_command, force=config.force)


def _run_one(config: NetworksSettings, model: str, epochs: int, run_command: RunCommand) -> None:
    """Train, prune, fine-tune, test and export one network through the command lines."""
    names, journal, data = _names(config, model), _journal(config, model, run_command), config.data
    reading = ["--dataset", config.dataset, "--mask_threshold", config.mask_threshold]
    common = [
        "--batch_size",
        config.batch_size,
        "--crop_size",
        config.crop_size,
        "--patience",
        0,
        "--seed",
        config.seed,
    ]
    common += ["--val_images", config.val_images, "--workers", config.workers, "--cache", True, *reading]
    start: list[Any] = ["--model", model, "--classes", config.classes, "--weights", config.weights]
    start += ["--epochs", epochs, "--lr", config.lr]
    journal.run(MODELS / f"{names.dense}.pth", "train.py", data, data, names.dense, *start, *common)
    prune: list[Any] = [
        "--state_dict",
        names.dense,
        "--model_name",
        names.pruned,
        "--pruning_ratio",
        config.pruning_ratio,
    ]
    prune += ["--importance_type", "Taylor", "--batch_size", 4, "--crop_size", config.crop_size]
    prune += ["--data_dir", data, "--latency_repeats", 0, "--seed", config.seed, *reading]
    journal.run(MODELS / f"{names.pruned}.pth", "torchvision_pruning.py", *prune)
    tune: list[Any] = [
        "--pruned_model",
        names.pruned,
        "--epochs",
        config.finetune_epochs or epochs,
        "--lr",
        config.finetune_lr,
    ]
    journal.run(MODELS / f"{names.tuned}.pth", "train.py", data, data, names.tuned, *tune, *common)
    untimed = ["--latency_size", config.latency_size, "--latency_repeats", 0]
    files: list[Any] = ["--weights", names.dense, names.tuned, "--output", names.comparison.with_suffix(".xlsx")]
    journal.run(names.comparison, "test.py", data, *files, *untimed, *reading)
    for precision, compared in (("fp32", config.parity_images), ("int8", config.int8_images)):
        options: list[Any] = ["--precision", precision, "--data", data, *reading, "--parity_images", compared]
        journal.attempt(names.exported(precision), "-m prune export", names.tuned, "--to", "onnx", *options)


def _log(config: NetworksSettings, model: str) -> Path:
    """What a network's commands print while others run beside it."""
    return RUNS / f"{config.name}_{model}.log"


def _share_cores(threads: int, telling: bool) -> None:
    """Every command of this process reads how many threads it may use; it tells what it does when the first process does."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    show(telling)


def _run_beside(config: NetworksSettings, model: str, epochs: int, run_command: RunCommand) -> str:
    """``_run_one`` in a process of its own, its output in a log file; returns the network's name."""
    file = _log(config, model)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
        _run_one(config, model, epochs, run_command)
    return model


def _run_all(config: NetworksSettings, models: Sequence[str], epochs: dict[str, int], run_command: RunCommand) -> None:
    """Every network, one after the other or several at a time."""
    cores = os.cpu_count() or 1
    jobs = config.jobs or (1 if choose_device("auto").type == "cuda" else min(cores, MOST_JOBS))
    jobs = min(jobs, len(models))
    if jobs == 1:
        for number, model in enumerate(models, start=1):
            tell(f"\n=== {model}, {number} of {len(models)}, {epochs[model]} epochs")
            _run_one(config, model, epochs[model], run_command)
        return
    tell(f"{jobs} networks at a time; their output: {_log(config, '<network>')}")
    # forking a process whose libraries have started threads can hang
    beside = ProcessPoolExecutor(jobs, get_context("spawn"), _share_cores, (max(1, cores // jobs), shown()))
    with beside, Bar(total=len(models), desc="networks", unit="network") as bar:
        try:
            for done in as_completed([beside.submit(_run_beside, config, m, epochs[m], run_command) for m in models]):
                bar.write(f"{done.result()}  done")
                bar.update()
        except BaseException:
            beside.shutdown(wait=False, cancel_futures=True)
            raise


def _parity(file: Path) -> dict[str, Any] | None:
    """What the export reported about a file, also of one that failed its gate; None when there is no report."""
    report = file.with_name(f"{file.name}.json")
    return json.loads(report.read_text()) if report.is_file() else None


def _latencies(names: _Names, config: NetworksSettings) -> dict[str, float]:
    """Median ms of the dense and the fine-tuned network in eager PyTorch and of the exports that passed, interleaved."""
    files = {"dense": find_model(names.dense), "tuned": find_model(names.tuned)}
    files |= {p: names.exported(p) for p in ("fp32", "int8") if names.exported(p).is_file()}
    size = (config.latency_size, config.latency_size)
    predictors = {name: load_predictor(file) for name, file in files.items()}
    return {n: t.median for n, t in time_predictors(predictors, size, config.latency_repeats, warmup=2).items()}


def _export_facts(names: _Names, milliseconds: Mapping[str, float]) -> dict[str, Any]:
    """Sizes, latency and what INT8 costs."""
    facts: dict[str, Any] = {}
    for precision in ("fp32", "int8"):
        file = names.exported(precision)
        facts[f"{precision}_ms"] = milliseconds.get(precision)
        facts[f"{precision}_mib"] = file_mib(file) if file.is_file() else None
        report = _parity(file)
        facts[f"{precision}_passed"] = bool(report and report["passed"])
        if precision == "int8" and report:
            before, after = report["parity"]["reference"], report["parity"]["exported"]
            for key in ("miou", "crack_lt_iou_4"):
                known = before[key] is not None and after[key] is not None
                facts[f"int8_{key}_points"] = 100 * (after[key] - before[key]) if known else None
    return facts


def _rows(config: NetworksSettings, models: Sequence[str], epochs: dict[str, int]) -> list[dict[str, Any]]:
    """Dense and pruned of every network, with scores and intervals; the pruned one with its exports."""
    rows = []
    for model in progress(models, "measuring latency", "network"):
        names = _names(config, model)
        compared, milliseconds = json.loads(names.comparison.read_text())["rows"], _latencies(names, config)
        for found, stage in zip(compared, ("dense", f"pruned {config.pruning_ratio} %, fine-tuned"), strict=True):
            row = {"network": model, "stage": stage, "epochs": epochs[model]}
            row |= {key: found[key] for key in ("parameters", "macs", "file_mib", "verdict", "clear")}
            row["latency_ms"] = milliseconds["dense" if stage == "dense" else "tuned"]
            row |= {"scores": {key: found["scores"][key] for key in SCORES}}
            row |= {"differences": {key: found["differences"][key] for key in SCORES if key in found["differences"]}}
            rows.append(row)
        rows[-1]["export"] = _export_facts(names, milliseconds)
    return rows


def _cells(row: dict[str, Any], intervals: bool = False) -> list[Any]:
    cells = [row["network"], row["stage"], row["epochs"], f"{row['parameters'] / 1e6:.2f}", f"{row['macs'] / 1e9:.2f}"]
    cells += [f"{row['file_mib']:.1f}", f"{row['latency_ms']:.1f}"]
    for score in row["scores"].values():
        text = "" if score["value"] is None else f"{score['value']:.3f}"
        bounds = f" [{score['low']:.2f}, {score['high']:.2f}]" if intervals and score["low"] is not None else ""
        cells.append(text + bounds)
    doubt = " (within the interval)" if row["clear"] is False else ""
    return [*cells, row["verdict"] + doubt]


def _export_cells(row: dict[str, Any]) -> list[Any]:
    facts = row["export"]

    def shown(key: str, style: str) -> str:
        return "" if facts.get(key) is None else format(facts[key], style)

    failed = [name for name in ("fp32", "int8") if not facts[f"{name}_passed"]]
    return [
        row["network"],
        *(shown(key, ".1f") for key in ("fp32_ms", "int8_ms", "fp32_mib", "int8_mib")),
        *(shown(f"int8_{key}_points", "+.2f") for key in ("miou", "crack_lt_iou_4")),
        f"{' and '.join(failed)} failed" if failed else "passed",
    ]


@dataclass(frozen=True)
class NetworksResult:
    """The rows of the table and the files written."""

    rows: list[dict[str, Any]]
    files: list[Path]

    def __str__(self) -> str:
        exports = [_export_cells(row) for row in self.rows if "export" in row]
        tables = [text_table(HEADER, [_cells(row) for row in self.rows]), text_table(EXPORT_HEADER, exports)]
        return "\n".join(["", *tables, "", *map(str, self.files)])


def _markdown(rows: list[dict[str, Any]], commands: str) -> str:
    exports = [_export_cells(row) for row in rows if "export" in row]
    tables = [
        markdown_table(HEADER, [_cells(row, intervals=True) for row in rows]),
        markdown_table(EXPORT_HEADER, exports),
    ]
    return "\n\n".join([*tables, commands]) + "\n"


def networks(config: NetworksSettings, run_command: RunCommand) -> NetworksResult:
    """Take every network through the project's own command lines on one data set and tabulate them.

    Run it again to resume. Writes table.json, table.csv, table.md (with the commands)
    and charts; no photographs.

    Args:
        config: What to compare; it names the data.
        run_command: Runs a command line of this project, see ``prune.studies.journal``; a function of a module, because
            other processes call it too.

    Raises:
        UserError: whatever a step raises, but an export that fails its parity gate only fills a cell.
    """
    set_threads(0)
    data = Path(str(config.data))
    output = Path(config.output) if config.output else RESULTS / "networks"
    models, classes = chosen_networks(config.models), classes_called(config.classes)
    options: dict[str, Any] = {"dataset": config.dataset, "threshold": config.mask_threshold}
    images = {role: len(find_split(data, classes, role=role, **options).pairs) for role in ("train", "test")}
    epochs = {model: epochs_for(model, images["train"], config) for model in models}
    costs = {model: count(build_model(model, 2), (64, 64))[1] for model in models}
    dearest_first = sorted(models, key=lambda model: -costs[model])  # several at a time end at about the same time
    _run_all(config, dearest_first, epochs, run_command)
    rows = _rows(config, models, epochs)
    facts = {"data": data.name, "images": images, "latency_size": config.latency_size, "seed": config.seed}
    facts |= {"machine": machine_facts(choose_device("auto")), "versions": versions()}
    title = f"{data.name}, test split ({images['test']} images), seed {config.seed}"
    files = [
        write_json(output / "table.json", {"rows": rows, **facts}),
        write_csv(HEADER, [_cells(row) for row in rows], output / "table.csv"),
        write_text(
            output / "table.md",
            _markdown(rows, "\n\n".join(_journal(config, model, run_command).published() for model in models)),
        ),
        *network_charts(rows, output, title=title),
    ]
    return NetworksResult(rows, files)
