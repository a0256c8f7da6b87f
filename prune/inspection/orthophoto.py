"""Orthophotos of any size: read by windows and placed on the map. Needs rasterio (extra ``geo``)."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from prune.errors import UserError, first_line
from prune.inspection.geo_files import CoordinateSystem
from prune.inspection.scale import Scale

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
SUFFIXES = (".tif", ".tiff")
GEO_TAGS = (33550, 34264, 34735)
"""TIFF tags of a picture that lies on a map: size of a pixel, matrix, coordinate system."""
CACHE, LARGEST_CACHE = 64 * 2**20, 512 * 2**20
"""Bytes for decoded blocks, at least and at most; the library takes a share of the machine's memory by itself."""
CACHED_ROWS = 2048
"""Rows of a file that is stored in strips, not in tiles, that are kept: a strip is as wide as the file, and every window in
a row of windows needs it again."""
WGS84 = "EPSG:4326"
EQUATOR_M, FLATTENING = 6378137.0, 1 / 298.257223563
"""Radius of the equator and flattening of the WGS 84 ellipsoid."""
DISTORTED = 0.01
"""Maps whose unit differs by more from a meter on the ground (Web Mercator) are corrected."""
NOT_SQUARE = 0.01
"""Pixels whose sides differ by more are mentioned."""


def is_orthophoto(path: str | Path, megapixels: float = math.inf) -> bool:
    """Whether a file is a TIFF that lies on a map, or one of more than ``megapixels``; needs Pillow only.

    A file that cannot be read is none: whoever reads it as a photograph says why.
    """
    if Path(path).suffix.lower() not in SUFFIXES or Path(path).name.startswith("."):
        return False
    try:
        with Image.open(path) as image:
            tags: Any = getattr(image, "tag_v2", {})
            return any(tag in tags for tag in GEO_TAGS) or image.width * image.height > 1e6 * megapixels
    except (OSError, SyntaxError, ValueError):
        return False


class Orthophoto:
    """A GeoTIFF that is read by windows; memory does not depend on its size.

    Args:
        file: Its path; 8 or 16 bits, gray or with at least three bands.

    Raises:
        UserError: for a file that is no readable TIFF, other numbers than 8 or 16 bits, and rasterio missing.
    """

    def __init__(self, file: str | Path) -> None:
        rasterio = rasterio_package()
        self.file = Path(file)
        if not self.file.is_file():
            raise UserError(f"{file}: no such file")
        self._data = open_geotiff(file)
        kinds = set(self._data.dtypes)
        if not kinds <= {"uint8", "uint16"}:
            self._data.close()
            raise UserError(f"{file}: expected 8- or 16-bit integers, found {', '.join(sorted(kinds))}")
        self._memory = rasterio.Env(GDAL_CACHEMAX=cache_bytes(self._data))
        self._memory.__enter__()

    def __enter__(self) -> "Orthophoto":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._data.close()
        self._memory.__exit__(None, None, None)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in px."""
        return self._data.height, self._data.width

    @property
    def placed(self) -> bool:
        """Whether it says where on the map it lies: it has a coordinate system and a place in it."""
        return self._data.crs is not None and not self._data.transform.is_identity

    @property
    def profile(self) -> dict[str, Any]:
        """What a GeoTIFF of the same place and size needs: height, width, coordinate system, transform."""
        return {name: self._data.profile.get(name) for name in ("height", "width", "crs", "transform")}

    def read(self, rows: slice, columns: slice) -> tuple[Picture, Mask]:
        """The pixels of a window uint8 (h, w, 3), RGB, and which of them show anything, bool (h, w)."""
        window = window_of(rows, columns)
        with self._readable():
            values = self._data.read(self._bands, window=window)
            shown = self._data.dataset_mask(window=window) > 0
        return _picture(values), shown

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Name the file when its pixels cannot be read."""
        try:
            yield
        except Exception as error:  # the library's own classes are private
            raise UserError(f"{self.file}: expected readable pixels, found: {first_line(error)}") from error

    def overview(self, side: int = 2000) -> Picture:
        """The whole picture uint8 (h, w, 3), RGB, reduced so that its longer side has at most ``side`` px."""
        from rasterio.enums import Resampling

        shrink = max(1.0, max(self.size) / side)
        height, width = (max(1, round(length / shrink)) for length in self.size)
        with self._readable():
            bands = self._bands
            values = self._data.read(bands, out_shape=(len(bands), height, width), resampling=Resampling.average)
        return _picture(values)

    @property
    def _bands(self) -> list[int]:
        """Numbers of the bands of red, green and blue, or of the gray one."""
        named = {color.name: number for number, color in enumerate(self._data.colorinterp, 1)}
        if {"red", "green", "blue"} <= set(named):
            return [named["red"], named["green"], named["blue"]]
        return [1, 2, 3] if self._data.count >= 3 else [1]

    def to_map(self, points: NDArray[np.floating]) -> Floats:
        """Coordinates float64 (N, 2) (x, y) on the map of points (N, 2) (x, y) in px, 0 = middle of the first pixel.

        A picture without a place gets the one that programs show it at: the upper left corner at 0, y up, in px.
        """
        place = self._data.transform
        a, b, c, d, e, f = (1, 0, 0, 0, -1, 0) if place.is_identity else place[:6]
        x, y = np.asarray(points, float).T + 0.5
        return np.column_stack([a * x + b * y + c, d * x + e * y + f])

    def to_degrees(self, points: NDArray[np.floating]) -> Floats | None:
        """Degrees east and north (WGS 84) float64 (N, 2) of points (N, 2) (x, y) in px; None without a place on Earth."""
        if not self.placed:
            return None
        from rasterio.warp import transform

        try:
            east, north = transform(self._data.crs, WGS84, *self.to_map(points).T)
        except Exception:  # the library's own classes are private; a site's own coordinates have no place on Earth
            return None
        degrees = np.column_stack([east, north])
        return degrees if np.isfinite(degrees).all() else None

    @property
    def system(self) -> CoordinateSystem:
        """Its coordinate system as a GeoPackage describes it."""
        if not self.placed:
            return CoordinateSystem()
        crs = self._data.crs
        code, text = crs.to_epsg(), crs.to_wkt(version="WKT1_GDAL")
        name = text.split('"')[1] if '"' in text else "map"
        return CoordinateSystem(code or OWN_SYSTEM, name, "EPSG" if code else "NONE", text)

    @property
    def scale(self) -> Scale | None:
        """Size of a pixel on the ground, None without a coordinate system.

        From the unit of the map; for maps in degrees and those that stretch the ground by more than 1%, as Web Mercator
        does, from the distances on the WGS 84 ellipsoid in the middle of the picture.
        """
        if not self.placed:
            return None
        a, b, _, d, e, _ = self._data.transform[:6]
        sides, crs = (math.hypot(a, d), math.hypot(b, e)), self._data.crs
        by_unit = None if crs.is_geographic else 1000 * crs.units_factor[1] * math.sqrt(abs(a * e - b * d))
        by_ground = self._ground_mm()
        shape = "" if abs(sides[0] / sides[1] - 1) < NOT_SQUARE or crs.is_geographic else ", pixels are not square"
        if by_unit is not None and (by_ground is None or abs(by_ground / by_unit - 1) < DISTORTED):
            return Scale(by_unit, f"coordinate system {self.system.name}{shape}")
        if by_ground is None:
            return None
        return Scale(by_ground, f"ground distances in {self.system.name}{shape}")

    def _ground_mm(self) -> float | None:
        """Side in mm of a square on the ground as large as a pixel in the middle of the picture; None = not on Earth."""
        height, width = self.size
        x, y = (width - 1) / 2, (height - 1) / 2
        places = self.to_degrees(np.array([[0, y], [width - 1, y], [x, 0], [x, height - 1], [x, y]]))
        if places is None or min(self.size) < 2:
            return None
        latitude = math.radians(places[4, 1])
        squared = FLATTENING * (2 - FLATTENING)
        bend = 1 - squared * math.sin(latitude) ** 2
        north, east = EQUATOR_M * (1 - squared) / bend**1.5, EQUATOR_M / math.sqrt(bend) * math.cos(latitude)
        across, down = (np.radians(places[[1, 3]] - places[[0, 2]]) * [east, north]) / [[width - 1], [height - 1]]
        return 1000 * math.sqrt(abs(float(across[0] * down[1] - across[1] * down[0])))


OWN_SYSTEM = 100_000
"""Number in a GeoPackage of a coordinate system that EPSG does not know."""


def _picture(bands: NDArray[np.unsignedinteger[Any]]) -> Picture:
    """One or three bands (B, h, w) of 8 or 16 bits as uint8 (h, w, 3), RGB; of 16 bits the upper eight."""
    values = (bands >> 8).astype(np.uint8) if bands.dtype == np.uint16 else bands
    return np.ascontiguousarray(np.moveaxis(np.broadcast_to(values, (3, *values.shape[1:])), 0, 2))


def rasterio_package() -> Any:
    """Rasterio, or which extra to install."""
    try:
        import rasterio
        import rasterio.errors
    except ImportError as error:
        raise UserError("rasterio is not installed: pip install prune-crackseg[geo]") from error
    return rasterio


def cache_bytes(data: Any) -> int:
    """Memory for decoded blocks of an open file."""
    height, width = data.block_shapes[0]
    if width < data.width:
        return CACHE
    sample = np.dtype(data.dtypes[0]).itemsize
    return min(LARGEST_CACHE, CACHE + max(CACHED_ROWS, 2 * height) * data.width * data.count * sample)


def open_geotiff(file: str | Path) -> Any:
    """Open a GeoTIFF; no other format, for their readers are many."""
    import warnings

    rasterio = rasterio_package()
    try:
        with warnings.catch_warnings():  # a file without a place is fine, and the survey says so
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            return rasterio.open(str(file), driver="GTiff")
    except rasterio.errors.RasterioError as error:
        raise UserError(f"{file}: expected a readable GeoTIFF, found: {first_line(error)}") from error


def window_of(rows: slice, columns: slice) -> Any:
    """Rows and columns as rasterio wants them."""
    from rasterio.windows import Window

    return Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
