"""Files on disk: atomic writes, the house's folders, and looking a file up by its bare name."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prune.errors import UserError

RESULTS = Path("results")
MODELS = RESULTS / "models"
RUNS = RESULTS / "runs"
PRUNING = RESULTS / "pruning"
METRICS = RESULTS / "metrics"
FIGURES = RESULTS / "figures"
EXPORTS = RESULTS / "exports"
BENCHMARKS = RESULTS / "benchmarks"


def make_folder(folder: Path) -> Path:
    """Create ``folder`` with its parents and return it; a ``UserError`` names it when that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create the folder {folder}: {error.strerror or error}") from error
    return folder


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it when the block succeeds.

    The temporary name keeps the suffix, because writers choose the format by it. When the block fails (full disk,
    Ctrl-C) the old file stays as it was and the temporary one is removed. ``OSError`` becomes a ``UserError``.
    """
    make_folder(path.parent)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> Path:
    """Write UTF-8 ``text`` atomically and return ``path``."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def write_json(path: Path, content: Any) -> Path:
    """Write ``content`` as strict JSON (no NaN) atomically and return ``path``."""
    return write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False, default=str) + "\n")


def check_writable(folder: Path) -> None:
    """Raise ``UserError`` when nothing can be written into ``folder``; call it before long work, not after."""
    with atomic_path(folder / ".writable") as probe:
        probe.write_text("")
    (folder / ".writable").unlink(missing_ok=True)


def find_model(name: str | Path) -> Path:
    """Return the model file ``name``: a path, or a bare name looked up in ``results/models`` and ``results/exports``.

    Raises:
        UserError: when no such file exists; the message lists what was looked for.
    """
    candidates = [Path(name), MODELS / name, MODELS / f"{name}.pth", EXPORTS / name]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    tried = ", ".join(str(c) for c in dict.fromkeys(candidates))
    raise UserError(f"model file {name!s} not found (looked for {tried})")


def file_mib(file: Path) -> float:
    """Size of a model file in MiB, an OpenVINO or ncnn network with its weights."""
    parts = [file, file.with_suffix(".bin")] if file.suffix in (".xml", ".param") else [file]
    return sum(part.stat().st_size for part in parts if part.is_file()) / 2**20
