"""A ZIP file of photographs from a visitor, unpacked so that it can neither fill the disk nor leave its folder."""

import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from prune.data.images import is_image
from prune.errors import UserError, first_line

CHUNK = 2**20
BAD = set(':\0\\<>"|?*')
"""Characters that a name of a file may not contain on some system."""


@dataclass(frozen=True)
class ArchiveLimits:
    """What a ZIP file may hold.

    Args:
        photographs: At most so many.
        mib: At most so much altogether once unpacked, in MiB.
        ratio: A photograph is compressed already: one that grows more than this is no photograph.
    """

    photographs: int = 500
    mib: int = 2048
    ratio: float = 100.0


def unpack(file: Path, folder: Path, limits: ArchiveLimits | None = None) -> list[Path]:
    """Unpack the photographs of a ZIP file into a folder and return them, in the order of their names.

    What is no photograph is left out. Everything is checked before the first byte is written, and what the file's own
    table says of sizes is not trusted while it is unpacked.

    Args:
        file: The ZIP file.
        folder: Where to; it is made.
        limits: None = the defaults.

    Raises:
        UserError: for a file that is no ZIP file, is damaged or encrypted, holds names that lead out of the folder or links,
            no photograph, too many, or more than allowed; nothing is left behind then. Messages name no path of the server.
    """
    limits, written = limits or ArchiveLimits(), []
    try:
        with zipfile.ZipFile(file) as archive:
            chosen = _checked(archive, limits)
            room = limits.mib * CHUNK
            for entry in chosen:
                path = folder / entry.filename
                path.parent.mkdir(parents=True, exist_ok=True)
                written.append(path)
                room = _unpacked(archive, entry, path, room, limits)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError, OSError, UserError) as error:
        for path in written:
            path.unlink(missing_ok=True)
        if isinstance(error, UserError):
            raise
        reason = first_line(error).replace(str(file), "the file")
        raise UserError(f"expected a ZIP file of photographs, found: {reason}") from error
    return written


def _checked(archive: zipfile.ZipFile, limits: ArchiveLimits) -> list[zipfile.ZipInfo]:
    """The photographs in an archive, by name."""
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    for entry in entries:
        _require_name(entry)
    chosen = [entry for entry in entries if is_image(Path(entry.filename)) and "__MACOSX" not in entry.filename]
    if not chosen:
        raise UserError("expected photographs in the ZIP file, found none")
    if len(chosen) > limits.photographs:
        raise UserError(f"expected at most {limits.photographs} photographs in the ZIP file, found {len(chosen)}")
    total = sum(entry.file_size for entry in chosen)
    if total > limits.mib * CHUNK:
        raise UserError(f"expected at most {limits.mib} MiB in the ZIP file, found {total / CHUNK:.0f} MiB unpacked")
    for entry in chosen:
        if entry.flag_bits & 1:
            raise UserError(f"expected a ZIP file without a password, found {entry.filename} encrypted")
        if entry.file_size > limits.ratio * max(1, entry.compress_size):
            raise UserError(f"expected photographs in the ZIP file, found {entry.filename}, which grows too much")
    names = [entry.filename.casefold() for entry in chosen]
    if len(set(names)) < len(names):
        raise UserError("expected different names in the ZIP file, found the same one twice")
    return sorted(chosen, key=lambda entry: entry.filename)


def _require_name(entry: zipfile.ZipInfo) -> None:
    """Raise ``UserError`` for a name that leads out of the folder, and for anything but a plain file."""
    path, kind = PurePosixPath(entry.filename), stat.S_IFMT(entry.external_attr >> 16)
    if path.is_absolute() or ".." in path.parts or BAD & set(entry.filename) or len(entry.filename) > 200:
        raise UserError(f"expected names within the ZIP file, found {entry.filename[:80]!r}")
    if kind and not stat.S_ISREG(kind):
        raise UserError(f"expected plain files in the ZIP file, found the link or device {entry.filename[:80]!r}")


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, room: int, limits: ArchiveLimits) -> int:
    """Write one file and return the bytes that are left."""
    with archive.open(entry) as source, path.open("xb") as target:
        while part := source.read(CHUNK):
            room -= len(part)
            if room < 0:
                raise UserError(f"expected at most {limits.mib} MiB in the ZIP file, found more unpacked")
            target.write(part)
    return room
