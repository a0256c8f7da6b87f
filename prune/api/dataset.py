"""``python -m prune dataset``: what a data set holds, what is wrong with it, and how it looks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from prune.api.defaults import data_folder
from prune.cli.dataset import DatasetOptions
from prune.data.duplicates import Duplicate, near_duplicates
from prune.data.find_split import SPLITS, Opened, Split, find_places, open_place
from prune.data.mask_files import classes_called
from prune.data.split import cut_in_blocks, in_order
from prune.data.survey import SplitFacts, survey, thumbnails
from prune.errors import PartlyDone, UserError
from prune.files import RESULTS, check_writable, write_json, write_text
from prune.report.contact import Section, contact_sheet, draw_tile, sheet_classes
from prune.report.figures import save_image, share_text
from prune.tables import text_table

OUTPUT = RESULTS / "datasets"
SHOWN = 8
"""Problems and pairs of duplicates listed on the screen; the JSON has all."""


@dataclass(frozen=True)
class DatasetResult:
    """What was found, and where it is written.

    Args:
        facts: Splits by name.
        problems: What makes files unusable, one message each.
        remarks: What is odd.
        duplicates: Pairs of names that look alike across splits, with their distance and correlation.
        files: What was written.
    """

    facts: dict[str, SplitFacts]
    problems: list[str]
    remarks: list[str]
    duplicates: list[dict[str, Any]]
    files: list[Path]

    def __str__(self) -> str:
        lines = ["", _table(self.facts), ""]
        lines += _listing("problem", self.problems) + _listing("remark", self.remarks)
        pairs = [
            f"{d['first']} = {d['second']} ({d['distance']} bits, {d['correlation']:.2f})" for d in self.duplicates
        ]
        if len(self.facts) > 1:
            lines += _listing("near-duplicate", pairs) or ["no near-duplicates across splits"]
        return "\n".join([*lines, *(f"written to {file}" for file in self.files)])


def _listing(what: str, messages: Sequence[str]) -> list[str]:
    """A heading with the number of messages, and the first of them."""
    if not messages:
        return []
    more = [f"  … and {len(messages) - SHOWN} more"] if len(messages) > SHOWN else []
    plural = "" if len(messages) == 1 else "s"
    return [f"{len(messages)} {what}{plural}", *(f"  {message}" for message in messages[:SHOWN]), *more]


def _column(facts: SplitFacts) -> list[Any]:
    sizes, extremes, count = facts.sizes, facts.extremes, len(facts.images)
    common = f"{sizes[0][0]} ({sizes[0][1]})" if len(sizes) > 1 else sizes[0][0] if sizes else None
    empty = len(facts.empty)
    shares = [share_text(share) if share else "0" for share in facts.shares]
    return [
        count,
        common,
        *(extremes if extremes and len(sizes) > 1 else (None, None)),
        f"{empty} ({empty / count:.0%})".replace("%", " %") if empty else 0,
        *shares,
        share_text(facts.ignored) if facts.ignored else "0",
    ]


def _table(facts: dict[str, SplitFacts]) -> str:
    """One column per split: images, sizes, images without any defect, share of every class."""
    classes = next(iter(facts.values())).classes
    titles = ["images", "size in px (most common)", "smallest", "largest", "images without defect"]
    titles += [*classes.classes, "ignored"]
    columns = [_column(split) for split in facts.values()]
    rows = [[title, *cells] for title, *cells in zip(titles, *columns, strict=True)]
    blank = ("smallest", "largest", "ignored")
    rows = [row for row in rows if row[0] not in blank or any(cell not in (None, "0") for cell in row[1:])]
    return text_table(["", *facts], rows, "l" + "r" * len(columns))


def _open(root: Path, config: DatasetOptions) -> tuple[dict[str, Opened], list[str]]:
    """Every split that can be opened, by name, and a message for each that cannot."""
    classes = classes_called(config.classes) if config.classes else None
    opened, problems, first = {}, [], None
    for role, place in find_places(root, config.dataset).items():
        try:
            found = open_place(place, classes, config.dataset, config.mask_threshold)
            opened[role or (root.stem if root.is_file() else root.resolve().name)] = found
        except UserError as error:
            first = first or error
            problems.append(error.message)
    if first and not opened:
        raise first
    sets = {split.split.classes for split in opened.values()}
    if len(sets) > 1:
        names = " and ".join(sorted(classes.name for classes in sets))
        raise UserError(f"{root}: the splits hold the classes {names}: read them alike with --classes")
    return opened, problems


def write_lists(split: Split, shares: Sequence[float]) -> list[Path]:
    """Write train.txt, val.txt and test.txt beside the images of an unsplit folder, and return them.

    Neighbors stay together: every list consists of blocks of consecutive names, spread over the whole set.

    Args:
        split: All images.
        shares: Of train, val and test, 0…1; a split with a share of 0 gets no list.

    Raises:
        UserError: when a list would be empty or exists.
    """
    by_stem = {pair.stem: pair for pair in split.pairs}
    names = [by_stem[stem].image.name for stem in in_order(by_stem)]
    parts = cut_in_blocks(len(names), shares)
    files = {role: split.folder / f"{role}.txt" for role, share in zip(SPLITS, shares, strict=True) if share}
    for role, file in files.items():
        if file.exists():
            raise UserError(f"--split: {file} exists already and is not overwritten")
        if not (parts == SPLITS.index(role)).any():
            raise UserError(f"--split: of {len(names)} images none is left for {role}")
    for role, file in files.items():
        chosen = [name for name, part in zip(names, parts, strict=True) if part == SPLITS.index(role)]
        write_text(file, "\n".join(chosen) + "\n")
    return list(files.values())


def _write_lists(root: Path, config: DatasetOptions) -> list[Path]:
    places = find_places(root, config.dataset)
    if "" not in places or root.is_file():
        kind = "a list of names" if root.is_file() else f"the splits {', '.join(places)}"
        raise UserError(f"--split: expected a folder without splits, found {kind} in {root}")
    opened, _ = _open(root, config)
    return write_lists(next(iter(opened.values())).split, config.shares)


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
        found.append("there is no val split: training holds a tenth of train out")
    return found


def _sheet(facts: dict[str, SplitFacts], count: int) -> Any:
    """The contact sheet: ``count`` photographs, as many of every split, evenly spread over it."""
    shown = {name: split for name, split in facts.items() if split.images}
    classes = sheet_classes(next(iter(shown.values())).classes)
    sections = []
    for number, (name, split) in enumerate(shown.items()):
        wanted = count // len(shown) + (number < count % len(shown))
        total = len(split.images)
        spread = np.unique(np.linspace(0, total - 1, min(wanted, total) + 2).round().astype(int)[1:-1])
        chosen = spread if total > wanted else range(total)
        tiles = []
        for index in tqdm(chosen, desc=f"drawing {name}", unit="image", leave=False):
            pair = split.images[index].pair
            image, label = split.split.read_image(pair), split.split.read_label(pair)
            tiles.append(draw_tile(image, label, classes, pair.stem))
        if tiles:
            sections.append(Section(f"{name}: {len(tiles)} of {total} images", tiles))
    return contact_sheet(sections, classes)


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


def dataset(config: DatasetOptions) -> DatasetResult:
    """Read every image and label once, look for problems and duplicates, write the JSON and the contact sheet.

    Raises:
        UserError: when no split can be opened, or lists cannot be written.
    """
    root = Path(config.folder) if config.folder else data_folder()
    output = Path(config.output) if config.output else OUTPUT / root.resolve().name.removesuffix(".txt")
    lists = _write_lists(root, config) if config.split else []
    opened, problems = _open(root, config)
    check_writable(output)
    for name, found in opened.items():
        print(f"{name:8} {len(found.split.pairs)} images in {found.split.folder}: {found.split.describe()}")
    facts = {name: survey(found, name) for name, found in opened.items()}
    problems += [problem for split in facts.values() for problem in split.problems]
    result = DatasetResult(facts, problems, _remarks(facts), _duplicates(facts), lists)
    content = {
        "folder": str(root),
        "mask_threshold": config.mask_threshold,
        "splits": {name: _split_content(split) for name, split in facts.items()},
        "problems": problems,
        "remarks": result.remarks,
        "duplicates": result.duplicates,
    }
    files = [*lists, write_json(output / "dataset.json", content)]
    if config.sheet and any(split.images for split in facts.values()):
        files.append(save_image(_sheet(facts, config.sheet), output / "contact.png"))
    return replace(result, files=files)


def run(config: DatasetOptions) -> None:
    """Look through the data set and print what was found.

    Raises:
        PartlyDone: when some of the files cannot be used; everything is written nevertheless.
    """
    result = dataset(config)
    print(result)
    if result.problems:
        raise PartlyDone(f"{len(result.problems)} problems make files unusable, first: {result.problems[0]}")
