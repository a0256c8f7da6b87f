"""``prune.prune``: remove channels from a network."""

import copy
import dataclasses
import html
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prune.api.inputs import AnyModel, Data, opened_data, opened_network
from prune.api.model import Model, model_of
from prune.api.pruning_data import PruningData
from prune.data.labels import ClassSet
from prune.data.split import Split
from prune.deployment.latency import runtime_latency
from prune.errors import UserError
from prune.files import atomic_paths, locked, write_json
from prune.hardware import choose_device, set_threads
from prune.inference.latency import measure_latency
from prune.models.checkpoint import Network, new_stage, require_factory, save_checkpoint, size_mib
from prune.models.cost import count
from prune.models.output_stride import set_output_stride
from prune.options import settings_from, with_settings
from prune.progress import say
from prune.pruning.plan import Measure, Plan, Scores, plan
from prune.pruning.pruner import Hooks, PruneOutcome, group_scores, prune_model
from prune.pruning.report import NetworkCost, PruningReport, layer_widths
from prune.pruning.settings import PruneSettings

REPEATS = 3
"""Timed passes per measurement of a target latency, after one to warm up."""
STALE_NORMS = "batch norm keeps the statistics of the unpruned network, because no data were given to re-estimate them"


@dataclass(frozen=True)
class PruneResult:
    """The result of pruning.

    Args:
        model: The pruned network.
        report: What was removed and what it saves.
        checkpoint: The file the network was written to, if one was named.
        files: Everything that was written: checkpoint, report and table of the layers.
    """

    model: Model
    report: PruningReport
    checkpoint: Path | None = None
    files: tuple[Path, ...] = ()

    def __str__(self) -> str:
        kinds = {".pth": "model", ".json": "report", ".csv": "layers"}
        return "\n".join([str(self.report), *(f"{kinds[file.suffix]:8} {file}" for file in self.files)])

    def _repr_html_(self) -> str:
        """A table of costs before and after, as notebooks show it."""
        rows = [("", "before", "after", "change"), *self.report.rows()]
        cells = ["".join(f"<td>{html.escape(text)}</td>" for text in row) for row in rows]
        table = "".join(f"<tr>{row}</tr>" for row in cells)
        told = "".join(f"<p>{html.escape(line)}</p>" for line in (self.report.headline(), *self.report.notes))
        return f"<table>{table}</table>{told}"


@with_settings(PruneSettings, "pruning_ratio", "importance_type")
def prune(
    model: AnyModel,
    *,
    ratio: float | None = None,
    importance: str | None = None,
    data: Data | None = None,
    checkpoint: str | Path | None = None,
    report: str | Path | None = None,
    classes: str | Sequence[str] | ClassSet | None = None,
    factory: object = None,
    factory_options: Mapping[str, Any] | None = None,
    record: Mapping[str, Any] | None = None,
    **settings: Any,
) -> PruneResult:
    """Remove channels from a copy of a network and report what that saves.

    Args:
        model: Checkpoint, model, network, or any ``torch.nn.Module`` that maps images (N, 3, H, W) to logits
            (N, C, H, W) or to a dict with them as ``out``. It stays as it is.
        ratio: Percent of channels to remove, 0 to 99; default: 50. The short name of ``pruning_ratio``.
        importance: Taylor (default), Magnitude, Random, FPGM, BNScale, LAMP, Hessian or Jacobian. The short name of
            ``importance_type``.
        data: Labeled images, a data folder or its training split. Taylor, Hessian, Jacobian and training between steps need
            them; without them the others keep the batch-norm statistics, which costs accuracy.
        checkpoint: File the pruned network is written to.
        report: File (.json) or folder the report is written to, with the widths of all layers as .csv beside it.
        classes: What the outputs of a module mean: ``s2ds``, ``crack``, names in the order of the outputs, or a class set.
        factory: What builds a module (or a checkpoint of one): a function or class, or ``package.module:function``. A
            checkpoint names it; without one, a module can be pruned but not written to a checkpoint.
        factory_options: Its keyword arguments, plain values.
        record: Plain values recorded with the settings in the lineage and the report.
        **settings: Fields of ``prune.pruning.settings.PruneSettings``, the flags of the command line.

    Raises:
        UserError: for anything the user can fix, and when the result is not what was requested.
        TypeError: for arguments of another type, unknown ones, and ``ratio`` beside ``pruning_ratio``.
    """
    start = time.perf_counter()
    config = settings_from(PruneSettings, "prune", _merged(settings, pruning_ratio=ratio, importance_type=importance))
    if config.threads:
        set_threads(config.threads)
    device = choose_device(config.device)
    source = opened_network("model", model, classes=classes, factory=factory, factory_options=factory_options)
    file = _checkpoint_file(source, checkpoint)
    split = _opened_split(data, source, config)
    say("model", source.file or source.architecture)
    if record is None:
        record = {"data_dir": str(split.folder) if split else None}
    strided = _strided(source, config)
    scores = scores_of(strided, split, config, device)
    planned = plan(strided.model, config, measure_on(source, config), scores, source.model)
    with locked(file) if file else nullcontext(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        network, outcome, told = _pruned(strided, split, planned, record, device)
        network.file = None
        summary = _report(source, network, planned, outcome)
        summary.settings, summary.seconds = told, time.perf_counter() - start
        if not split and planned.config.recalibrate and planned.config.pruning_ratio and _has_norms(network.model):
            summary.notes.append(STALE_NORMS)
        network.file = file
        files = _written(network, summary, _report_file(summary, Path(report), network) if report else None)
    return PruneResult(model_of(network, str(device)), summary, file, files)


def _merged(settings: dict[str, Any], **short: Any) -> dict[str, Any]:
    """Settings with those that were given by their short names."""
    spelled = {"pruning_ratio": "ratio", "importance_type": "importance"}
    for name, value in short.items():
        if value is not None and name in settings:
            raise TypeError(f"prune() got both {spelled[name]} and {name}, which are the same")
    return settings | {name: value for name, value in short.items() if value is not None}


def _checkpoint_file(source: Network, checkpoint: str | Path | None) -> Path | None:
    """Where the pruned network goes, checked before any work is done."""
    if checkpoint is None:
        return None
    file = Path(checkpoint)
    if file.suffix != ".pth":
        raise UserError(f"--checkpoint: expected a file that ends in .pth, found {file}")
    if source.file and file.resolve() == source.file.resolve():
        raise UserError(f"--checkpoint {file}: would overwrite the model being pruned: choose another name")
    require_factory(source)
    return file


def _strided(source: Network, config: PruneSettings) -> Network:
    """The network with the output stride that was asked for; the one that was opened stays as it is."""
    if config.output_stride is None:
        return source
    strided = copy.deepcopy(source)
    set_output_stride(strided.model, config.output_stride)
    return strided


def _opened_split(data: Data | None, source: Network, config: PruneSettings) -> Split | None:
    """The labeled images; raises ``UserError`` when the settings need some and none are named."""
    if data is not None:
        return opened_data("data", data, "train", source.classes, config)
    if not config.pruning_ratio:
        return None
    if config.gradients:
        raise UserError(
            f"--data: expected labeled images, which {config.importance_type} takes gradients on "
            "(Magnitude and Random need none), found none"
        )
    if config.finetune_epochs_per_step and config.iterative_steps > 1:
        raise UserError("--data: expected labeled images for the training between steps, found none")
    return None


def measure_on(network: Network, config: PruneSettings) -> Measure:
    """How networks like ``network`` are timed: PyTorch on ``device``, the other runtimes on this machine's CPU."""

    def measure(model: nn.Module, size: tuple[int, int], runtime: str) -> float:
        if runtime == "pytorch":
            return measure_latency({"": model}, size, REPEATS, choose_device(config.device))[""].median_ms
        return runtime_latency(dataclasses.replace(network, model=model), size, runtime)

    return measure


def scores_of(network: Network, split: Split | None, config: PruneSettings, device: torch.device) -> Scores:
    """How the groups of a network are scored before it is pruned, for latency allocation; it is copied."""

    def scores() -> dict[str, torch.Tensor]:
        scored = copy.deepcopy(network)
        scored.model.to(device)
        return group_scores(
            scored.model, config, PruningData(scored, split, config, device).hooks() if split else Hooks()
        )

    return scores


def _pruned(
    source: Network, split: Split | None, planned: Plan, record: Mapping[str, Any], device: torch.device
) -> tuple[Network, PruneOutcome, dict[str, Any]]:
    """The pruned copy of a network, what was removed, and the settings as they are recorded."""
    config, network = planned.config, copy.deepcopy(source)
    network.model.to(device)
    batches = PruningData(network, split, config, device) if split else None
    outcome = prune_model(network.model, config, batches.hooks() if batches else Hooks(), planned.widths)
    settings = planned.settings() | dict(record)
    if batches:
        settings["number_format"] = batches.step.numbers.record()
    if config.pruning_ratio or config.output_stride:
        network.lineage = [*network.lineage, new_stage("prune", settings, {})]
    return network, outcome, settings


def _has_norms(model: nn.Module) -> bool:
    return any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def _cost(network: Network, size: tuple[int, int], latency_ms: float | None) -> NetworkCost:
    parameters, macs = count(network.model, size)
    channels = sum(row[3] for row in layer_widths(network.model))
    return NetworkCost(channels, parameters, macs, size_mib(network), latency_ms)


def _latencies(dense: nn.Module, pruned: nn.Module, config: PruneSettings) -> tuple[float | None, float | None, str]:
    """Median latency in ms before and after, and the conditions as a sentence."""
    if not config.latency_repeats:
        return None, None, ""
    size = (config.latency_size, config.latency_size)
    networks = {"before": copy.deepcopy(dense), "after": pruned}  # the first is moved, and is the caller's
    measured = measure_latency(networks, size, config.latency_repeats, choose_device(config.device))
    after = measured["after"]
    conditions = (
        f"latency: median of {after.repeats} interleaved passes at 1x3x{size[0]}x{size[1]}, float32, "
        f"{after.device}, {after.threads} threads"
    )
    return measured["before"].median_ms, after.median_ms, conditions


def _report(dense: Network, pruned: Network, planned: Plan, outcome: PruneOutcome) -> PruningReport:
    """Costs of the network and its file before and after, the target, and what the user must know."""
    config = planned.config
    old, new, conditions = _latencies(dense.model, pruned.model, config)
    size = (config.latency_size, config.latency_size)
    before, after = _cost(dense, size, old), _cost(pruned, size, new)
    budget = planned.reached(after)
    notes = [*(budget.notes() if budget else []), *planned.disagreement(pruned.model)]
    settings, layers = planned.settings(), outcome.layers
    return PruningReport(
        settings, before, after, layers, size, conditions, notes=notes, budget=budget, divisors=planned.divisors
    )


def _report_file(told: PruningReport, report: Path, network: Network) -> Path:
    """The file of the report, in the folder ``report`` by a name of its own."""
    if report.suffix == ".json":
        return report
    return report / f"{network.title}_{told.settings['criterion'].lower()}_{told.settings['pruning_ratio']:g}.json"


def _written(network: Network, told: PruningReport, report: Path | None) -> tuple[Path, ...]:
    """Write the checkpoint, the report and the table of the layers, as far as they are named; all of them or none."""
    tables = [report.with_suffix(".csv"), report] if report else []
    files = [*tables, *([network.file] if network.file else [])]
    if not files:
        return ()
    with atomic_paths(*files) as temporary:
        if report:
            told.write_csv(temporary[0])
            write_json(temporary[1], told.to_json())
        if network.file:
            save_checkpoint(network, temporary[-1])
    return tuple(reversed(files))
