"""``train.py``: a split folder in, a checkpoint out."""

from collections.abc import Sequence
from dataclasses import dataclass

from prune.cli.verbs import call
from prune.errors import UserError
from prune.options import option
from prune.recipes import known_recipes
from prune.training.settings import TrainSettings


@dataclass(frozen=True)
class TrainOptions(TrainSettings):
    """Everything ``train.py`` can be told."""

    train_dir: str | None = option(
        None, "split folder, list of names or data folder to learn from; none: the default data", positional=True
    )
    val_dir: str | None = option(None, "the same, to choose the best epoch on; none: of TRAIN_DIR", positional=True)
    name: str = option("dense", "name of the run and of the model file", positional=True)
    recipe: str | None = option(None, f"file of settings, or those of a known system: {', '.join(known_recipes())}")
    pruned_model: str | None = option(None, "fine-tune this checkpoint; its structure is kept")
    load_pretrained_weights: str | None = option(None, "start a fresh network from the matching weights of this file")
    trust_pickle: bool = option(False, "read whole-module pickles; only for files you trust: they can run code")
    resume: bool = option(False, "continue the run NAME where it stopped")
    force: bool = option(False, "replace the model and the run NAME of an earlier training")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.name or self.name.startswith(".") or any(c in self.name for c in "/\\"):
            raise UserError(f"NAME: expected a plain file name without folders, found {self.name!r}")


def run(options: TrainOptions) -> None:
    """Do the work and print the summary."""
    from prune.api.train import run as work

    work(options)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line ``argv``, None = the process's own, and do what it says."""
    call("train", argv)
