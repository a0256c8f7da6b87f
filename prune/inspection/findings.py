"""All that a survey found, and its sums: what tables, maps and the report are made of."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prune.data.labels import ClassSet
from prune.inspection.dates import PhotoGrowth
from prune.inspection.known_errors import KnownErrors
from prune.inspection.records import Broken, CrackRecord, PhotoRecord
from prune.inspection.wording import RESOLUTION_PX

UNLIKE = 1.0
"""From this value of ``PhotoRecord.unlike`` on a photograph gets a warning."""


@dataclass(frozen=True)
class About:
    """How a survey was made.

    Args:
        title: Of the report.
        begun: Date, ISO 8601.
        network: What found the defects, in words.
        crack: The class that is measured as cracks.
        classes: All classes, the background first.
        settings: Everything that the measurements depend on, by name.
        errors: What is known about the measurements of the network, None = nothing.
        min_length: Shorter cracks were left out, in px.
        facts: More about the network, as lines by heading.
    """

    title: str
    begun: str
    network: str
    crack: str
    classes: ClassSet
    settings: dict[str, str]
    errors: KnownErrors | None
    min_length: float
    facts: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Findings:
    """A survey that is complete.

    Args:
        folder: Where its files lie.
        about: How it was made.
        photos: Those that were surveyed, in their order.
        broken: The others.
        growth: The photographs compared with an earlier survey; empty = there is none.
        since: Date of that survey.
    """

    folder: Path
    about: About
    photos: Sequence[PhotoRecord]
    broken: Sequence[Broken]
    growth: Sequence[PhotoGrowth] = ()
    since: str = ""

    @property
    def cracks(self) -> list[tuple[PhotoRecord, CrackRecord]]:
        """Every crack with its photograph, in the order of the photographs."""
        return [(photo, crack) for photo in self.photos for crack in photo.cracks]

    @property
    def scaled(self) -> bool:
        """Whether the scale of any photograph is known."""
        return any(photo.shot.mm_per_pixel is not None for photo in self.photos)

    @property
    def placed(self) -> bool:
        """Whether the position of any photograph is known."""
        return any(photo.shot.position is not None for photo in self.photos)

    @property
    def length_px(self) -> float:
        """Of all cracks."""
        return sum(photo.length_px for photo in self.photos)

    @property
    def length_mm(self) -> float | None:
        """Of all cracks in photographs with a scale, None where none has one."""
        lengths = [photo.length_px * photo.shot.mm_per_pixel for photo in self.photos if photo.shot.mm_per_pixel]
        return sum(lengths) if self.scaled else None

    @property
    def unscaled(self) -> list[PhotoRecord]:
        """Photographs without a scale."""
        return [photo for photo in self.photos if photo.shot.mm_per_pixel is None]

    @property
    def unlike(self) -> list[PhotoRecord]:
        """Photographs unlike those that the network was tested on."""
        return [photo for photo in self.photos if photo.unlike is not None and photo.unlike >= UNLIKE]

    @property
    def unresolved(self) -> int:
        """Cracks whose mean width is below the resolution limit."""
        return sum((crack.width_mean_px or RESOLUTION_PX) < RESOLUTION_PX for _, crack in self.cracks)

    def areas(self) -> dict[str, tuple[int, float]]:
        """Pixels, and share (0…1) of all photographs, of every class of areal defects, the largest first."""
        total = sum(photo.width * photo.height for photo in self.photos)
        pixels: dict[str, int] = {}
        for photo in self.photos:
            for area in photo.areas:
                pixels[area.class_name] = pixels.get(area.class_name, 0) + area.area_px
        return {name: (count, count / total) for name, count in sorted(pixels.items(), key=lambda one: -one[1])}


def crack_id(photo: PhotoRecord, crack: CrackRecord) -> str:
    """What a crack is called in every file of a survey."""
    return f"{photo.name}-{crack.number}"
