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
"""Bytes of a JSON file that is still read: 256 MiB, of a thousand images about 4."""
LARGEST_TEXT = 1 << 20
"""Bytes of a text that people write, such as a recipe or a plan: 1 MiB; its parser may need fifty times as much."""


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
        if shape.item in (int, str) and all(type(item) is shape.item for item in content):
            return  # the many pixels of a line
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


def load_text(file: Path, what: str, largest: int = LARGEST_TEXT, encoding: str = "utf-8-sig") -> str:
    """The content of a text file.

    Args:
        file: To read.
        what: What it should be, for the message.
        largest: Bytes it may have.
        encoding: Of its characters; a byte order mark is left out.

    Raises:
        UserError: when it is missing, larger, or no text.
    """
    try:
        size = file.stat().st_size
        if size > largest:
            raise UserError(f"{file}: expected {what} of at most {largest >> 20} MiB, found {size / 2**20:.0f} MiB")
        return file.read_text(encoding=encoding)
    except OSError as error:
        raise UserError(f"{file}: expected {what}, cannot read it ({error.strerror or error})") from error
    except UnicodeError as error:
        raise UserError(f"{file}: expected {what}, found no text ({error})") from error


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]}")
    return value


def load_json(file: Path, what: str) -> Any:
    """The content of a JSON file.

    Args:
        file: To read.
        what: What it should be, for the message.

    Raises:
        UserError: when it is missing, larger than 256 MiB, or no JSON; numbers must be finite.
    """
    text = load_text(file, what, LARGEST, "utf-8")
    try:
        return json.loads(text, parse_float=_finite, parse_constant=_finite)
    except RecursionError:
        raise UserError(f"{file}: expected {what}, found JSON nested too deeply") from None
    except ValueError as error:
        raise UserError(f"{file}: expected {what}, found no JSON ({error})") from error
