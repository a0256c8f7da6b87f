"""What a JSON file of this program must hold, checked before it is used: damaged or foreign files become one line."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prune.errors import UserError

WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", list: "a list", dict: "a table"}
LARGEST = 1 << 28
"""Bytes of a file that is still read: 256 MiB, of a thousand images about 4."""


@dataclass(frozen=True)
class Many:
    """A list whose items all have a shape."""

    item: Any


@dataclass(frozen=True)
class Each:
    """A table of any keys whose values all have a shape."""

    value: Any


@dataclass(frozen=True)
class Maybe:
    """A shape, or null."""

    shape: Any


def check_shape(content: Any, shape: Any, where: str, at: str = "") -> None:
    """Refuse content of another shape.

    Args:
        content: As ``json.loads`` gives it.
        shape: ``str``, ``int``, ``float`` (finite, whole numbers too), ``bool``, ``list``, ``dict``, ``object`` (anything), a
            table of shapes by key (other keys may be there; a key ending in ``?`` may be missing), ``Many``, ``Each``, ``Maybe``.
        where: The file, for the message.
        at: The place inside of it.

    Raises:
        UserError: naming file and place, what was expected and what was found.
    """
    if isinstance(shape, Maybe):
        if content is not None:
            check_shape(content, shape.shape, where, at)
    elif isinstance(shape, Many):
        _require(content, list, where, at)
        for number, item in enumerate(content):
            check_shape(item, shape.item, where, f"{at}[{number}]")
    elif isinstance(shape, Each):
        _require(content, dict, where, at)
        for key, value in content.items():
            check_shape(value, shape.value, where, f"{at}.{key}")
    elif isinstance(shape, Mapping):
        _require(content, dict, where, at)
        for key, inner in shape.items():
            name = key.removesuffix("?")
            if name in content:
                check_shape(content[name], inner, where, f"{at}.{name}")
            elif name == key:
                raise UserError(f"{where}: expected {_place(f'{at}.{name}')}, found none")
    elif shape is not object:
        _require(content, shape, where, at)


def _require(content: Any, kind: type, where: str, at: str) -> None:
    number = isinstance(content, (int, float)) and not isinstance(content, bool)
    kinds = (list, tuple) if kind is list else (kind,)  # torch.save keeps tuples
    fits = number and math.isfinite(content) if kind is float else isinstance(content, kinds)
    if not fits or (kind is int and isinstance(content, bool)):
        found = "null" if content is None else WORDS.get(type(content), type(content).__name__)
        found = f"{content}" if number and not math.isfinite(content) else found
        raise UserError(f"{where}: expected {WORDS[kind]} as {_place(at)}, found {found}")


def _place(at: str) -> str:
    text = at.removeprefix(".") or "its content"
    return text if len(text) < 80 else f"{text[:77]}..."


def load_json(file: Path, what: str) -> Any:
    """The content of a JSON file.

    Args:
        file: To read.
        what: What it should be, for the message.

    Raises:
        UserError: when it is missing, larger than 256 MiB, or no JSON.
    """
    try:
        if file.stat().st_size > LARGEST:
            raise UserError(
                f"{file}: expected {what} of at most {LARGEST >> 20} MiB, found {file.stat().st_size >> 20}"
            )
        return json.loads(file.read_text(encoding="utf-8"))
    except RecursionError:
        raise UserError(f"{file}: expected {what}, found JSON nested too deeply") from None
    except OSError as error:
        raise UserError(f"{file}: expected {what}, cannot read it ({error.strerror or error})") from error
    except ValueError as error:
        raise UserError(f"{file}: expected {what}, found no JSON ({error})") from error
