"""What the campaign needs to know of a format."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Format:
    """A format.

    Args:
        make: Writes a valid file, and what it needs beside it, into an empty folder, and returns the file that is damaged.
        read: Reads the file in such a folder.
        native: Whether its parser is native code, which may bring the process down.
        repair: Sets checksums right, or takes them away, that would hide the damage from all but the first check.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], object]
    native: bool = False
    repair: Callable[[bytes], bytes] | None = None


def with_png_checksums(content: bytes) -> bytes:
    """A damaged PNG file whose chunks have the checksums of what they hold now."""
    result, place = bytearray(content), 8
    while place + 12 <= len(result):
        end = place + 8 + int.from_bytes(result[place : place + 4], "big")
        if end + 4 > len(result):
            break
        result[end : end + 4] = zlib.crc32(result[place + 4 : end]).to_bytes(4, "big")
        place = end + 4
    return bytes(result)
