"""``python -m prune study``: a plan of networks, criteria, ratios and seeds, with controls; or flags that say the same."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from prune.cli.verbs import call
from prune.errors import PartlyDone, UserError
from prune.options import fields_of, option
from prune.studies.plan import KEEP
from prune.studies.settings import RunSettings, StudySettings

AXES = (
    "networks",
    "ratios",
    "targets",
    "allocations",
    "steps",
    "distillation",
    "precisions",
    "runtimes",
    "seeds",
    "smaller",
)
"""Flags that are lists of a plan."""
OF_PLAN = {
    "train": ("weights", "epochs", "batch_size", "crop_size", "class_weights", "lr", "workers", "cache"),
    "prune": ("crop_size", "class_weights"),
    "finetune": ("finetune_epochs", "finetune_lr"),
    "test": ("workers",),
}
"""Flags that are keys of the tables of a plan."""
KEYS = (
    "name",
    "classes",
    "dataset",
    "mask_threshold",
    "latency_size",
    "latency_repeats",
    "keep_miou",
    "lose_crack",
    "keep",
    "controls",
    "untuned",
)


@dataclass(frozen=True)
class StudyOptions(RunSettings, StudySettings):
    """Options of ``python -m prune study``."""

    data: str | None = option(
        None,
        "plan (.toml), or a data folder with splits; default: data/S2DS, else the demo data",
        positional=True,
    )
    networks: str = option("", "networks to train, separated by commas", metavar="NAME,NAME")
    ratios: str = option("", "percents of channels to remove", metavar="INT,INT")
    targets: str = option("", "what may remain instead: target_macs=40%,target_params=2M")
    allocations: str = option("", "how the ratio is spread over the layers: local,global", metavar="NAME,NAME")
    steps: str = option("", "numbers of pruning steps", metavar="INT,INT")
    distillation: str = option("", "whether fine-tuning learns from the dense network: False,True", metavar="BOOL,BOOL")
    precisions: str = option("", "numbers the fine-tuned network is scored in: fp32,int8", metavar="NAME,NAME")
    runtimes: str = option("", "what latency is measured on: pytorch,onnx,onnx-int8,…", metavar="NAME,NAME")
    seeds: str = option("", "whole repetitions: 0,1,2,3,4", metavar="INT,INT")
    smaller: str = option("", "networks of about equal MACs, trained with the total budget", metavar="NAME,NAME")
    controls: bool = option(True, "compute Random and the pruned widths trained from scratch")
    untuned: bool = option(
        False, "score networks directly after pruning too; DATA with none of the lists above: always"
    )
    keep: str = option("all", "checkpoints that stay; best: dense ones and those on a Pareto front", choices=KEEP)
    report_only: bool = option(False, "make table, charts and report again from the results there are")
    keep_code: bool = option(False, "trials count that an earlier version of the code computed for this study")

    def __post_init__(self) -> None:
        RunSettings.__post_init__(self)

    @property
    def planned(self) -> bool:
        """Whether the first argument is a plan."""
        return str(self.data).endswith(".toml")

    @property
    def simple(self) -> bool:
        """Whether it is the comparison of criteria for one network, ratio and seed: DATA NAME and none of the lists."""
        return not self.planned and not any(getattr(self, name) for name in AXES)


def plan_keys(options: StudyOptions) -> dict[str, Any]:
    """What the flags say in place of a plan's keys; with a plan file only those that are not left at their default."""
    planned = options.planned
    default = {field.name: field.default for field in fields(StudyOptions)}

    def given(name: str) -> bool:
        return getattr(options, name) != default[name] if planned else name in default

    keys: dict[str, Any] = {name: getattr(options, name) for name in KEYS if given(name)}
    if not planned:
        keys |= {"networks": [options.model], "ratios": [options.pruning_ratio], "steps": [options.iterative_steps]}
        keys |= {"seeds": [options.seed], "data": options.data, "untuned": options.untuned or options.simple}
        for table, names in OF_PLAN.items():
            keys[table] = {name.removeprefix("finetune_"): getattr(options, name) for name in names}
    if options.dense:
        from prune.files import find_model

        keys["dense"] = str(find_model(options.dense))
    if given("criteria"):
        keys["criteria"] = _words(options.criteria)
    for name in AXES:
        if getattr(options, name):
            keys[name] = _values(name, getattr(options, name))
    if options.targets and not options.ratios and not planned:
        keys["ratios"] = []
    return keys


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _values(name: str, text: str) -> list[Any]:
    """The values of a list as a flag gives it.

    Raises:
        UserError: naming the flag.
    """
    kinds: dict[str, Any] = {
        "ratios": float,
        "steps": int,
        "seeds": int,
        "distillation": {"True": True, "False": False},
    }
    kind = kinds.get(name, str)
    try:
        return [kind[word] if isinstance(kind, dict) else kind(word) for word in _words(text)]
    except (ValueError, KeyError):
        wanted = {float: "numbers", int: "whole numbers"}.get(kind, "True and False") if kind is not str else "names"
        raise UserError(f"--{name}: expected {wanted} separated by commas, found {text!r}") from None


def run(options: StudyOptions) -> None:
    """Run the study and print the table.

    Raises:
        PartlyDone: when trials failed; the others are done.
    """
    from dataclasses import replace

    from prune.studies.run import study

    plan = Path(str(options.data)) if options.planned else None
    if plan is None and options.data is None and not options.report_only:
        from prune.cli.defaults import data_folder

        options = replace(options, data=str(data_folder()))
    where = fields_of(RunSettings, options) | {"output": options.output, "force": options.force}
    found = study(plan, **where, report_only=options.report_only, keep_code=options.keep_code, **plan_keys(options))
    print(found)
    if not options.report_only and options.simple:
        for file in products(options, found.folder):
            print(f"file     {file}")
    if found.failed:
        raise PartlyDone(f"{len(found.failed)} trials failed; run the same command again to try them again")


def products(options: StudyOptions, folder: Path) -> list[Path]:
    """The networks of a simple study in ``results/models`` and its sheets of photographs in ``results/figures``."""
    from prune.files import FIGURES, MODELS
    from prune.studies.products import comparison_sheets, copy_networks, products_of

    found = products_of(folder)
    files = copy_networks(found, options.name, MODELS, force=options.force)
    if options.figures and found:
        files += comparison_sheets(found, folder, options.figures, FIGURES / options.name, options.palette)
    return files


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line ``argv``, None = the process's own, and run the command."""
    call("study", argv)
