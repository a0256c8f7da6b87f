"""What a trial is called: a hash of everything that determines its result, so that it is run once ever."""

import ast
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from prune.data.find_split import find_split
from prune.data.settings import DataOptions
from prune.errors import UserError
from prune.files import write_json
from prune.shapes import Each, Many, check_shape, load_json

PACKAGE = Path(__file__).parent.parent
ROOMS = {
    "train": ("data", "models", "training"),
    "scratch": ("data", "models", "training"),
    "finetune": ("data", "models", "training"),
    "prune": ("data", "models", "training", "pruning"),
    "export": ("data", "models", "inference", "deployment"),
    "evaluate": ("data", "metrics", "inference", "evaluation"),
    "latency": ("models", "inference", "deployment"),
}
"""The rooms whose code decides what a trial of each kind gives."""
LIBRARIES = ("torch", "torchvision", "torch-pruning", "onnxruntime", "openvino", "nncf", "ncnn")
LENGTH = 16
"""Hexadecimal digits of a trial's name."""


def digest(content: Any) -> str:
    """SHA-256, first 16 hex digits, of plain values; the order of keys does not matter.

    Numbers that are equal count as the same: 50 and 50.0.
    """
    text = json.dumps(_plain(content), sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


def _plain(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_plain(value) for value in content]
    if isinstance(content, float) and content.is_integer():
        return int(content)
    return str(content) if isinstance(content, Path) else content


def _code_of(file: Path) -> str:
    """The code of a module without comments, docstrings and layout: those do not change what it computes."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [line for line in body if not _is_text(line)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@cache
def _room_code(room: str) -> str:
    files = sorted((PACKAGE / room).rglob("*.py"))
    return digest([[str(file.relative_to(PACKAGE)), _code_of(file)] for file in files])


@cache
def code_version(kind: str) -> str:
    """The version of the code that computes trials of a kind: a hash of its rooms, of libraries and of Python's minor version.

    Comments and docstrings do not count. The trial's parents carry the versions of what made them.
    """
    rooms = [_room_code(room) for room in ROOMS.get(kind, ())]
    return digest([rooms, [_installed(name) for name in LIBRARIES], sys.version_info[:2]])


def _installed(name: str) -> str:
    try:
        return version(name).split("+")[0]
    except PackageNotFoundError:
        return ""


class Fingerprints:
    """Fingerprints of files by content, remembered by size and time of change, so that a large set is read once.

    Args:
        file: JSON file of what is remembered.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.known: dict[str, Any] = {}
        with suppress(UserError):  # there is none yet, or it is damaged: files are read again
            known = load_json(file, "fingerprints")
            check_shape(known, Each(Many(object)), str(file))
            self.known = {name: entry for name, entry in known.items() if len(entry) == 2}

    def of_files(self, files: Iterable[Path]) -> str:
        """Of names and contents of files, in their order.

        Raises:
            UserError: for a file that cannot be read.
        """
        return digest([[file.name, self._of_file(file)] for file in files])

    def _of_file(self, file: Path) -> str:
        try:
            facts = file.stat()
            stamp, key = [facts.st_size, facts.st_mtime_ns], str(file.absolute())
            if self.known.get(key, [None])[0] != stamp:
                self.known[key] = [stamp, hashlib.sha256(file.read_bytes()).hexdigest()[:LENGTH]]
        except OSError as error:
            raise UserError(f"{file}: cannot be read ({error.strerror or error})") from error
        return str(self.known[key][1])

    def of_data(self, folder: Path, reading: DataOptions) -> dict[str, str]:
        """Of the labeled images of train, val and test: equal files in equal splits, equal fingerprints.

        Raises:
            UserError: for data that cannot be used.
        """
        found = {}
        for role in ("train", "val", "test"):
            split = find_split(folder, None, dataset=reading.dataset, role=role, threshold=reading.mask_threshold)
            found[role] = self.of_files(file for pair in split.pairs for file in (pair.image, pair.label))
        return found

    def save(self) -> None:
        """Remember for the next call."""
        write_json(self.file, self.known)
