"""The plan of a study: what is compared, read from a TOML file or keywords and checked before anything runs."""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prune.data.settings import CLASS_SETS, DataOptions
from prune.deployment.settings import FORMATS, ExportSettings
from prune.errors import UserError
from prune.evaluation.settings import EvaluateSettings, VerdictLimits
from prune.files import require_plain_name
from prune.options import settings_from
from prune.pruning.settings import RUNTIMES, TARGETS, PruneSettings
from prune.training.settings import DEFAULT_MODEL, TrainSettings

KEEP = ("all", "best", "none")
TABLES: dict[str, type] = {
    "train": TrainSettings,
    "prune": PruneSettings,
    "finetune": TrainSettings,
    "export": ExportSettings,
    "test": EvaluateSettings,
}
"""The tables of a plan with the settings they are handed to: an option those settings gain needs no change here."""
BY_THE_STUDY = {
    "train": ("seed", "model", "dataset", "mask_threshold"),
    "prune": ("seed", "pruning_ratio", *TARGETS, "allocation", "iterative_steps", "dataset", "mask_threshold"),
    "finetune": ("seed", "model", "weights", "load_pretrained_weights", "classes", "dataset", "mask_threshold"),
    "export": ("precision", "dataset", "mask_threshold"),
    "test": ("dataset", "mask_threshold", "latency_size", "latency_repeats", "resize", "crop"),
}
"""Settings that are an axis of the study or a key of its own."""
FINETUNE = {"epochs": 30, "lr": 2e-4, "sparsity": 0.0}
"""What fine-tuning does differently from the training of the dense network, unless the plan says otherwise."""
NORMS: dict[str, dict[str, Any]] = {
    "L1": {"importance_type": "Magnitude", "p_value": 1},
    "L2": {"importance_type": "Magnitude", "p_value": 2},
}
"""Criteria with a name of their own in tables; any other name is an ``importance_type``."""
SYNTHESIZE = ("images", "size", "seed", "surface")


@dataclass(frozen=True)
class Plan:
    """What a study compares; lists may be tuples. Checked at construction.

    Args:
        name: Of the study and its folder.
        data: Data folder with the splits train, val (or not) and test.
        dataset: Layout of the data, see ``prune.data.settings.DATASETS``.
        mask_threshold: Gray levels of a mask above this are crack.
        classes: What to learn; auto: what the labels hold.
        synthesize: Images, size, seed and surface of drawn photographs that are put into ``data`` when it does not exist.
        networks: Names of networks, each trained for every seed, or tables with ``model`` and options of training that
            differ for this one, and ``finetune``, a table of those of its fine-tuning.
        dense: Checkpoint to prune, instead of training one; it says which network it is.
        criteria: Names, or tables with ``importance_type`` and other options of pruning, and optionally ``name``.
            Random is added, unless there are no ``controls``: a criterion that does not beat it has shown nothing.
        ratios: Percent of channels to remove.
        targets: What may remain instead, as ``target_macs=40%`` or ``target_params=2M``.
        allocations: How the ratio is spread over the layers.
        steps: Numbers of pruning steps.
        distillation: Whether fine-tuning learns from the dense network: False, True, or a table of options of training
            besides, such as ``{distill_weight = 2.0}``.
        precisions: Numbers in which the fine-tuned network is scored; fp32 is the PyTorch network, any other is exported.
        runtimes: What the latency is measured on, names of ``prune.pruning.settings.RUNTIMES``.
        seeds: One whole repetition each.
        smaller: Networks of about equal MACs by design, trained with the total budget as a control.
        controls: Whether Random and the pruned widths trained from scratch are computed.
        untuned: Whether pruned networks are also scored before fine-tuning.
        keep: Which checkpoints stay: all, best (dense networks and those on a Pareto front) or none.
        train: Options of ``prune.train`` for dense networks.
        prune: Options of ``prune.prune``.
        finetune: Options of ``prune.train`` after pruning, where they differ from ``train``.
        export: Options of ``prune.export``, and ``to``: the runtime of other precisions, by default onnx.
        test: Options of ``prune.evaluate``.
        latency_size: Side of the square input whose latency and MACs are measured, in px.
        latency_repeats: Timed passes.
        latency_threads: CPU threads, 0 = all cores.
        keep_miou: mIoU counts as kept when it drops by at most this many points.
        lose_crack: Cracks count as lost when ltIoU@4 drops by more than this many points.

    Raises:
        UserError: for anything that is not allowed; the message names the key.
    """

    name: str = "study"
    data: str | None = None
    dataset: str = "auto"
    mask_threshold: int = 127
    classes: str = "auto"
    synthesize: Mapping[str, Any] = field(default_factory=dict)
    networks: Sequence[str | Mapping[str, Any]] = (DEFAULT_MODEL,)
    dense: str | None = None
    criteria: Sequence[str | Mapping[str, Any]] = ("L1", "L2", "Taylor", "Random")
    ratios: Sequence[float] = ()
    targets: Sequence[str] = ()
    allocations: Sequence[str] = ("local",)
    steps: Sequence[int] = (1,)
    distillation: Sequence[bool | Mapping[str, Any]] = (False,)
    precisions: Sequence[str] = ("fp32",)
    runtimes: Sequence[str] = ("pytorch",)
    seeds: Sequence[int] = (0,)
    smaller: Sequence[str] = ()
    controls: bool = True
    untuned: bool = False
    keep: str = "all"
    train: Mapping[str, Any] = field(default_factory=dict)
    prune: Mapping[str, Any] = field(default_factory=dict)
    finetune: Mapping[str, Any] = field(default_factory=dict)
    export: Mapping[str, Any] = field(default_factory=dict)
    test: Mapping[str, Any] = field(default_factory=dict)
    latency_size: int = 512
    latency_repeats: int = 5
    latency_threads: int = 0
    keep_miou: float = VerdictLimits.keep_miou
    lose_crack: float = VerdictLimits.lose_crack

    def __post_init__(self) -> None:
        _check_types(self)
        _check_scalars(self)
        _check_tables(self)
        _check_axes(self)

    @property
    def reading(self) -> DataOptions:
        """How the labels are read."""
        return DataOptions(self.dataset, self.mask_threshold)

    @property
    def limits(self) -> VerdictLimits:
        """What counts as kept and as lost."""
        return VerdictLimits(self.keep_miou, self.lose_crack)

    def named_networks(self) -> dict[str, dict[str, Any]]:
        """Options of training by the name of the network, in the order of the plan; most have none."""
        return dict(map(_network, self.networks))

    def named_criteria(self) -> dict[str, dict[str, Any]]:
        """Options of pruning by the name of the criterion, in the order of the plan; Random is among the controls."""
        found = dict(map(_criterion, self.criteria))
        return found if "Random" in found or not self.controls else found | {"Random": {"importance_type": "Random"}}

    def levels(self) -> dict[str, dict[str, Any]]:
        """How much is removed: options of pruning by what tables call it."""
        found: dict[str, dict[str, Any]] = {f"{ratio:g}%": {"pruning_ratio": float(ratio)} for ratio in self.ratios}
        return found | {text.removeprefix("target_"): _target(text) for text in self.targets}

    def teachers(self) -> dict[str, dict[str, Any] | None]:
        """Options of fine-tuning by what tables call the distillation; None = there is no teacher."""
        found: dict[str, dict[str, Any] | None] = {}
        for item in self.distillation:
            options = dict(item) if isinstance(item, Mapping) else {}
            words = [f"{name.removeprefix('distill_')} {value}" for name, value in options.items()]
            found[" ".join(["distilled", *words]) if item is not False else ""] = None if item is False else options
        return found

    def settings(self, table: str, network: str = "", **more: Any) -> dict[str, Any]:
        """The options of a table with what the study adds, as they are handed to the settings of ``TABLES[table]``.

        ``network`` is one of the plan whose own options count, if it has any.
        """
        found: dict[str, Any] = dict(vars(self.reading))
        special = dict(self.named_networks().get(network, {}))
        tuned = special.pop("finetune", {})
        if table in ("train", "finetune"):
            found |= {"patience": 0, "classes": self.classes, **self.train, **special}
        if table == "finetune":
            found |= {**FINETUNE, **self.finetune, **tuned}
        if table not in ("train", "finetune"):
            found |= getattr(self, table)
            found.pop("to", None)
        return found | more

    def total_epochs(self, network: str = "") -> int:
        """Epochs of a network trained from scratch with the budget of training and fine-tuning together."""
        return int(sum(resolved(self, table, network).epochs for table in ("train", "finetune")))


def _network(item: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if isinstance(item, str):
        return item, {}
    options = dict(item)
    return str(options.pop("model", "")), options


def _criterion(item: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if isinstance(item, str):
        return item, dict(NORMS.get(item, {"importance_type": item}))
    options = dict(item)
    words = [f"{name} {value}" for name, value in options.items() if name not in ("importance_type", "name")]
    title = options.pop("name", " ".join([str(options.get("importance_type", "Taylor")), *words]))
    return str(title), options


def _target(text: str) -> dict[str, Any]:
    name, _, value = (part.strip() for part in text.partition("="))
    if name not in TARGETS or not value:
        raise UserError(f"--targets: expected {' or '.join(f'{t}=…' for t in TARGETS)}, found {text!r}")
    return {name: float(value) if name == "target_latency_ms" else value}


def near(name: str, known: Sequence[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, else all of them."""
    close = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {close[0]}?" if close else f": expected some of {', '.join(known)}"


def _check_types(plan: Plan) -> None:
    """Every key holds what its default does: a text, a number, a list or a table."""
    for item in dataclasses.fields(plan):
        value = getattr(plan, item.name)
        default = item.default if item.default is not dataclasses.MISSING else {}
        wanted: tuple[type, ...] = (type(default),) if default is not None else (str, Path, type(None))
        name = {"str": "a text", "int": "a whole number", "float": "a number", "tuple": "a list", "dict": "a table"}
        name["bool"] = "true or false"
        wanted = {tuple: (tuple, list), dict: (Mapping,), float: (float, int)}.get(wanted[0], wanted)  # type: ignore
        if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
            expected = name.get(type(default).__name__, "a path")
            raise UserError(f"--{item.name}: expected {expected}, found {value!r}")


def _check_scalars(plan: Plan) -> None:
    require_plain_name("--name", plan.name)
    for name, choices in {"keep": KEEP, "classes": ("auto", *CLASS_SETS)}.items():
        if getattr(plan, name) not in choices:
            raise UserError(f"--{name}: expected one of {', '.join(choices)}, found {getattr(plan, name)!r}")
    for name, low in {
        "latency_size": 32,
        "latency_repeats": 1,
        "latency_threads": 0,
        "keep_miou": 0,
        "lose_crack": 0,
    }.items():
        if getattr(plan, name) < low:
            raise UserError(f"--{name}: expected at least {low}, found {getattr(plan, name):g}")
    _ = plan.reading


def _check_tables(plan: Plan) -> None:
    """Every table holds options of its settings, none of which the study itself decides."""
    for key in plan.synthesize:
        if key not in SYNTHESIZE:
            raise UserError(f"[synthesize] has no {key!r}{near(key, SYNTHESIZE)}")
    for table in TABLES:
        _check_options(f"[{table}]", table, getattr(plan, table))
        if table != "export" or not _exported(plan):  # its options are checked with each precision
            resolved(plan, table)
    to = plan.export.get("to", "onnx")
    if to not in FORMATS:
        raise UserError(f"[export] to: expected one of {', '.join(FORMATS)}, found {to!r}")


def _exported(plan: Plan) -> list[str]:
    """The precisions that files are made of; networks of the others are scored as they are."""
    return [precision for precision in plan.precisions if precision != "fp32"]


def _check_options(where: str, table: str, options: Mapping[str, Any]) -> None:
    """Every key is an option of the settings of a table, and none that the study itself decides."""
    known = [f.name for f in dataclasses.fields(TABLES[table]) if f.name not in BY_THE_STUDY[table]]
    known += ["to"] if table == "export" else []
    for key in options:
        if key in BY_THE_STUDY[table]:
            raise UserError(f"{where} {key}: the study sets it, see the keys of the plan")
        if key not in known:
            raise UserError(f"{where} has no {key!r}{near(key, known)}")


def _check_networks(plan: Plan) -> None:
    """Every network has a name of its own and options of training."""
    if plan.dense and len(plan.networks) > 1:
        raise UserError(f"--dense {plan.dense}: expected no networks beside it, found {len(plan.networks)}")
    for item in plan.networks:
        name, options = _network(item) if isinstance(item, (str, Mapping)) else ("", {})
        if not name:
            raise UserError(f"--networks: expected names, or tables with a model, found {item!r}")
        tuned = options.pop("finetune", {})
        if not isinstance(tuned, Mapping):
            raise UserError(f"networks {name}: finetune: expected a table, found {tuned!r}")
        _check_options(f"networks {name}", "train", options)
        _check_options(f"networks {name}: finetune", "finetune", tuned)
        checked("networks", TrainSettings, plan.settings("train", name), name)
        checked("networks", TrainSettings, plan.settings("finetune", name), name)
    names = [_network(item)[0] for item in plan.networks]
    if len(set(names)) < len(names):
        raise UserError(f"--networks: expected different values, found {', '.join(names)}")


def _check_axes(plan: Plan) -> None:
    """No axis is empty or says something twice, and every value is one that the settings accept by itself."""
    for name in ("networks", "criteria", "allocations", "steps", "distillation", "precisions", "runtimes", "seeds"):
        if not getattr(plan, name):
            raise UserError(f"--{name}: expected at least one, found an empty list: nothing would be compared")
    if not plan.ratios and not plan.targets:
        raise UserError("--ratios: expected at least one ratio or target, found none: nothing would be compared")
    _check_networks(plan)
    for name in ("ratios", "targets", "allocations", "steps", "precisions", "runtimes", "seeds", "smaller"):
        values, kind = list(getattr(plan, name)), (int, float) if name in ("ratios", "steps", "seeds") else str
        for value in values:
            whole = name in ("steps", "seeds") and not isinstance(value, int)
            if not isinstance(value, kind) or isinstance(value, bool) or whole:
                raise UserError(f"--{name}: expected {'numbers' if kind is not str else 'texts'}, found {value!r}")
        if len(set(values)) < len(values):
            raise UserError(f"--{name}: expected different values, found {', '.join(map(str, values))}")
    for name, kinds, wanted in (
        ("criteria", (str, Mapping), "names, or tables with an importance_type"),
        ("distillation", (bool, Mapping), "true, false, or tables of options"),
    ):
        other = next((item for item in getattr(plan, name) if not isinstance(item, kinds)), None)
        if other is not None:
            raise UserError(f"--{name}: expected {wanted}, found {other!r}")
    titles = [_criterion(item)[0] for item in plan.criteria]
    if len(set(titles)) < len(titles):
        raise UserError(f"--criteria: expected different names, found {', '.join(titles)}")
    for runtime in plan.runtimes:
        if runtime not in RUNTIMES:
            raise UserError(f"--runtimes: expected some of {', '.join(RUNTIMES)}, found {runtime!r}")
    for name, options in plan.named_criteria().items():
        checked("criteria", PruneSettings, plan.settings("prune", **options), name)
    for name, level in plan.levels().items():
        checked(
            "ratios" if "pruning_ratio" in level else "targets", PruneSettings, plan.settings("prune", **level), name
        )
    for allocation in plan.allocations:  # whether it goes with a level is asked of every combination
        beside: dict[str, Any] = {"target_latency_ms": 1.0} if allocation == "latency" else {}
        checked("allocations", PruneSettings, plan.settings("prune", allocation=allocation, **beside), allocation)
    for steps in plan.steps:
        checked("steps", PruneSettings, plan.settings("prune", iterative_steps=steps), steps)
    for name, teacher in plan.teachers().items():
        checked("distillation", TrainSettings, plan.settings("finetune", **(teacher or {})), name)
    for precision in _exported(plan) or plan.precisions:
        checked("precisions", ExportSettings, plan.settings("export", precision=precision), precision)
        to = plan.export.get("to", "onnx")
        if precision != "fp32" and precision not in FORMATS[to][1]:
            raise UserError(f"--precisions: expected one of {', '.join(FORMATS[to][1])} for {to}, found {precision!r}")
    for seed in plan.seeds:
        checked("seeds", TrainSettings, plan.settings("train", seed=seed), seed)


def checked(key: str, kind: type, values: Mapping[str, Any], value: object = "") -> Any:
    """``kind(**values)``.

    Raises:
        UserError: naming the key of the plan, for what the settings refuse.
    """
    where = f"{key} {value}".strip()
    try:
        return settings_from(kind, key, values)
    except TypeError as error:
        raise UserError(f"{where}: {str(error).removeprefix(f'{key}(): ')}") from error
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def resolved(plan: Plan, table: str, network: str = "") -> Any:
    """The settings of a table as an object, for ``network`` if it has options of its own."""
    return checked(f"[{table}]", TABLES[table], plan.settings(table, network))
