"""``train.py``: a split folder in, a checkpoint out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from prune.cli.verbs import call
from prune.files import MODELS, RUNS, require_plain_name
from prune.options import FACTORY, fields_of, option
from prune.recipes import known_recipes
from prune.training.ranks import is_first
from prune.training.settings import TrainSettings, stored_settings

if TYPE_CHECKING:  # the command line answers before PyTorch is imported
    from prune.api.train import TrainResult


@dataclass(frozen=True)
class TrainOptions(TrainSettings):
    """Options of ``train.py``."""

    train_dir: str | None = option(
        None,
        "split folder, list of names or data folder to train on; default: data/S2DS, else the demo data",
        positional=True,
    )
    val_dir: str | None = option(
        None, "the same, to validate on; default: the validation images of TRAIN_DIR", positional=True
    )
    name: str = option("dense", "name of the run and of the model file", positional=True, aliases=("--name",))
    recipe: str | None = option(None, f"settings file, or one of the included recipes: {', '.join(known_recipes())}")
    pruned_model: str | None = option(None, "fine-tune this checkpoint; its structure is kept", metavar="FILE")
    teacher: str | None = option(None, "teacher checkpoint with the same classes, for distillation", metavar="FILE")
    resume: bool = option(False, "continue the run NAME where it stopped, with the settings it was started with")
    force: bool = option(False, "replace an existing model and run called NAME")
    factory: str | None = option(None, FACTORY)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_plain_name("NAME", self.name)

    @classmethod
    def from_given(cls, given: Mapping[str, Any]) -> TrainOptions:
        """The options of a command line that gives only these: a run that is resumed keeps the settings it had."""
        if not given.get("resume"):
            return cls(**given)
        known = {item.name for item in dataclasses.fields(cls)}
        stored = stored_settings(RUNS / str(given.get("name", cls.name)), cls)
        return cls(**{**{name: value for name, value in stored.items() if name in known}, **given})


def train(options: TrainOptions) -> TrainResult:
    """Train as the options say, into results/models/NAME.pth and results/runs/NAME.

    Raises:
        UserError: for anything the user can fix (see ``prune.train``).
    """
    from prune.api.train import train as train_network
    from prune.cli.defaults import data_folder
    from prune.files import find_model

    settings = fields_of(TrainSettings, options)
    if options.load_pretrained_weights:
        settings["load_pretrained_weights"] = str(find_model(options.load_pretrained_weights))
    data = options.train_dir or str(data_folder())
    own = asdict(options) | {"train_dir": data}
    return train_network(
        data,
        options.val_dir,
        start=find_model(options.pruned_model) if options.pruned_model else None,
        teacher=find_model(options.teacher) if options.teacher else None,
        checkpoint=MODELS / f"{options.name}.pth",
        run=RUNS / options.name,
        resume=options.resume,
        force=options.force,
        factory=options.factory,
        record=own,
        **settings,
    )


def run(options: TrainOptions) -> None:
    """Train and print the summary; of several processes the first prints."""
    result = train(options)
    if is_first():
        print(result)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse ``argv`` (None = the process's own arguments) and run the command."""
    call("train", argv)
