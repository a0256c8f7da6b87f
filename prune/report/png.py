"""A PNG writer for photographs and masks: Pillow's holds Python's lock while it encodes and tries filters row by row."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GRAY, RGB, INDEXED = 0, 2, 3
"""Color types of the format."""
NONE, UP = 0, 2
"""Row filters of the format: the bytes themselves, and their differences from the row above."""
LEVEL = 1
"""Of zlib: for photographs four times as fast as its default of 6, for files 4% larger."""
STRIP = 256
"""Rows compressed at a time, so that a huge picture needs little memory beside its own."""


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))


def _compressed(rows: NDArray[np.uint8], row_filter: int) -> Iterator[bytes]:
    """The zlib stream of rows uint8 (H, bytes), each behind the number of its filter."""
    compressor = zlib.compressobj(LEVEL)
    for top in range(0, len(rows), STRIP):
        strip = rows[top : top + STRIP]
        filtered = np.empty((len(strip), 1 + strip.shape[1]), np.uint8)
        filtered[:, 0] = row_filter
        if row_filter == UP:
            filtered[0, 1:] = strip[0] - rows[top - 1] if top else strip[0]
            np.subtract(strip[1:], strip[:-1], out=filtered[1:, 1:])
        else:
            filtered[:, 1:] = strip
        yield compressor.compress(filtered.data)
    yield compressor.flush()


def write_png(picture: NDArray[np.uint8], path: Path, palette: NDArray[np.uint8] | None = None) -> None:
    """Write RGB uint8 (H, W, 3), gray levels uint8 (H, W), or ids uint8 (H, W) with the colors of a palette.

    Args:
        picture: What to write; every value is kept exactly.
        path: The file.
        palette: Colors uint8 (C, 3) of the ids 0…C-1, C up to 256: the file then stores the ids and these colors, one bit
            per pixel for two colors, else eight.
    """
    height, width = picture.shape[:2]
    depth = 1 if palette is not None and len(palette) <= 2 else 8
    color_type = INDEXED if palette is not None else GRAY if picture.ndim == 2 else RGB
    rows = np.packbits(picture, axis=1) if depth == 1 else np.ascontiguousarray(picture).reshape(height, -1)
    with path.open("wb") as file:
        header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
        file.write(SIGNATURE + _chunk(b"IHDR", header))
        if palette is not None:
            file.write(_chunk(b"PLTE", palette.tobytes()))
        for part in _compressed(rows, NONE if palette is not None else UP):
            if part:
                file.write(_chunk(b"IDAT", part))
        file.write(_chunk(b"IEND", b""))
