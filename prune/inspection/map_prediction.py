"""Cracks of an orthophoto: predicted window by window into a GeoTIFF, measured from there, and written as maps."""

import errno
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.errors import CannotWrite, first_line
from prune.files import atomic_path
from prune.inspection.orthophoto import CACHE, Orthophoto, open_geotiff, rasterio_package, window_of
from prune.progress import progress

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Predict = Callable[[Picture], tuple[NDArray[np.uint8], NDArray[np.floating] | None]]
"""Gives class ids uint8 (h, w) of a picture uint8 (h, w, 3), RGB, and the probability of the crack, 0…1, or None."""
BLOCK = 512
"""px: side of the blocks inside a written GeoTIFF."""
WINDOW = 3 * BLOCK
"""px: side of the windows that are predicted one by one, whole blocks."""
OVERLAP = 128
"""px around a window that are predicted with it and then left out: near the border of an image predictions are worse."""


def predict_orthophoto(
    photo: Orthophoto,
    predict: Predict,
    class_map: str | Path,
    probability: str | Path | None = None,
    *,
    colors: dict[int, tuple[int, int, int]] | None = None,
    window: int = WINDOW,
    overlap: int = OVERLAP,
) -> Path:
    """Predict an orthophoto window by window into a GeoTIFF of the same place and size; memory does not depend on its size.

    Pixels without data become class 0, and windows of nothing else are not predicted.

    Args:
        photo: The orthophoto.
        predict: The network, see ``Predict``.
        class_map: GeoTIFF of class ids to write.
        probability: GeoTIFF of the probability of the crack to write, 0…255 for 0…1; None = none. Values are rounded.
        colors: Of the classes, RGB, stored in the class map.
        window: Side of a window in px, a multiple of the blocks of the file (``BLOCK``).
        overlap: What is seen around it in px.

    Returns:
        ``class_map``.

    Raises:
        UserError: for pixels that cannot be read and files that cannot be written.
    """
    height, width = photo.size
    with _written(class_map, photo.profile) as ids, _written(probability, photo.profile) as shares:
        if colors is not None:
            ids.write_colormap(1, {number: (*color, 255) for number, color in colors.items()})
        places = [(top, left) for top in range(0, height, window) for left in range(0, width, window)]
        for top, left in progress(places, "orthophoto", "window"):
            rows, columns = slice(top, min(height, top + window)), slice(left, min(width, left + window))
            around = (
                slice(max(0, s.start - overlap), min(n, s.stop + overlap))
                for s, n in ((rows, height), (columns, width))
            )
            seen_rows, seen_columns = around
            image, shown = photo.read(seen_rows, seen_columns)
            inside = (
                slice(rows.start - seen_rows.start, rows.stop - seen_rows.start),
                slice(columns.start - seen_columns.start, columns.stop - seen_columns.start),
            )
            if not shown[inside].any():
                continue  # blocks that are not written are 0
            found, likely = predict(image)
            target = window_of(rows, columns)
            with _silenced():
                ids.write(np.where(shown, found, 0)[inside].astype(np.uint8), 1, window=target)
                if shares is not None and likely is not None:
                    levels = np.rint(255 * np.clip(np.where(shown, likely, 0)[inside], 0, 1))
                    shares.write(levels.astype(np.uint8), 1, window=target)
    return Path(class_map)


@contextmanager
def mask_reader(
    class_map: str | Path, class_id: int, probability: str | Path | None = None
) -> Iterator[Callable[[slice, slice], tuple[Mask, NDArray[np.float32] | None]]]:
    """Open what ``predict_orthophoto`` wrote, for ``prune.inspection.streamed.measure_streamed``.

    Args:
        class_map: GeoTIFF of class ids.
        class_id: Of the cracks.
        probability: GeoTIFF of their probability.

    Yields:
        What gives the mask bool (h, w) of a window, and the probability float32 (h, w), 0…1, or None.
    """
    with rasterio_package().Env(GDAL_CACHEMAX=CACHE), open_geotiff(class_map) as ids:
        shares = None if probability is None else open_geotiff(probability)

        def read(rows: slice, columns: slice) -> tuple[Mask, NDArray[np.float32] | None]:
            window = window_of(rows, columns)
            mask = ids.read(1, window=window) == class_id
            return mask, None if shares is None else shares.read(1, window=window) / np.float32(255)

        try:
            yield read
        finally:
            if shares is not None:
                shares.close()


@contextmanager
def _written(path: str | Path | None, profile: dict[str, Any]) -> Iterator[Any]:
    """A GeoTIFF of one band of bytes, compressed in blocks; it gets its name when the block succeeds. None for no path."""
    if path is None:
        yield None
        return
    how = {"driver": "GTiff", "count": 1, "dtype": "uint8", "compress": "deflate", "BIGTIFF": "IF_SAFER"}
    blocks = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "SPARSE_OK": True}
    rasterio = rasterio_package()
    with atomic_path(Path(path)) as temporary:
        try:
            with warnings.catch_warnings():  # the orthophoto may have no place either
                warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
                file = rasterio.open(str(temporary), "w", **{**profile, **how, **blocks})
            try:
                yield file
            finally:
                with _silenced():
                    file.close()
        except rasterio.errors.RasterioError as error:
            if shutil.disk_usage(temporary.parent).free < BLOCK**2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
            raise CannotWrite(f"cannot write {path}: {first_line(error)}") from error


@contextmanager
def _silenced() -> Iterator[None]:
    """Drop what native code prints on stderr inside the block: GDAL's TIFF library does so when the disk is full."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
