"""Files of ``torch.save``: written atomically, read without running code and without taking more memory than they hold."""

import io
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from prune.errors import UserError, first_line
from prune.files import atomic_path


class _Written(io.BufferedWriter):
    """A file that remembers why it could not be written, which torch says as ``enforce fail at inline_container``."""

    failure: OSError | None = None

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except OSError as error:
            self.failure = error
            raise


def write_torch(content: Any, path: Path) -> None:
    """``torch.save``, atomically and with a one-line error when the disk is full or the folder not writable.

    The same content gives the same bytes; written by its path, the archive would hold its temporary name.
    """
    with atomic_path(path, durable=True) as temporary, _Written(io.FileIO(temporary, "w")) as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            raise file.failure or OSError(0, first_line(error)) from error


def _tensors(content: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor in nested dicts, lists and tuples with its key."""
    stack, seen = [("", content)], set()
    while stack:
        name, value = stack.pop()
        if isinstance(value, torch.Tensor):
            yield name, value
        elif isinstance(value, (Mapping, list, tuple)) and id(value) not in seen:
            seen.add(id(value))  # a pickle may hold itself
            stack += value.items() if isinstance(value, Mapping) else ((name, item) for item in value)


def _require_unpacked(path: Path) -> None:
    """Raise ``UserError`` when entries of an archive are larger than it, or do not fit their checksums.

    ``torch.save`` compresses nothing, and ``torch.load`` does not look at the checksums it wrote.
    """
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
        damaged = None if unpacked > size else archive.testzip()
    if damaged is not None:
        raise UserError(f"{path}: expected a checkpoint, found a damaged one: {damaged} does not fit its checksum")
    if unpacked > size:
        raise UserError(
            f"{path}: expected a checkpoint, found an archive of {size:,} bytes that unpacks to {unpacked:,}"
        )


def _require_stored(content: Any, path: Path) -> None:
    """Raise ``UserError`` when tensors claim more than the file holds: a stride of 0 makes gigabytes of a few bytes when copied."""
    size, claimed = path.stat().st_size, 0
    for name, tensor in _tensors(content):
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise UserError(f"{path}: expected plain tensors, found a sparse, quantized or empty one, {name}")
        bytes_needed = tensor.numel() * tensor.element_size()
        claimed += bytes_needed
        if bytes_needed > tensor.untyped_storage().nbytes() or claimed > size:
            shape = "x".join(map(str, tensor.shape))
            raise UserError(
                f"{path}: expected at most the {size:,} bytes of the file, found tensors of more, {name} of {shape}"
            )


def _load(path: Path, trust_pickle: bool) -> Any:
    """``torch.load`` after a look at what the tensors would take; an archive is only mapped for that, not read."""
    if trust_pickle:
        return torch.load(path, map_location="cpu", weights_only=False)
    if zipfile.is_zipfile(path):
        _require_unpacked(path)
        _require_stored(torch.load(path, map_location="cpu", weights_only=True, mmap=True), path)
        return torch.load(path, map_location="cpu", weights_only=True)
    content = torch.load(path, map_location="cpu", weights_only=True)
    _require_stored(content, path)
    return content


def read_torch(path: Path, trust_pickle: bool = False) -> Any:
    """Read what ``torch.save`` wrote without running code from it.

    Raises:
        UserError: for a missing, half-written or foreign file, a whole-module pickle, or tensors larger than the file.
    """
    if not path.is_file():
        raise UserError(f"model file {path} not found")
    try:
        return _load(path, trust_pickle)
    except pickle.UnpicklingError as error:
        if "Weights only load failed" in str(error) and zipfile.is_zipfile(path):
            raise UserError(
                f"{path}: expected tensors and plain values, found pickled objects (a whole-module pickle?), which can run code and "
                "are not opened; if you trust the file, add --trust_pickle, or save its weights where it was made: torch.save(model.state_dict(), FILE)"
            ) from error
        raise UserError(f"{path}: expected a checkpoint, found a file of another kind") from error
    except UserError:
        raise
    except (
        Exception
    ) as error:  # a foreign file makes the unpickler fail in any way: RuntimeError, IndexError, TypeError...
        raise UserError(
            f"{path}: expected a checkpoint, found a damaged or foreign file ({first_line(error)})"
        ) from error
