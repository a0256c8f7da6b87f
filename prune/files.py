"""Files on disk: atomic writes, the project's folders, and finding a file by its bare name."""

import hashlib
import json
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from prune.errors import CannotWrite, UserError, signals_later
from prune.progress import say

RESULTS = Path("results")
MODELS = RESULTS / "models"
RUNS = RESULTS / "runs"
PRUNING = RESULTS / "pruning"
METRICS = RESULTS / "metrics"
FIGURES = RESULTS / "figures"
EXPORTS = RESULTS / "exports"
BENCHMARKS = RESULTS / "benchmarks"
SHIPPED = Path(__file__).parent / "inference" / "weights"
"""Networks that are part of the package."""

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.writing(\.[^.]*)?")
"""Names of files that are being written; ``atomic_path`` gives them."""
LONGEST_STEM = 180
"""Bytes of a stem that programs here may add endings to; file systems end at 255."""
STALE_SECONDS = 3600.0
"""Seconds after which an unchanged temporary file is taken to be left over from a killed process."""


def make_folder(folder: Path) -> Path:
    """Create ``folder`` with its parents and return it; a ``UserError`` names it when that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(f"cannot create the folder {folder}: {error.strerror or error}") from error
    return folder


def visible(folder: Path, pattern: str) -> list[Path]:
    """What in ``folder`` fits ``pattern`` (``*.pth``), sorted, without hidden files: those are locks or half-written."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


@cache
def _remove_stale(folder: Path) -> None:
    """Remove half-written files of killed processes from ``folder``.

    Age decides, not the writer's process number, which means nothing to another container or host that shares the
    folder. Once per process and folder: a command that writes thousands of files must not list them all each time.
    """
    with suppress(OSError):  # another process may be removing the same files
        for path in folder.iterdir():
            if TEMPORARY.fullmatch(path.name) and path.is_file() and time.time() - path.stat().st_mtime > STALE_SECONDS:
                path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Wait until ``path`` is on the disk, so that a power failure cannot leave the final name on an empty file."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def short_name(stem: str) -> str:
    """``stem``, or its beginning and a digest of the whole when it leaves no room for endings in a name of 255 bytes."""
    encoded = os.fsencode(stem)
    if len(encoded) <= LONGEST_STEM:
        return stem
    digest = hashlib.sha256(encoded).hexdigest()[:8]
    return f"{encoded[: LONGEST_STEM - 9].decode('utf-8', 'ignore')}-{digest}"


def require_plain_name(argument: str, name: str) -> None:
    """Raise ``UserError`` for a name that is none of a file or folder: empty, hidden, with folders in it, or too long."""
    if not name.strip() or name.startswith(".") or any(character in name for character in "/\\\0"):
        raise UserError(f"{argument}: expected a plain file name without folders, found {name!r}")
    if short_name(name) != name:
        found = len(os.fsencode(name))
        raise UserError(f"{argument}: expected a name of at most {LONGEST_STEM} bytes, found one of {found}")


def _temporary_name(path: Path) -> str:
    return f".{short_name(path.stem)}.{uuid.uuid4().hex[:8]}.writing{path.suffix}"


@contextmanager
def atomic_path(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it when the block succeeds.

    The temporary name is hidden and keeps the suffix, because writers choose the format by it. When the block fails
    (full disk, Ctrl-C) the old file stays as it was and the temporary one is removed; after a kill the next process
    that writes into the folder removes it. ``OSError`` becomes a ``CannotWrite``.

    Args:
        path: The final name.
        durable: Also outlive a power failure, at the price of waiting for the disk; for results that take hours to recompute.
    """
    with atomic_paths(path, durable=durable) as (temporary,):
        yield temporary


@contextmanager
def atomic_paths(*paths: Path, durable: bool = False) -> Iterator[list[Path]]:
    """``atomic_path`` for files that belong together: none is replaced before all are complete.

    Args:
        paths: The final names; the files get them in this order, so the one that makes the others count comes last.
        durable: See ``atomic_path``.
    """
    temporary = [path.with_name(_temporary_name(path)) for path in paths]
    for folder in dict.fromkeys(path.parent for path in paths):
        make_folder(folder)
        _remove_stale(folder.absolute())
    writing = paths[0]
    try:
        yield temporary
        if durable:
            for path, one in zip(paths, temporary, strict=True):
                writing = path
                _flush(one)
        with signals_later():  # all get their names, or none
            for path, one in zip(paths, temporary, strict=True):
                writing = path
                one.replace(path)
    except CannotWrite as error:  # of what writes the temporary file as if it were the final one
        message = error.message
        for path, one in zip(paths, temporary, strict=True):
            message = message.replace(str(one), str(path))
        raise CannotWrite(message) from error
    except OSError as error:
        raise CannotWrite(f"cannot write {writing}: {error.strerror or error}") from error
    finally:
        for one in temporary:
            one.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, *, wait: bool = False, keep: bool = True) -> Iterator[None]:
    """Lock ``path`` against other processes while the block runs; a killed process keeps no lock.

    The lock is an empty hidden file beside ``path``. Where the package filelock is missing, nothing is locked: it comes with
    PyTorch, and an edge device has neither.

    Args:
        path: The file or folder that will be written.
        wait: Wait for the other process and say so, instead of refusing.
        keep: Whether to leave the lock file in place, unlocked; otherwise it is removed.

    Raises:
        UserError: when another process holds the lock, and when the lock file cannot be written.
    """
    make_folder(path.parent)
    try:
        from filelock import FileLock, Timeout
    except ModuleNotFoundError:
        yield
        return
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    with ExitStack() as held:
        try:
            held.enter_context(lock.acquire(timeout=0))
        except Timeout:
            if not wait:
                raise UserError(
                    f"{path} is being written by another process: wait for it or choose another name"
                ) from None
            say("waiting", f"for another process that is writing {path}")
            held.enter_context(lock.acquire())
        except OSError as error:
            raise CannotWrite(f"cannot lock {path}: {error.strerror or error}") from error
        try:
            yield
        finally:
            if not keep:
                with suppress(OSError):
                    Path(lock.lock_file).unlink()


def write_bytes(path: Path, content: bytes) -> Path:
    """Write ``content`` atomically and return ``path``."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return path


def write_text(path: Path, text: str) -> Path:
    """Write UTF-8 ``text`` atomically and return ``path``."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def write_json(path: Path, content: Any) -> Path:
    """Write ``content`` as strict JSON (no NaN) atomically and return ``path``."""
    return write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False, default=str) + "\n")


def check_writable(folder: Path) -> None:
    """Raise ``UserError`` when ``folder`` is not writable; call it before long work, not after."""
    with atomic_path(folder / ".writable") as probe:
        probe.write_text("")
    (folder / ".writable").unlink(missing_ok=True)


def shipped_model(name: str | os.PathLike[str]) -> Path | None:
    """The file of the network ``name`` that is part of the package (``crack``), None when there is none of that name."""
    file = SHIPPED / f"{os.fspath(name)}.onnx"
    return file if file.parent == SHIPPED and file.is_file() else None


def find_model(name: str | Path) -> Path:
    """Return the model file ``name``: a path, or a bare name looked up in ``results/models`` and ``results/exports``.

    A name found in neither may be that of a network that is part of the package, see ``shipped_model``.

    Raises:
        UserError: when no such file exists; the message lists what was looked for.
    """
    candidates = [Path(name), MODELS / name, MODELS / f"{name}.pth", EXPORTS / name]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    shipped = shipped_model(name)
    if shipped:
        return shipped
    tried = ", ".join(str(c) for c in dict.fromkeys(candidates))
    raise UserError(f"model file {name!s} not found (looked for {tried})")


def file_mib(file: Path) -> float:
    """Size of a model file in MiB, an OpenVINO or ncnn network with its weights."""
    parts = [file, file.with_suffix(".bin")] if file.suffix in (".xml", ".param") else [file]
    return sum(part.stat().st_size for part in parts if part.is_file()) / 2**20
