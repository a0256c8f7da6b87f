"""What a trial of each kind does, by the functions of the Python API; PyTorch is imported when the first one runs."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prune.files import atomic_path

NETWORK = "network.pth"
"""The checkpoint in a trial's folder."""
Task = Mapping[str, Any]
"""A trial as it is sent to a worker: name, kind, label, settings, how, data, folder, parents (folders by part), all plain."""
Work = Callable[[Task], dict[str, Any]]
"""Does a task in its folder and gives its result, plain values."""


def compute(task: Task) -> dict[str, Any]:
    """Do what a task says and give its result.

    Raises:
        UserError: whatever the function of its kind raises.
    """
    return KINDS[task["kind"]](task, Path(task["folder"]))


def network_of(folder: str | Path) -> Path:
    """The network that a trial made: a checkpoint, or an export."""
    return next(iter(sorted(Path(folder).glob("network.*"), key=_by_kind)), Path(folder) / NETWORK)


def _by_kind(file: Path) -> tuple[bool, str]:
    return file.suffix not in (".pth", ".onnx", ".xml", ".param", ".pt2"), file.name


def _options(task: Task) -> dict[str, Any]:
    return {key: v for key, v in {**task["settings"], **task["how"]}.items() if not key.startswith("_")}


def _train(task: Task, folder: Path, **start: Any) -> dict[str, Any]:
    """Train, going on where a killed process stopped; the history is the result."""
    from prune.api.train import train

    run, options = folder / "run", _options(task) | start
    resume = (run / "last.pth").is_file() and (run / "config.json").is_file()
    trained = train(task["data"], checkpoint=folder / NETWORK, run=run, resume=resume, force=not resume, **options)
    (run / "last.pth").unlink(missing_ok=True)
    (run / "best.pth").unlink(missing_ok=True)
    return {"epochs": trained.history, "best_epoch": trained.progress.best_epoch}


def _given(task: Task, folder: Path) -> dict[str, Any]:
    """Copy the checkpoint the plan starts from, so that the study does not depend on what becomes of it."""
    with atomic_path(folder / NETWORK) as temporary:
        shutil.copyfile(task["how"]["file"], temporary)
    return {}


def _scratch(task: Task, folder: Path) -> dict[str, Any]:
    """Train the widths of a pruned network from new weights, drawn as PyTorch draws those of a new layer."""
    import torch

    from prune.models.checkpoint import load_checkpoint

    network = load_checkpoint(network_of(task["parents"]["widths"]))
    with torch.random.fork_rng([]):
        torch.manual_seed(int(task["settings"].get("seed", 0)))
        for module in network.model.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
    network.lineage = []
    return _train(task, folder, start=network)


def _finetune(task: Task, folder: Path) -> dict[str, Any]:
    teacher = task["parents"].get("teacher")
    start = {"teacher": network_of(teacher)} if teacher else {}
    return _train(task, folder, start=network_of(task["parents"]["network"]), **start)


def _prune(task: Task, folder: Path) -> dict[str, Any]:
    from prune.api.prune import prune

    source, file = network_of(task["parents"]["network"]), folder / NETWORK
    settings = _options(task)
    if settings.get("allocation") == "latency":  # minutes to measure, and the same for every seed and criterion
        settings = {"layer_times": str(folder.parent.parent / "layer_times.json"), **settings}
    pruned = prune(source, data=task["data"], checkpoint=file, report=folder / "report.json", **settings)
    content = pruned.report.to_json()
    return {key: content[key] for key in ("before", "after") if key in content}


def _export(task: Task, folder: Path) -> dict[str, Any]:
    from prune.api.export import export
    from prune.deployment.settings import FORMATS

    to = task["settings"].get("_to", "onnx")
    file = folder / f"network{FORMATS[to][0]}"
    made = export(network_of(task["parents"]["network"]), file, to=to, data=task["data"], **_options(task))
    return {"agreement": made.agreement()}


def _evaluate(task: Task, folder: Path) -> dict[str, Any]:
    """Counts per image, what was scored, and the cost of the network."""
    from prune.api.evaluate import evaluate

    content = evaluate(network_of(task["parents"]["network"]), task["data"], **_options(task)).content
    kept = {key: content[key] for key in ("format", "version", "summary", "conditions", "confusion", "statistics")}
    return kept | {"run": {"data": content["run"]["data"], "machine": content["run"]["machine"]}}


def _latency(task: Task, folder: Path) -> dict[str, Any]:
    """Median time of a pass, interleaved with the dense network of the same seed."""
    from prune.hardware import set_threads

    wanted = task["settings"]
    set_threads(wanted["threads"])
    size, parents = (wanted["size"], wanted["size"]), task["parents"]
    files = {"network": network_of(parents.get("file", parents["network"])), "dense": network_of(parents["dense"])}
    runtime, _, precision = str(wanted["runtime"]).partition("-")
    if runtime == "pytorch":
        from prune.hardware import choose_device
        from prune.inference.latency import measure_latency
        from prune.models.checkpoint import load_checkpoint

        models = {name: load_checkpoint(file).model for name, file in files.items()}
        timed = {
            n: t.median_ms for n, t in measure_latency(models, size, wanted["repeats"], choose_device("auto")).items()
        }
    else:
        timed = _exported_latency(files, size, runtime, precision or "fp32", wanted["repeats"], folder)
    return {"ms": timed["network"], "dense_ms": timed["dense"]}


def _exported_latency(
    files: Mapping[str, Path], size: tuple[int, int], runtime: str, precision: str, repeats: int, folder: Path
) -> dict[str, float]:
    """Median ms of networks on another runtime, interleaved; a checkpoint is exported first, to a file that is not kept."""
    import tempfile

    import numpy as np
    import torch

    from prune.deployment.export import export
    from prune.deployment.target import ExportTarget
    from prune.inference.latency import time_predictors
    from prune.inference.load import load_predictor
    from prune.models.checkpoint import load_checkpoint

    noise = np.random.default_rng(0).standard_normal((2, 1, 3, *size)).astype(np.float32)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        predictors = {}
        for name, file in files.items():
            if file.suffix == ".pth":
                target = ExportTarget(runtime, precision, size)
                made = Path(temporary) / f"{name}{target.suffix}"
                file = export(load_checkpoint(file), target, made, batches=list(noise))
            predictors[name] = load_predictor(file, threads=torch.get_num_threads())
        return {name: found.median for name, found in time_predictors(predictors, size, repeats).items()}


KINDS: dict[str, Callable[[Task, Path], dict[str, Any]]] = {
    "train": _train,
    "given": _given,
    "scratch": _scratch,
    "finetune": _finetune,
    "prune": _prune,
    "export": _export,
    "evaluate": _evaluate,
    "latency": _latency,
}
