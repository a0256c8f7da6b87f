"""What files say, apart from times and dates; and whether they are complete."""

import hashlib
import json
import zipfile
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import openpyxl
import torch
from PIL import Image

FLAGS = ("resume", "force")
VOLATILE = ("second", "date", "latency", "speedup", "ms", "images/s", "machine", "begun", "started", "written", *FLAGS)
"""What a key of JSON or the first cell of a row begins with that differs between two runs of one command."""
SIZES, SAME_MIB = ("mib", "file_mib"), 2**-10
"""Keys of sizes of files, and what these may differ by: a checkpoint says how it was made, and with which of the flags above."""
ENDINGS = {".html": b"</html>", ".md": b"\n", ".csv": b"\n", ".txt": b"\n", ".toml": b"\n"}
"""What complete files end in."""


def files_of(folder: Path) -> list[Path]:
    """Every file a user sees, sorted; hidden ones are locks or half-written."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file, by its path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files_of(folder)
    }


def contents(folder: Path, loose: Iterable[str] = ()) -> dict[str, Any]:
    """What every file says, by its path; of those that fit a pattern of ``loose`` only that they are there.

    TensorBoard's files bear the time in their names, and are left out.
    """
    found = {}
    for path in files_of(folder):
        name = path.relative_to(folder).as_posix()
        if "tfevents" in name:
            continue
        found[name] = None if any(fnmatch(name, pattern) for pattern in loose) else content(path)
    return found


def content(path: Path) -> Any:
    """What a file says, as a value that can be compared."""
    if path.suffix in (".json", ".geojson"):
        return _lasting(json.loads(path.read_text()))
    if path.suffix == ".xlsx":
        book = openpyxl.load_workbook(path)
        return {sheet.title: [row for row in _rows(sheet) if not _volatile(row[0])] for sheet in book}
    if path.suffix == ".pth":
        return _lasting(_plain(torch.load(path, map_location="cpu", weights_only=True)))
    if path.suffix == ".onnx":
        import onnx

        return hashlib.sha256(onnx.load(path).graph.SerializeToString(deterministic=True)).hexdigest()
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _rows(sheet: Any) -> list[list[str]]:
    return [[str(cell.value) for cell in row] for row in sheet.iter_rows()]


def _volatile(name: object) -> bool:
    return str(name).lower().startswith(VOLATILE)


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _lasting(v) for key, v in value.items() if not _volatile(key)}
    return [_lasting(v) for v in value] if isinstance(value, (list, tuple)) else value


def difference(one: Any, other: Any, where: str = "") -> str:
    """The first place where two values differ, empty = nowhere."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return next((found for key in one if (found := difference(one[key], other[key], f"{where}/{key}"))), "")
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return next((found for i, pair in pairs if (found := difference(*pair, f"{where}/{i}"))), "")
    if where.rpartition("/")[2] in SIZES and None not in (one, other) and abs(one - other) < SAME_MIB:
        return ""
    return "" if one == other else f"{where}: {str(one)[:80]} instead of {str(other)[:80]}"


def _plain(value: Any) -> Any:
    """Tensors as digests."""
    if isinstance(value, torch.Tensor):
        return hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest() + str(tuple(value.shape))
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def incomplete(path: Path) -> str:
    """What is wrong with a file that should be complete, empty = nothing."""
    try:
        if path.stat().st_size == 0:
            return "empty"
        if path.suffix in (".json", ".geojson"):
            json.loads(path.read_text())
        elif path.suffix in (".xlsx", ".pth"):
            with zipfile.ZipFile(path) as archive:
                return "" if archive.testzip() is None else "damaged archive"
        elif path.suffix in (".png", ".jpg"):
            with Image.open(path) as picture:
                picture.load()
        elif path.suffix == ".onnx":
            import onnx

            onnx.checker.check_model(onnx.load(path))
        elif path.suffix in (".tif", ".mp4", ".gpkg"):
            return _unreadable(path)
        elif path.suffix in ENDINGS and not path.read_bytes().rstrip(b" ").endswith(
            (ENDINGS[path.suffix], ENDINGS[path.suffix] + b"\n")
        ):
            return "its end is missing"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _unreadable(path: Path) -> str:
    """What is wrong with a map or a video, each of whose pictures is read."""
    if path.suffix == ".tif":
        import rasterio

        with rasterio.open(path) as data:
            data.read()
    elif path.suffix == ".mp4":
        from prune.inspection.video import Video

        with Video(path) as video:
            return "" if list(video) and not video.broken else f"a video that {video.broken or 'is empty'}"
    else:
        import sqlite3

        with sqlite3.connect(path) as database:
            (said,) = database.execute("PRAGMA integrity_check").fetchone()
            return "" if said == "ok" else str(said)
    return ""
