"""What an exported file says about itself, and what all runtimes share; NumPy only."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.data.labels import ClassSet
from prune.data.preprocessing import Preprocessing
from prune.errors import UserError
from prune.inference.predictor import Card
from prune.shapes import Each, Many, Maybe, check_shape

METADATA = "prune_metadata"
"""Key of the metadata inside a file: one JSON object, see ``card_from_metadata``."""


FORMAT, VERSION = "prune-export", 1
SHAPE = {
    "version": int,
    "size": Maybe(Many(int)),
    "classes": dict,
    "preprocessing": dict,
    "architecture": str,
    "history": Many(str),
    "precision": str,
    "parameters": Maybe(int),
    "macs": Each(int),
}
"""What the metadata must hold."""


def checked_notes(notes: object) -> dict[str, tuple[str, ...]]:
    """What a maker says of a network: lines of text by heading, each heading with a text or a list of texts.

    Raises:
        ValueError: for anything else; the message says what was found.
    """
    if not isinstance(notes, Mapping):
        raise ValueError(f"expected headings with texts, found {type(notes).__name__}")
    result = {}
    for heading, text in notes.items():
        lines = [text] if isinstance(text, str) else text
        if not isinstance(lines, (list, tuple)) or not all(isinstance(line, str) for line in lines):
            raise ValueError(f"{heading}: expected a text or a list of texts, found {text!r}")
        result[str(heading)] = tuple(lines)
    return result


def card_from_metadata(stored: Mapping[str, Any], file: Path, runtime: str) -> Card:
    """The card in an export's metadata.

    Raises:
        UserError: for metadata of a newer version, incomplete ones, and those of other content.
        ValueError: for notes that are none.
    """
    check_shape(stored, SHAPE, "the metadata")
    if stored["version"] > VERSION:
        raise UserError(f"{file}: export version {stored['version']}, this program reads up to {VERSION}")
    size = stored["size"]
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise UserError(f"the metadata: expected a height and a width as size, found {size}")
    return Card(
        file.stem,
        file,
        ClassSet.from_dict(stored["classes"]),
        Preprocessing.from_dict(stored["preprocessing"]),
        stored["architecture"],
        tuple(stored["history"]),
        runtime,
        stored["precision"],
        None if size is None else (size[0], size[1]),
        stored["parameters"],
        stored["macs"],
        checked_notes(stored.get("notes", {})),
        stored.get("crack_errors", {}),
    )


def card_of(text: str | None, file: Path, runtime: str, classes: ClassSet | None, channels: int | None) -> Card:
    """The card in the metadata, or one made up from ``--classes`` for a file of another tool."""
    if text:
        try:
            return card_from_metadata(json.loads(text), file, runtime)
        except UserError as error:
            raise error if str(file) in error.message else UserError(f"{file}: {error.message}") from error
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise UserError(f"{file}: the metadata is damaged ({error!r})") from error
    if classes is None:
        raise UserError(f"{file}: made by another tool, it does not say what its outputs mean: add --classes")
    if channels is not None and channels != len(classes):
        raise UserError(f"{file}: expected {len(classes)} outputs for the classes {classes.name}, found {channels}")
    return Card(file.stem, file, classes, runtime=runtime, architecture="network from another tool")


def thread_count(threads: int) -> int:
    """CPU threads that ``threads`` means: 0 is what the environment variable OMP_NUM_THREADS says, else all cores."""
    wished = os.environ.get("OMP_NUM_THREADS", "")
    return threads or (int(wished) if wished.isdigit() else 0) or os.cpu_count() or 1


def votes(output: NDArray[Any], classes: int) -> NDArray[np.float32]:
    """Logits (1, C, H, W) from a network's output; a class map (1, H, W) or (1, 1, H, W) becomes votes of 0 and 1."""
    if output.ndim == 4 and output.shape[1] == classes:
        return output
    class_map = output.reshape(output.shape[0], *output.shape[-2:])
    return (class_map[:, None] == np.arange(classes)[:, None, None]).astype(np.float32)


def weights_beside(file: Path) -> Path:
    """The weights beside a network of two files.

    Raises:
        UserError: when they are missing.
    """
    weights = file.with_suffix(".bin")
    if not weights.is_file():
        raise UserError(f"{file}: its weights {weights.name} are missing beside it")
    return weights
