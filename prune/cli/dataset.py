"""``python -m prune dataset``: what a data set holds, what is wrong with it, and how it looks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prune.cli.verbs import call
from prune.data.settings import SurveySettings
from prune.errors import PartlyDone
from prune.files import RESULTS
from prune.options import fields_of, option


@dataclass(frozen=True)
class DatasetOptions(SurveySettings):
    """Everything ``python -m prune dataset`` can be told."""

    folder: str | None = option(
        None,
        "data folder, split folder or list of names; default: data/S2DS, else the demo data",
        positional=True,
        aliases=("--data", "--data_dir"),
    )
    output: str | None = option(
        None,
        "folder of dataset.json and contact.png; default: results/datasets/<folder>",
        metavar="DIR",
    )
    force: bool = option(False, "replace the result of another data set in the folder of --output")


def run(options: DatasetOptions) -> None:
    """Look through the data set and print what was found.

    Raises:
        PartlyDone: when some of the files cannot be used; everything is written nevertheless.
    """
    from prune.api.dataset import dataset
    from prune.cli.defaults import data_folder

    root = Path(options.folder) if options.folder else data_folder()
    output = options.output or RESULTS / "datasets" / root.resolve().name.removesuffix(".txt")
    result = dataset(root, output=output, force=options.force, **fields_of(SurveySettings, options))
    print(result)
    if result.problems:
        plural = "problem makes" if len(result.problems) == 1 else "problems make"
        raise PartlyDone(f"{len(result.problems)} {plural} files unusable, first: {result.problems[0]}")


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line ``argv``, None = the process's own, and do what it says."""
    call("dataset", argv)
