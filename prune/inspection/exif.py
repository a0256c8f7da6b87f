"""What a photograph says about itself: lens, sensor, position and time, as far as its file knows; needs Pillow only."""

import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from prune.errors import UserError, first_line

FILM_DIAGONAL_MM = math.hypot(36, 24)
"""Diagonal of 35-mm film. Cameras state the equivalent focal length by the angle of view along it (CIPA DCG-001)."""
UNITS_MM = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
"""Millimeters of the EXIF units of length: inch, cm, mm, µm."""
SAME_RATIO = 0.01
"""Photographs whose aspect ratio differs by less from that of the camera were resized, others were cropped."""


@dataclass(frozen=True)
class PhotoFacts:
    """What the EXIF data of a photograph say; None is what they do not say.

    Args:
        width: Of the stored picture in px, before it is turned upright.
        height: Likewise.
        orientation: EXIF orientation, 1 = stored upright.
        focal_mm: Focal length of the lens in mm.
        focal_35_mm: Focal length in mm of a lens with the same angle of view on 35-mm film.
        pitch_mm: Side of the sensor's area that became one pixel of this picture, in mm.
        camera_size: Width and height in px as the camera took it; differs when the picture was resized or cropped.
        latitude: Degrees north (WGS84).
        longitude: Degrees east (WGS84).
        altitude_m: Meters above sea level.
        time: When it was taken, by the camera's clock.
        camera: Make and model, empty = unknown.
    """

    width: int
    height: int
    orientation: int = 1
    focal_mm: float | None = None
    focal_35_mm: float | None = None
    pitch_mm: float | None = None
    camera_size: tuple[int, int] | None = None
    latitude: float | None = None
    longitude: float | None = None
    altitude_m: float | None = None
    time: datetime | None = None
    camera: str = ""

    @property
    def position(self) -> tuple[float, float] | None:
        """Latitude and longitude in degrees (WGS84), None = unknown."""
        if self.latitude is None or self.longitude is None:
            return None
        return self.latitude, self.longitude

    @property
    def pixel_angle(self) -> float | None:
        """Side of a pixel on a surface at distance 1, in the middle of the picture; None = unknown.

        From the focal length f and the pixel pitch p of the sensor, p / f; else from the equivalent focal length and
        the diagonal of the picture in px, 43.27 mm / (f35 · diagonal).
        """
        if self.focal_mm and self.pitch_mm:
            return self.pitch_mm / self.focal_mm
        if self.focal_35_mm is None:
            return None
        size = (self.width, self.height)
        whole = size if self.camera_size is None or _shrunk(size, self.camera_size) else self.camera_size
        return FILM_DIAGONAL_MM / (self.focal_35_mm * math.hypot(*whole))

    @property
    def missing(self) -> tuple[str, ...]:
        """What a survey would use and the file does not say, in words."""
        lens = () if self.pixel_angle else ("focal length and sensor size",)
        return (*lens, *(() if self.position else ("GPS position",)))


def read_exif(file: str | Path) -> PhotoFacts:
    """Read what a photograph says about itself, from its header alone.

    Damaged entries count as missing, since programs along the way damage them often.

    Raises:
        UserError: for a file that is no readable image.
    """
    try:
        with Image.open(file) as image:
            size, exif = image.size, image.getexif()
            taken, gps = _part(exif, ExifTags.IFD.Exif), _part(exif, ExifTags.IFD.GPSInfo)
            top = dict(exif)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{file}: expected a readable image, found: {first_line(error)}") from error
    as_taken = tuple(_number(taken.get(tag)) for tag in (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight))
    camera_size = (int(as_taken[0]), int(as_taken[1])) if as_taken[0] and as_taken[1] else None
    altitude = _number(gps.get(ExifTags.GPS.GPSAltitude), low=None)
    below = gps.get(ExifTags.GPS.GPSAltitudeRef) in (1, b"\x01")
    return PhotoFacts(
        *size,
        orientation=_orientation(top.get(ExifTags.Base.Orientation)),
        focal_mm=_number(taken.get(ExifTags.Base.FocalLength)),
        focal_35_mm=_number(taken.get(ExifTags.Base.FocalLengthIn35mmFilm)),
        pitch_mm=_pitch(taken, size, camera_size),
        camera_size=camera_size,
        latitude=_degrees(gps.get(ExifTags.GPS.GPSLatitude), gps.get(ExifTags.GPS.GPSLatitudeRef), 90),
        longitude=_degrees(gps.get(ExifTags.GPS.GPSLongitude), gps.get(ExifTags.GPS.GPSLongitudeRef), 180),
        altitude_m=-altitude if altitude is not None and below else altitude,
        time=_time(taken.get(ExifTags.Base.DateTimeOriginal)) or _time(top.get(ExifTags.Base.DateTime)),
        camera=_camera(top),
    )


def _part(exif: Image.Exif, name: int) -> dict[int, Any]:
    """One directory of the EXIF data, empty when it is missing or damaged."""
    try:
        return dict(exif.get_ifd(name))
    except Exception:  # Pillow raises whatever its parser stumbles over
        return {}


def _number(value: Any, low: float | None = 0) -> float | None:
    """A finite number above ``low``, None = there is none."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) and (low is None or number > low) else None


def _orientation(value: Any) -> int:
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _shrunk(size: tuple[int, int], camera_size: tuple[int, int]) -> bool:
    """Whether a picture of ``size`` shows all the camera took at ``camera_size``; otherwise it was cropped.

    Programs that turn pictures upright often leave the size as the camera wrote it, so the longer sides are compared.
    """
    long, short = max(camera_size) / max(size), min(camera_size) / min(size)
    return abs(long / short - 1) < SAME_RATIO


def _pitch(taken: dict[int, Any], size: tuple[int, int], camera_size: tuple[int, int] | None) -> float | None:
    """Side in mm of the sensor's area that became one pixel, from the resolution in the focal plane."""
    density = _number(taken.get(ExifTags.Base.FocalPlaneXResolution))
    unit = UNITS_MM.get(taken.get(ExifTags.Base.FocalPlaneResolutionUnit, 2))
    if density is None or unit is None:
        return None
    resized = max(camera_size) / max(size) if camera_size and _shrunk(size, camera_size) else 1.0
    return unit / density * resized


def _degrees(value: Any, side: Any, largest: float) -> float | None:
    """Degrees from degrees, minutes and seconds and a letter for the side; None when they are no place on Earth."""
    try:
        parts = [float(part) for part in value]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    letter = side.decode("ascii", "replace") if isinstance(side, bytes) else str(side or "")
    degrees = sum(part / 60**i for i, part in enumerate(parts[:3]))
    if not parts or not 0 <= degrees <= largest or letter.strip("\0 ").upper() not in ("N", "S", "E", "W"):
        return None
    return -degrees if letter.strip("\0 ").upper() in ("S", "W") else degrees


def _time(value: Any) -> datetime | None:
    try:
        return datetime.strptime(str(value).strip("\0 "), "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None


def _camera(top: dict[int, Any]) -> str:
    """Make and model; the model alone where it begins with the make."""
    make, model = (
        str(top.get(tag, "") or "").replace("\0", " ").strip() for tag in (ExifTags.Base.Make, ExifTags.Base.Model)
    )
    return model if model.lower().startswith(make.lower()) else f"{make} {model}".strip()
