"""CrackForest (CFD) ground truth: MATLAB files and Berkeley segmentation texts.

Both number the regions of a photograph. In a .mat file 1 is background, 2 is crack, 3 is background that cracks
enclose and 4 is a faint crack apart from the others; a .seg file holds the same numbers minus 1. Everything above the
background's number is NOT crack: read so, islands of whole slabs would be crack.
"""

import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prune.data import images
from prune.errors import UserError, first_line
from prune.shapes import load_text

MAT_CRACK = (2, 4)
"""Regions of a .mat file that are crack; of a .seg file one less."""
MAT_REGIONS = (1, 2, 3, 4)
LARGEST_MAT = 2**28
"""Bytes a .mat file may unpack to: an untrusted file must not exhaust memory."""
LARGEST_SEG, LARGEST_REGION = 2**26, 2**31 - 1
"""Bytes and largest region of a .seg file; each run of pixels takes about ten bytes."""


@dataclass(frozen=True)
class CrackForestLabels:
    """Reads .mat and .seg files as crack (id 1) and background (id 0)."""

    def __call__(self, file: Path) -> NDArray[np.uint8]:
        """Read one label: uint8 (H, W)."""
        return np.isin(_regions(file), MAT_CRACK).astype(np.uint8)

    def size(self, file: Path) -> tuple[int, int]:
        """Height and width in pixels, as the file says."""
        height, width = _regions(file).shape
        return height, width


@lru_cache(maxsize=2)  # a size check is often followed by reading
def _read(file: Path, changed: int) -> NDArray[np.uint8]:
    regions = read_mat(file) if file.suffix.lower() == ".mat" else read_seg(file) + 1
    unknown = sorted(set(np.unique(regions).tolist()) - set(MAT_REGIONS))
    if unknown:
        shift = 0 if file.suffix.lower() == ".mat" else 1
        expected = f"{MAT_REGIONS[0] - shift} to {MAT_REGIONS[-1] - shift}"
        raise UserError(f"{file}: expected the regions {expected}, found {unknown[0] - shift}")
    return regions.astype(np.uint8)


def _regions(file: Path) -> NDArray[np.uint8]:
    """Region numbers of a label file in the numbering of .mat, uint8 (H, W)."""
    try:
        return _read(file, file.stat().st_mtime_ns)
    except OSError as error:
        raise UserError(f"{file}: expected a readable label, found: {first_line(error)}") from error


def _check_unpacked(file: Path) -> None:
    """Raise ``UserError`` when the compressed parts of a .mat file hold more than ``LARGEST_MAT`` bytes."""
    content, place, total = file.read_bytes(), 128, 0
    order = "little" if content[126:128] == b"IM" else "big"
    while place + 8 <= len(content) and total <= LARGEST_MAT:
        kind = int.from_bytes(content[place : place + 4], order)  # type: ignore[arg-type]
        length = int.from_bytes(content[place + 4 : place + 8], order)  # type: ignore[arg-type]
        packed = content[place + 8 : place + 8 + length]
        if kind == 15:
            total += len(zlib.decompressobj().decompress(packed, LARGEST_MAT + 1))
        place += 8 + length
    if max(total, len(content)) > LARGEST_MAT:
        raise UserError(f"{file}: more than {LARGEST_MAT >> 20} MiB unpacked, too large for a label")


def read_mat(file: Path) -> NDArray[np.int64]:
    """The field groundTruth.Segmentation of a MATLAB file: region numbers int64 (H, W), from 1.

    Raises:
        UserError: for an unreadable or too large file, and one without that field.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise UserError(f"{file}: needs SciPy: pip install prune-crackseg[score]") from error
    try:
        _check_unpacked(file)
        truth = loadmat(file, variable_names=["groundTruth"]).get("groundTruth")
        segmentation = None if truth is None else np.asarray(truth["Segmentation"].item())
    except (KeyError, IndexError, AttributeError):
        segmentation = None
    except UserError:
        raise
    except Exception as error:  # SciPy lets errors of every kind out of a damaged file
        raise UserError(f"{file}: expected a MATLAB file, found: {first_line(error)}") from error
    if segmentation is None or segmentation.ndim != 2 or segmentation.dtype.kind not in "uif" or not segmentation.size:
        raise UserError(f"{file}: expected the field groundTruth.Segmentation, a picture of region numbers")
    return segmentation.astype(np.int64)


def _header(lines: list[str]) -> tuple[int, int, int]:
    """Height, width and the number of header lines of a .seg file; ``ValueError`` when one is missing."""
    words = [line.split() for line in lines[:50]]
    end = words.index(["data"])
    facts = {word[0].lower(): word[1] for word in words[:end] if len(word) > 1}
    try:
        return int(facts["height"]), int(facts["width"]), end + 1
    except KeyError as error:
        raise ValueError(f"no line {error.args[0]} in the header") from error


def read_seg(file: Path) -> NDArray[np.int64]:
    """A Berkeley segmentation text: region numbers int64 (H, W), from 0.

    The header names width and height and ends with a line ``data``; each further line is ``region row first last``,
    a run of pixels from column first to column last, counted from 0, both included.

    Raises:
        UserError: for anything else, runs outside the picture, and pixels no run covers.
    """
    lines = load_text(file, "a Berkeley segmentation", LARGEST_SEG, "latin-1").splitlines()
    try:
        height, width, start = _header(lines)
        if not (height > 0 and width > 0 and height * width <= images.MAX_MEGAPIXELS * 1e6):
            raise ValueError(f"a size of {width}x{height}")
        runs = np.array(" ".join(lines[start:]).split(), dtype=np.int64).reshape(-1, 4)
        if (runs < 0).any() or (runs[:, 1] >= height).any() or (runs[:, 3] >= width).any():
            raise ValueError("runs outside the picture")
        if (runs[:, 0] > LARGEST_REGION).any():
            raise ValueError(f"the region {runs[:, 0].max()}")
        missing = height * width - int((runs[:, 3] - runs[:, 2] + 1).clip(0).sum())
        if missing > 0:  # before a picture of that size is made
            raise ValueError(f"at least {missing} pixels without a region")
        regions = np.full((height, width), -1, dtype=np.int64)
        for region, row, first, last in runs.tolist():
            regions[row, first : last + 1] = region
        if (regions < 0).any():
            raise ValueError(f"{int((regions < 0).sum())} pixels without a region")
    except (ValueError, OverflowError) as error:
        raise UserError(f"{file}: expected a Berkeley segmentation, found: {first_line(error)}") from error
    return regions
