"""From a plan to trials: what has to be computed, what each piece is made from, and which rows of the table it gives."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prune.errors import UserError
from prune.options import settings_from
from prune.pruning.settings import TARGETS, PruneSettings
from prune.studies.identity import code_version, digest
from prune.studies.plan import TABLES, Plan, checked
from prune.training.settings import MAY_DIFFER

WHERE_AND_HOW_FAST = (*MAY_DIFFER, "networks", "trust_pickle")
"""Settings that say where and how fast something runs, not what it gives; they are no part of a trial's name."""
DATA = {
    "given": ("dense",),
    "train": ("train", "val"),
    "scratch": ("train", "val"),
    "finetune": ("train", "val"),
    "prune": ("train",),
    "export": ("train", "test"),
    "evaluate": ("test",),
}
"""The splits, or the checkpoint, that a kind of trial reads."""

UNTUNED = "not fine-tuned"
"""What tables call a network directly after pruning."""
OF_EVERY_CRITERION = {"importance_type", "p_value", "pruning_ratio", "allocation", "iterative_steps", *TARGETS}
"""Options of pruning under which local allocation gives every criterion the same widths: one control is enough for all."""


@dataclass(frozen=True)
class Trial:
    """A piece of a study that is computed once ever.

    Args:
        kind: train, given (a checkpoint in its place), prune, finetune, scratch, export, evaluate or latency.
        label: What it is called on the screen.
        settings: What determines its result, plain values; defaults are left out.
        parents: Names of the trials it is made from, by the part they play.
        data: Fingerprints of what it reads.
        code: Version of the code that computes it.
        how: Settings that change where and how fast it runs only.
    """

    kind: str
    label: str
    settings: Mapping[str, Any]
    parents: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    how: Mapping[str, Any] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """Everything that determines its result."""
        return {
            "kind": self.kind,
            "settings": dict(self.settings),
            "parents": dict(self.parents),
            "data": dict(self.data),
            "code": self.code,
        }

    @property
    def name(self) -> str:
        """The hash of its identity: the name of its folder."""
        return digest(self.identity())


@dataclass(frozen=True)
class Row:
    """A network of the table for one seed.

    Args:
        network: Its architecture.
        method: dense, the name of a criterion, from scratch, or smaller.
        level: How much was removed, empty for what was not pruned.
        options: Allocation, steps and distillation where they are not the default, as words.
        precision: Numbers it was scored in.
        seed: Of everything random.
        evaluate: Name of the trial that scored it.
        checkpoint: Name of the trial that made it.
        latency: Names of the trials that timed it, by runtime.
        dense: Name of the trial that scored what it is compared with.
    """

    network: str
    method: str
    level: str
    options: str
    precision: str
    seed: int
    evaluate: str
    checkpoint: str
    latency: Mapping[str, str]
    dense: str


@dataclass
class Graph:
    """Every trial of a study by name, parents before children, and the rows of the table."""

    trials: dict[str, Trial] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


class _Builder:
    def __init__(self, plan: Plan, data: Mapping[str, str], codes: Mapping[str, str], machine: str) -> None:
        self.plan, self.data, self.codes, self.machine, self.graph = plan, data, codes, machine, Graph()

    def add(
        self, kind: str, label: str, values: Mapping[str, Any], table: str = "", *, file: str = "", **parents: str
    ) -> str:
        """Put a trial in and return its name; ``values`` are options of ``table``, without one plain settings."""
        settings: dict[str, Any] = dict(values)
        how: dict[str, Any] = {"file": file} if file else {}
        if table:
            kept = {key: value for key, value in values.items() if not key.startswith("_")}
            chosen: Any = settings_from(TABLES[table], table, kept)
            given = {f.name: getattr(chosen, f.name) for f in dataclasses.fields(TABLES[table]) if f.name in kept}
            defaults = {f.name: f.default for f in dataclasses.fields(TABLES[table])}
            how = {key: value for key, value in given.items() if key in WHERE_AND_HOW_FAST}
            settings = {k: v for k, v in given.items() if k not in how and v != defaults[k]}
            settings |= {key: value for key, value in values.items() if key.startswith("_")}
        data = {role: self.data[role] for role in DATA.get(kind, ()) if role in self.data}
        code = self.codes.get(kind) or code_version(kind)
        trial = Trial(kind, label, settings, parents, data, code, how)
        self.graph.trials.setdefault(trial.name, trial)
        return trial.name

    def train(self, network: str, seed: int) -> str:
        if self.plan.dense:
            label = f"{network}: {Path(self.plan.dense).name}"
            return self.add("given", label, {"model": network}, file=self.plan.dense)
        values = self.plan.settings("train", network, model=network, seed=seed)
        return self.add("train", f"{network}, seed {seed}: train", values, "train")

    def row(
        self, about: Sequence[str], seed: int, checkpoint: str, dense: str, *, timed: str = "", scored: str = ""
    ) -> None:
        """Score and time a network; ``timed`` is another of the same widths that is timed in its place."""
        network, method, level, options, precision = about
        label = f"{' '.join(filter(None, (network, method, level, options)))}, seed {seed}"
        values = self.plan.settings("test", latency_repeats=0, latency_size=self.plan.latency_size)
        evaluate = self.add("evaluate", f"{label}: test", values, "test", network=scored or checkpoint)
        latency = {}
        runtimes = [f"{self.plan.export.get('to', 'onnx')}-{precision}"] if scored else self.plan.runtimes
        for runtime in runtimes:
            how = {name: getattr(self.plan, f"latency_{name}") for name in ("size", "repeats", "threads")}
            how |= {"runtime": runtime, "machine": self.machine}
            parents = {"network": timed or checkpoint, "dense": dense} | ({"file": scored} if scored else {})
            latency[runtime] = self.add("latency", f"{label}: time on {runtime}", how, **parents)
        values = self.plan.settings("test", latency_repeats=0, latency_size=self.plan.latency_size)
        told = f"{self.graph.trials[dense].settings['model']} dense, seed {seed}: test"
        baseline = self.add("evaluate", told, values, "test", network=dense)
        about = (network, method, level, options, precision)
        self.graph.rows.append(Row(*about, seed, evaluate, checkpoint, latency, baseline))

    def scratch(self, network: str, level: str, words: str, seed: int, pruned: str, dense: str, timed: str) -> None:
        """The control of Liu et al. 2019: the widths that pruning chose, trained from new weights with the total budget."""
        epochs = self.plan.total_epochs(network)
        values = self.plan.settings("train", network, epochs=epochs, seed=seed)
        for name in ("weights", "load_pretrained_weights", "sparsity"):
            values.pop(name, None)
        label = f"{network} {level} {words}, seed {seed}: train from scratch".replace(" ,", ",")
        trained = self.add("scratch", label, values, "train", widths=pruned)
        self.row((network, "from scratch", level, words, "fp32"), seed, trained, dense, timed=timed)

    def network(self, network: str, seed: int, combinations: Sequence[tuple[Any, ...]]) -> None:
        dense = self.train(network, seed)
        self.row((network, "dense", "", "", "fp32"), seed, dense, dense)
        for level, (criterion, options, allocation, steps) in combinations:
            values = self.plan.settings("prune", **options, seed=seed, latency_repeats=0)
            label = f"{network} {criterion} {level}, seed {seed}"
            words = _words(allocation, steps)
            pruned = self.add("prune", f"{label}: prune", values, "prune", network=dense)
            first = ""
            for title, teacher in self.plan.teachers().items():
                settings = self.plan.settings("finetune", network, **(teacher or {}), seed=seed)
                settings.pop("weights", None)
                parents = {"network": pruned} | ({} if teacher is None else {"teacher": dense})
                tuned = self.add("finetune", f"{label}: fine-tune {title}".rstrip(), settings, "finetune", **parents)
                first = first or tuned
                about = (network, criterion, level, ", ".join(filter(None, (words, title))))
                self.precisions(about, seed, tuned, dense)
            if self.plan.untuned:
                before = (network, criterion, level, ", ".join(filter(None, (words, UNTUNED))), "fp32")
                self.row(before, seed, pruned, dense, timed=first)
            shared = allocation == "local" and set(options) <= OF_EVERY_CRITERION
            if self.plan.controls and (criterion == "Random") == shared:
                told = words if shared else ", ".join(filter(None, (words, f"widths of {criterion}")))
                self.scratch(network, level, told, seed, pruned, dense, first)

    def precisions(self, about: Sequence[str], seed: int, tuned: str, dense: str) -> None:
        for precision in dict.fromkeys(("fp32", *self.plan.precisions)):
            if precision == "fp32":
                self.row((*about, precision), seed, tuned, dense)
                continue
            values = self.plan.settings("export", precision=precision)
            to = {"_to": self.plan.export.get("to", "onnx")}
            label = f"{' '.join(about)}, seed {seed}: export {precision}"
            exported = self.add("export", label, values | to, "export", network=tuned)
            self.row((*about, precision), seed, tuned, dense, scored=exported)


def _words(allocation: str, steps: int) -> str:
    said = [] if allocation == "local" else [allocation]
    return ", ".join([*said, *([] if steps == 1 else [f"{steps} steps"])])


def combinations(plan: Plan) -> tuple[list[tuple[Any, ...]], list[str]]:
    """Every combination of criterion, level, allocation and steps that pruning accepts, and why the others are left out.

    Raises:
        UserError: when none is left.
    """
    found: list[tuple[Any, ...]] = []
    skipped: list[str] = []
    axes = (plan.levels().items(), plan.named_criteria().items(), plan.allocations, plan.steps)
    for (level, amount), (criterion, options), allocation, steps in itertools.product(*axes):
        chosen = {**options, **amount, "allocation": allocation, "iterative_steps": steps}
        try:
            checked("", PruneSettings, plan.settings("prune", **chosen))
        except UserError as error:
            about = ", ".join(filter(None, (f"{criterion} {level}", allocation, _words("local", steps))))
            skipped.append(f"left out: {about}: {str(error).removeprefix(': ')}")
            continue
        found.append((level, (criterion, chosen, allocation, steps)))
    if not found:
        raise UserError(f"no combination of the plan is possible: {skipped[0]}")
    return found, skipped


def build(plan: Plan, data: Mapping[str, str], *, codes: Mapping[str, str] | None = None, machine: str = "") -> Graph:
    """Every trial that a plan needs.

    Args:
        plan: What is compared.
        data: Fingerprints of the splits, and of the checkpoint when the plan has one, see ``prune.studies.identity``.
        codes: Versions of the code by kind of trial, where they are not those of the code that is installed.
        machine: What latency is measured on.

    Raises:
        UserError: when no combination of the plan is possible.
    """
    chosen, skipped = combinations(plan)
    builder = _Builder(plan, data, codes or {}, machine)
    builder.graph.skipped = skipped
    for seed, network in itertools.product(plan.seeds, plan.named_networks()):
        builder.network(network, seed, chosen)
    for seed, network in itertools.product(plan.seeds, plan.smaller):
        values = plan.settings("train", model=network, seed=seed, epochs=plan.total_epochs(), sparsity=0.0)
        trained = builder.add("train", f"{network}, seed {seed}: train the smaller network", values, "train")
        dense = builder.train(next(iter(plan.named_networks())), seed)
        builder.row((network, "smaller", "", "", "fp32"), seed, trained, dense)
    return builder.graph
