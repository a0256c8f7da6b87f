"""``prune.dataset``: what a data set contains, its problems, and a contact sheet."""

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.data.folder_survey import FolderSurvey, survey_folder
from prune.data.mask_files import classes_called
from prune.data.sampling import evenly_spread
from prune.data.settings import SurveySettings
from prune.data.split_lists import split_folder
from prune.data.survey import SplitFacts
from prune.files import check_writable, write_json
from prune.options import settings_from, with_settings
from prune.progress import progress
from prune.report.contact import Section, contact_sheet, draw_tile
from prune.report.figures import save_image
from prune.report.paper import share_text
from prune.tables import text_table

SHOWN = 8
"""Problems and pairs of duplicates listed on the screen; the JSON has all."""


@dataclass(frozen=True)
class DatasetResult(FolderSurvey):
    """What was found in a data folder, and the files it was written to.

    Args:
        files: What was written.
    """

    files: list[Path] = field(default_factory=list)

    def contact_sheet(self, images: int = 12, *, palette: str = "standard") -> NDArray[np.uint8]:
        """Photographs with their labels outlined, uint8 (H, W, 3): as many of every split, evenly spread over it.

        Args:
            images: How many.
            palette: Colors of the classes, ``standard`` or ``colorblind``.

        Raises:
            TypeError, UserError: for an unknown palette.
        """
        return _sheet(self.facts, images, palette)

    def __str__(self) -> str:
        lines = ["", _table(self.facts), ""]
        lines += _listing("problem", self.problems) + _listing("remark", self.remarks)
        pairs = [
            f"{d['first']} = {d['second']} ({d['distance']} bits, {d['correlation']:.2f})" for d in self.duplicates
        ]
        if len(self.facts) > 1:
            lines += _listing("near-duplicate", pairs) or ["no near-duplicates across splits"]
        return "\n".join([*lines, *(f"written to {file}" for file in self.files)])

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


@with_settings(SurveySettings)
def dataset(folder: str | Path, *, output: str | Path | None = None, **settings: Any) -> DatasetResult:
    """Read every image and label of a data set once; find problems and duplicates across splits.

    Args:
        folder: Data folder, split folder or list of names, in any known layout.
        output: Folder to write dataset.json and contact.png into; None = write neither.
        settings: Fields of ``prune.data.settings.SurveySettings``: ``classes``, ``dataset`` (the layout),
            ``mask_threshold``, ``sheet`` (photographs on the contact sheet), ``palette`` (its colors) and ``split`` (percents such as
            ``"70,10,20"``: write train.txt, val.txt and test.txt beside the images of a folder without splits).

    Raises:
        TypeError: for a folder that is no path, and an unknown argument.
        UserError: when no split can be opened, or lists cannot be written.
    """
    if not isinstance(folder, (str, Path)):
        raise TypeError(f"folder: expected a path, found {type(folder).__name__}")
    how, root = settings_from(SurveySettings, "dataset", settings), Path(folder)
    files = split_folder(root, how, how.shares) if how.split else []
    if output is not None:
        check_writable(Path(output))
    found = survey_folder(root, classes_called(how.classes) if how.classes else None, how)
    result = DatasetResult(**vars(found), files=files)
    if output is None:
        return result
    files.append(write_json(Path(output) / "dataset.json", result.to_json()))
    if how.sheet and any(split.images for split in result.facts.values()):
        files.append(save_image(result.contact_sheet(how.sheet, palette=how.palette), Path(output) / "contact.png"))
    return result


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
        f"{empty} ({empty / count:.0%})" if empty else 0,
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


def _sheet(facts: dict[str, SplitFacts], count: int, palette: str) -> NDArray[np.uint8]:
    """The contact sheet: ``count`` photographs, as many of every split, evenly spread over it."""
    shown = {name: split for name, split in facts.items() if split.images}
    classes = next(iter(shown.values())).classes.recolored(palette, on_photograph=True)
    sections = []
    for number, (name, split) in enumerate(shown.items()):
        wanted = count // len(shown) + (number < count % len(shown))
        tiles = []
        for index in progress(evenly_spread(len(split.images), wanted), f"drawing {name}"):
            pair = split.images[index].pair
            image, label = split.split.read_image(pair), split.split.read_label(pair)
            tiles.append(draw_tile(image, label, classes, pair.stem))
        if tiles:
            sections.append(Section(f"{name}: {len(tiles)} of {len(split.images)} images", tiles))
    return contact_sheet(sections, classes)
