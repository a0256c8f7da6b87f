"""A checksum inside every export, over all of its files: changed weights, and files of different networks, are noticed."""

import hashlib
import json
import mmap
import re
from contextlib import ExitStack
from pathlib import Path

from prune.errors import UserError

KEY = "digest"
"""Of the checksum in the metadata."""
EMPTY = "0" * 64
"""What stands in its place while the checksum is taken."""
PLACE = re.compile(rb"digest[^0-9a-f]{1,16}([0-9a-f]{64})")
"""Where it stands in the bytes of a file: behind its key in JSON, whose quotes XML spells out."""
SEALED = (".onnx", ".xml", ".param")
"""Exports with a checksum; those of PyTorch are archives, which have their own."""


def unsealed(metadata: str) -> str:
    """Metadata (JSON) with room for a checksum, for a file that is about to be written."""
    return json.dumps(json.loads(metadata) | {KEY: EMPTY}, ensure_ascii=False)


def seal(file: Path) -> None:
    """Put the checksum of an export and its weights in place of ``EMPTY`` in its metadata; the file is changed as it lies there.

    Raises:
        ValueError: when the file has no room for it.
    """
    found = _checksum(file)
    if found is None:
        raise ValueError(f"{file.name}: expected metadata with a {KEY}, found none")
    with file.open("rb+") as stream:
        stream.seek(found[1])
        stream.write(found[2].encode())


def verify(file: Path) -> bool:
    """Whether an export has a checksum, which then fits.

    Raises:
        UserError: when it does not fit: the file is damaged, or its weights are those of another network.
    """
    try:
        found = _checksum(file)
    except OSError as error:
        raise UserError(f"{file}: expected an export, cannot read it ({error.strerror or error})") from error
    if found is None:
        return False
    stored, _, computed = found
    if stored != computed:
        parts = " and ".join(part.name for part in _parts(file))
        raise UserError(f"{file}: expected the files of one export, found {parts} damaged or of different networks")
    return True


def _parts(file: Path) -> list[Path]:
    """The files of an export: itself, and weights beside it."""
    weights = file.with_suffix(".bin")
    return [file, weights] if file.suffix in (".xml", ".param") and weights.is_file() else [file]


def _checksum(file: Path) -> tuple[str, int, str] | None:
    """The checksum in a file, where it stands, and what it should be: SHA-256 with ``EMPTY`` there; None = the file has none."""
    hashed = hashlib.sha256()
    with ExitStack() as stack:
        maps = []
        for part in _parts(file):
            stream = stack.enter_context(part.open("rb"))
            if not part.stat().st_size:
                continue
            maps.append(stack.enter_context(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)))
        place = PLACE.search(maps[0]) if maps else None
        if place is None:
            return None
        start, end = place.span(1)
        stored = place[1].decode()
        del place  # it holds the map
        views = [stack.enter_context(memoryview(one)) for one in maps]
        with views[0][:start] as before, views[0][end:] as behind:
            hashed.update(before)
            hashed.update(EMPTY.encode())
            hashed.update(behind)
        for view in views[1:]:
            hashed.update(view)
    return stored, start, hashed.hexdigest()
