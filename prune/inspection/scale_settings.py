"""How the size of a pixel on the surface is found; light enough for ``--help``."""

from dataclasses import dataclass, fields

from prune.errors import UserError
from prune.options import check, flag_of, option


@dataclass(frozen=True)
class ScaleSettings:
    """Where the scale of the photographs comes from: at most one of these; none = lengths in px only."""

    mm_per_pixel: str | None = option(
        None, "size of a pixel on the surface in mm, or a CSV file with the columns image,mm_per_pixel", metavar="MM"
    )
    distance_m: float | None = option(
        None, "distance from the camera to the surface in m; focal length and sensor are read from EXIF", metavar="M"
    )
    points: str | None = option(
        None,
        "CSV file with the columns image,x,y,x_mm,y_mm: two points on a surface give its scale, four or more rectify an oblique view",
        metavar="FILE",
    )
    square_mm: float | None = option(None, "side of the squares of a checkerboard on the surface in mm", metavar="MM")
    target_mm: float | None = option(
        None, "side of the square targets that the network finds as Control Point, in mm", metavar="MM"
    )

    def __post_init__(self) -> None:
        check(self)
        flags = {f.name: flag_of(f) for f in fields(ScaleSettings)}
        for name in ("distance_m", "square_mm", "target_mm"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise UserError(f"{flags[name]}: expected a number above 0, found {getattr(self, name)}")
        given = [flag for name, flag in flags.items() if getattr(self, name) is not None]
        if len(given) > 1:
            raise UserError(f"{given[1]}: expected one source of the scale, found {' and '.join(given)}")
