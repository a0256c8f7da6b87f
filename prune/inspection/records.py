"""What a survey keeps of a photograph: plain values that go into its JSON record and come back unchanged."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.inspection.cracks import Crack
from prune.shapes import Each, Many, Maybe

VERSION = 1
"""Of the record; one of another version is made again."""
LINE_TOLERANCE = 0.75
"""px: how far a stored center line may be from the measured one; single pixels of the staircase are left out."""
MEASURES = ("length_px", "width_mean_px", "width_p95_px", "width_max_px")
"""Of a crack, in px."""

Line = tuple[tuple[int, int], ...]
SHAPE = {
    "name": str,
    "file": str,
    "width": int,
    "height": int,
    "shot": {
        "mm_per_pixel": Maybe(float),
        "scale_from": str,
        "position": Maybe({"latitude": float, "longitude": float, "altitude_m": Maybe(float)}),
        "notes": Many(str),
    },
    "cracks": Many(
        {
            **dict.fromkeys(("number", "area_px", "branches"), int),
            **dict.fromkeys((*MEASURES[1:], "orientation", "tortuosity", "probability"), Maybe(float)),
            "length_px": float,
            **dict.fromkeys(("width_max_at", "box"), Many(int)),
            "lines": Many(Many(Many(int))),
        }
    ),
    "areas": Many({"class_name": str, "area_px": int, "pieces": Maybe(int)}),
    "unlike": Maybe(float),
    "files": Each(str),
}
"""What the record of a photograph holds as JSON."""


@dataclass(frozen=True)
class Position:
    """Where a photograph was taken, WGS 84: degrees north and east, and meters above the sea where that is known."""

    latitude: float
    longitude: float
    altitude_m: float | None = None


@dataclass(frozen=True)
class Shot:
    """What is known of a photograph beside its pixels.

    Args:
        mm_per_pixel: Side of a pixel on the surface, None = unknown: then no millimeters appear.
        scale_from: How that is known, as a short sentence.
        position: Where it was taken, None = unknown.
        notes: What is to be said of this file.
    """

    mm_per_pixel: float | None = None
    scale_from: str = ""
    position: Position | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CrackRecord:
    """One crack, measured as ``prune.inspection.cracks.Crack`` says; None = unknown.

    Args:
        number: 1 for the longest of its photograph; together with the photograph's name its id.
        length_px: All branches summed.
        width_mean_px: Along the line.
        width_p95_px: Its 95th percentile.
        width_max_px: The largest.
        width_max_at: Row and column there.
        orientation: Degrees, 0 = horizontal, 90 = vertical.
        tortuosity: Length over distance of the ends.
        area_px: Pixels of its mask.
        box: Top, left, height and width in px.
        branches: 1 = no junction.
        probability: Mean over its pixels.
        lines: Rows and columns along the center lines of its branches.
    """

    number: int
    length_px: float
    width_mean_px: float | None
    width_p95_px: float | None
    width_max_px: float | None
    width_max_at: tuple[int, int]
    orientation: float | None
    tortuosity: float | None
    area_px: int
    box: tuple[int, int, int, int]
    branches: int
    probability: float | None
    lines: tuple[Line, ...]

    @classmethod
    def of(cls, crack: Crack) -> "CrackRecord":
        """The record of a measured crack."""
        known: dict[str, Any] = {
            name: _known(getattr(crack, name)) for name in (*MEASURES[1:], "orientation", "tortuosity")
        }
        whole: dict[str, Any] = {
            name: getattr(crack, name) for name in ("number", "width_max_at", "area_px", "box", "branches")
        }
        lines = tuple(simplified(segment.line) for segment in crack.segments)
        return cls(length_px=crack.length_px, probability=_known(crack.probability), lines=lines, **known, **whole)

    def numbered(self, number: int) -> "CrackRecord":
        """The same crack under another number."""
        return replace(self, number=number)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "CrackRecord":
        """The record that ``dataclasses.asdict`` and JSON made plain values of.

        Raises:
            KeyError, TypeError, ValueError: for incomplete values.
        """
        if len(content["width_max_at"]) != 2 or len(content["box"]) != 4:
            raise ValueError(f"a crack in the box {content['box']}")
        lines = tuple(tuple((row, column) for row, column in line) for line in content["lines"])
        pairs = {name: tuple(content[name]) for name in ("width_max_at", "box")}
        return cls(**{**content, **pairs, "lines": lines})


@dataclass(frozen=True)
class AreaRecord:
    """How much of a photograph a class other than the crack covers: pixels, and 8-connected pieces, None = not counted."""

    class_name: str
    area_px: int
    pieces: int | None


@dataclass(frozen=True)
class PhotoRecord:
    """What was found in one photograph.

    Args:
        name: Of the photograph within the survey: subfolder and stem, unique.
        file: Its path as it was given.
        width: In px.
        height: In px.
        shot: Scale and position.
        cracks: The longest first.
        areas: Of the other defects, the largest first.
        unlike: How unlike the photographs the network was tested on it is, see ``prune.inspection.likeness``: 1 and above
            gets a warning; None = not known.
        files: What was written, ``mask`` and ``overlay``, as paths in the survey's folder.
    """

    name: str
    file: str
    width: int
    height: int
    shot: Shot
    cracks: tuple[CrackRecord, ...]
    areas: tuple[AreaRecord, ...]
    unlike: float | None
    files: Mapping[str, str]

    @property
    def length_px(self) -> float:
        """Of all cracks."""
        return sum(crack.length_px for crack in self.cracks)

    @property
    def widest(self) -> CrackRecord | None:
        """The crack with the largest width, None without any."""
        return max(self.cracks, key=lambda crack: crack.width_max_px or 0.0, default=None)

    @property
    def width_max_px(self) -> float | None:
        """The largest width in px, None where none is known."""
        return None if self.widest is None else self.widest.width_max_px

    def share(self, area: AreaRecord) -> float:
        """The share (0…1) of the photograph that an area covers."""
        return area.area_px / (self.width * self.height)

    def to_json(self) -> dict[str, Any]:
        """Plain values; center lines are many, and plain already."""
        cracks = [{**vars(crack)} for crack in self.cracks]
        return {**asdict(replace(self, cracks=())), "cracks": cracks}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "PhotoRecord":
        """The record that ``to_json`` made plain values of.

        Raises:
            KeyError, TypeError, ValueError: for incomplete values.
        """
        if content["width"] < 1 or content["height"] < 1:
            raise ValueError(f"a photograph of {content['width']}x{content['height']} px")
        for name in content["files"].values():
            if ".." in Path(name).parts or Path(name).is_absolute():
                raise ValueError(f"the file {name} outside the survey")
        stored = dict(content["shot"])
        position = stored["position"] and Position(**stored["position"])
        shot = Shot(**{**stored, "position": position, "notes": tuple(stored["notes"])})
        cracks = tuple(map(CrackRecord.from_json, content["cracks"]))
        areas = tuple(AreaRecord(**area) for area in content["areas"])
        return cls(**{**content, "shot": shot, "cracks": cracks, "areas": areas})


@dataclass(frozen=True)
class Broken:
    """A photograph that could not be surveyed: its path and the cause in one line."""

    file: str
    cause: str


@dataclass(frozen=True)
class Source:
    """A photograph to be surveyed.

    Args:
        file: Where it lies.
        name: Unique within the survey.
        shown: What reports call its file, empty = its path.
    """

    file: Path
    name: str
    shown: str = ""

    @property
    def label(self) -> str:
        """What reports call its file."""
        return self.shown or str(self.file)

    def broken(self, message: str) -> Broken:
        """It could not be surveyed, for a reason that may name its path."""
        return Broken(self.label, message.replace(str(self.file), self.label))


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def simplified(line: NDArray[np.integer[Any]], tolerance: float = LINE_TOLERANCE) -> Line:
    """The points of a line int (N, 2) that are needed to stay within ``tolerance`` px of all of it."""
    return tuple((int(line[place][0]), int(line[place][1])) for place in needed(line, tolerance))


def needed(line: NDArray[Any], tolerance: float) -> list[int]:
    """Which points of a line (N, 2) are needed to stay within ``tolerance`` of all of it; the first and the last are.

    Douglas and Peucker (1973).
    """
    rows, columns = np.ascontiguousarray(np.asarray(line, float).T)
    kept, parts = {0, len(line) - 1}, [(0, len(line) - 1)]
    while parts:
        first, last = parts.pop()
        if last - first < 2:
            continue
        inner = slice(first + 1, last)
        down, right = rows[inner] - rows[first], columns[inner] - columns[first]
        chord = rows[last] - rows[first], columns[last] - columns[first]
        length = np.hypot(*chord)
        away = np.abs(down * chord[1] - right * chord[0]) if length else np.hypot(down, right)
        farthest = int(away.argmax())
        if away[farthest] / (length or 1.0) > tolerance:
            middle = first + 1 + farthest
            kept.add(middle)
            parts += [(first, middle), (middle, last)]
    return sorted(kept)
