"""What a whole data folder holds: its splits, what is wrong with them, and photographs that lie in two of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prune.data.duplicates import Duplicate, near_duplicates
from prune.data.find_split import Opened, find_places, open_place
from prune.data.labels import ClassSet
from prune.data.settings import DataOptions
from prune.data.survey import SplitFacts, survey, thumbnails
from prune.errors import UserError
from prune.progress import say


@dataclass(frozen=True)
class FolderSurvey:
    """What was found in a data folder.

    Args:
        folder: Data folder, split folder or list of names.
        mask_threshold: Gray levels of a mask above this were read as crack.
        facts: Splits by name.
        problems: What makes files unusable, one message each.
        remarks: What is odd.
        duplicates: Pairs of names that look alike across splits, with their distance and correlation.
    """

    folder: Path
    mask_threshold: int
    facts: dict[str, SplitFacts]
    problems: list[str]
    remarks: list[str]
    duplicates: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "folder": str(self.folder),
            "mask_threshold": self.mask_threshold,
            "splits": {name: _split_content(split) for name, split in self.facts.items()},
            "problems": self.problems,
            "remarks": self.remarks,
            "duplicates": self.duplicates,
        }


def survey_folder(root: Path, classes: ClassSet | None, reading: DataOptions) -> FolderSurvey:
    """Read every image and label of every split once; look for problems and for duplicates across splits.

    Args:
        root: Data folder, split folder or list of names.
        classes: What labels are read as, None = what they hold.
        reading: Layout and threshold.

    Raises:
        UserError: when no split can be opened, and when they hold different classes.
    """
    opened, problems = open_splits(root, classes, reading)
    for name, found in opened.items():
        say(name, f"{len(found.split.pairs)} images in {found.split.folder}: {found.split.describe()}")
    facts = {name: survey(found, name) for name, found in opened.items()}
    problems += [problem for split in facts.values() for problem in split.problems]
    return FolderSurvey(root, reading.mask_threshold, facts, problems, _remarks(facts), _duplicates(facts))


def open_splits(root: Path, classes: ClassSet | None, reading: DataOptions) -> tuple[dict[str, Opened], list[str]]:
    """Every split of a data folder that can be opened, by name, and a message for each that cannot.

    Args:
        root: Data folder, split folder or list of names.
        classes: What labels are read as, None = what they hold.
        reading: Layout and threshold.

    Raises:
        UserError: when none can be opened, and when they hold different classes.
    """
    opened, problems, first = {}, [], None
    for role, place in find_places(root, reading.dataset).items():
        try:
            found = open_place(place, classes, reading.dataset, reading.mask_threshold)
            opened[role or (root.stem if root.is_file() else root.resolve().name)] = found
        except UserError as error:
            first = first or error
            problems.append(error.message)
    if first and not opened:
        raise first
    held = {found.split.classes for found in opened.values()}
    if len(held) > 1:
        names = " and ".join(sorted(one.name for one in held))
        raise UserError(f"{root}: the splits contain the classes {names}: read all with the same --classes")
    return opened, problems


def _name(facts: dict[str, SplitFacts], number: int) -> str:
    """Split and stem of an image by its position in the thumbnails of all splits."""
    for name, split in facts.items():
        if number < len(split.images):
            return f"{name}/{split.images[number].pair.stem}"
        number -= len(split.images)
    raise IndexError(number)


def _duplicates(facts: dict[str, SplitFacts]) -> list[dict[str, Any]]:
    if len(facts) < 2:
        return []
    groups = [number for number, split in enumerate(facts.values()) for _ in split.images]

    def named(pair: Duplicate) -> dict[str, Any]:
        first, second = _name(facts, pair.first), _name(facts, pair.second)
        return {
            "first": first,
            "second": second,
            "distance": pair.distance,
            "correlation": round(pair.correlation, 4),
        }

    return [named(pair) for pair in near_duplicates(thumbnails(list(facts.values())), groups)]


def _remarks(facts: dict[str, SplitFacts]) -> list[str]:
    found = [f"{name}: {remark}" for name, split in facts.items() for remark in split.remarks]
    if "train" in facts and "val" not in facts:
        found.append("there is no val split: training holds out a tenth of train")
    return found


def _split_content(facts: SplitFacts) -> dict[str, Any]:
    extremes = facts.extremes or (None, None)
    return {
        "folder": str(facts.split.folder),
        "dataset": facts.split.dataset,
        "layout": facts.split.layout,
        "description": facts.split.describe(),
        "images": len(facts.images),
        "sizes": dict(facts.sizes),
        "smallest": extremes[0],
        "largest": extremes[1],
        "pixel_share": dict(zip(facts.classes.classes, facts.shares, strict=True)),
        "ignored_share": facts.ignored,
        "without_defect": facts.empty,
        "between_black_and_white": facts.between,
    }
