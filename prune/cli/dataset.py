"""``python -m prune dataset``: what a data set contains, its problems, and a contact sheet."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prune.cli.outputs import FORCE, require_same_settings, stored_result
from prune.cli.verbs import call
from prune.data.settings import SurveySettings
from prune.errors import PartlyDone
from prune.files import RESULTS
from prune.options import fields_of, option


@dataclass(frozen=True)
class DatasetOptions(SurveySettings):
    """Options of ``python -m prune dataset``."""

    folder: str | None = option(
        None,
        "data folder, split folder or list of names; default: data/S2DS, else the demo data",
        positional=True,
        aliases=("--data", "--data_dir"),
    )
    output: str | None = option(
        None,
        "folder for dataset.json and contact.png; default: results/datasets/<folder>",
        metavar="DIR",
    )
    force: bool = option(False, FORCE)


def _require_same(file: Path, root: Path, options: DatasetOptions) -> None:
    """Keep the result of another data set, or of this one read in another way, from being replaced."""
    from prune.data.mask_files import classes_called

    content = None if options.force else stored_result(file)
    if content is None:
        return
    splits = list(dict(content.get("splits", {})).values())
    stored = {
        "folder": str(Path(str(content.get("folder"))).resolve()),
        "mask_threshold": content.get("mask_threshold"),
    }
    stored |= {"classes": list(splits[0]["pixel_share"])} if splits else {}
    now = {"folder": str(root.resolve()), "mask_threshold": options.mask_threshold}
    now |= {"classes": list(classes_called(options.classes).classes)} if options.classes else {}
    require_same_settings(file, stored, now, "--output")


def run(options: DatasetOptions) -> None:
    """Check the data set and print what was found.

    Raises:
        PartlyDone: when some of the files cannot be used; everything is written nevertheless.
    """
    from prune.api.dataset import dataset
    from prune.cli.defaults import data_folder

    root = Path(options.folder) if options.folder else data_folder()
    output = Path(options.output or RESULTS / "datasets" / root.resolve().name.removesuffix(".txt"))
    _require_same(output / "dataset.json", root, options)
    result = dataset(root, output=output, **fields_of(SurveySettings, options))
    print(result)
    if result.problems:
        plural = "problem makes" if len(result.problems) == 1 else "problems make"
        raise PartlyDone(f"{len(result.problems)} {plural} files unusable, first: {result.problems[0]}")


def main(argv: Sequence[str] | None = None) -> None:
    """Parse ``argv`` (None = the process's own arguments) and run the command."""
    call("dataset", argv)
