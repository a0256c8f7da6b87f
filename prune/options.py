"""Flags from dataclass fields: declaring, checking and parsing them, once for every command."""

import argparse
import dataclasses
import difflib
import inspect
import math
import os
import re
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

from prune.errors import UserError

Config = TypeVar("Config")
Function = TypeVar("Function", bound=Callable[..., Any])
DEVICES = "auto, cpu, cuda or cuda:N"
CHECKPOINT_FLAGS = ("--state_dict", "--weights", "--checkpoint")
TRUST_PICKLE = "read whole-module pickles; only for files you trust: they can run code"
"""What ``--trust_pickle`` does."""
FACTORY = "package.module:function that builds your own network; must be the one its checkpoint names"
"""What ``--factory`` is."""
SPELLINGS = {
    **{flag.removeprefix("--"): CHECKPOINT_FLAGS for flag in CHECKPOINT_FLAGS},
    **dict.fromkeys(("data", "data_dir"), ("--data", "--data_dir")),
    **dict.fromkeys(("output", "output_dir"), ("--output", "--output_dir")),
    "latency_size": ("--latency_size", "--size"),
}
"""What is called the same way on every command line that takes it, by the names of fields; each command line has one of them."""
METAVARS = {
    **dict.fromkeys(("state_dict", "weights", "checkpoint", "pruned_model", "load_pretrained_weights"), "FILE"),
    **dict.fromkeys(("output", "recipe", "baseline", "image"), "FILE"),
    **dict.fromkeys(("data", "folder", "probabilities"), "DIR"),
    **dict.fromkeys(("name", "model", "class_name", "layer"), "NAME"),
    "models": "NAME,NAME",
    "device": "DEVICE",
    "factory": "MODULE:FUNCTION",
}
"""What help calls the values of fields, where neither ``option`` says it nor the name ends in ``_dir`` or ``_name``."""
PROTOCOLS = ("plain", "s2ds")
AUGMENTATIONS = ("full", "flips", "none")
SURFACES = ("concrete", "asphalt", "mixed")
"""What damage can be drawn on; ``mixed``: one or the other, evenly."""
WEIGHTS = ("auto", "coco", "imagenet", "package", "none")
LOSSES = ("ce", "bce", "focal", "dice", "ce_dice", "bce_dice", "focal_dice")
AMPS = ("auto", "off", "bf16", "fp16")
OUTPUT_STRIDES = (8, 16, 32)
"""Pixels of the photograph per feature of a dilated backbone; a network is built with the first, or the second."""
SWITCH = ("auto", True, False)
"""Choices of a flag that is on, off or decided by the program."""


def option(
    default: Any,
    help: str,
    *,
    choices: Sequence[str | bool | int] | None = None,
    low: float | None = None,
    positional: bool = False,
    flag: str = "",
    aliases: Sequence[str] = (),
    metavar: str = "",
) -> Any:
    """A dataclass field that is also a command-line flag.

    Args:
        default: Of the field.
        help: What ``--help`` says about it.
        choices: The values allowed, None = any.
        low: The smallest value allowed, None = any.
        positional: Whether it is a bare word instead of a flag.
        flag: The flag's name without dashes where it cannot be the field's, such as ``class``.
        aliases: Other spellings, dashes included; a bare word may have them too.
        metavar: What help calls the value of a flag: FILE, DIR, NAME; empty = by the name and type of the field.
    """
    metadata = {"help": help, "choices": choices, "low": low, "positional": positional, "flag": flag}
    metadata |= {"aliases": tuple(aliases), "metavar": metavar}
    return dataclasses.field(default=default, metadata=metadata)


def with_defaults(config_class: type[Config], name: str, /, **defaults: Any) -> type[Config]:
    """A config class called ``name`` with the fields and flags of ``config_class`` and other ``defaults`` for some."""
    fields = {field.name: field for field in dataclasses.fields(config_class)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(config_class)
    changed = [(n, hints[n], dataclasses.field(default=d, metadata=fields[n].metadata)) for n, d in defaults.items()]
    return dataclasses.make_dataclass(name, changed, bases=(config_class,), frozen=True)


def flag_of(field: dataclasses.Field[Any]) -> str:
    """The flag of a field as people type it, dashes included."""
    return f"--{field.metadata.get('flag') or field.name}"


def check(config: Any) -> None:
    """Check choices and lower bounds of every field of a config made with ``option``; numbers must be finite.

    Raises:
        UserError: naming the flag, what was expected and what was found.
    """
    for field in dataclasses.fields(config):
        value, choices, low = getattr(config, field.name), field.metadata.get("choices"), field.metadata.get("low")
        if choices and value not in choices and value is not field.default:
            raise UserError(f"{flag_of(field)}: expected one of {', '.join(map(str, choices))}, found {value!r}")
        if isinstance(value, float) and math.isinf(value):
            raise UserError(f"{flag_of(field)}: expected a finite number, found {value}")
        if low is not None and value is not None and not value >= low:
            raise UserError(f"{flag_of(field)}: expected at least {low}, found {value}")
        if isinstance(value, float) and math.isnan(value):
            raise UserError(f"{flag_of(field)}: expected a number, found {value}")


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` that reports errors in one line with exit code 2 and suggests the nearest flag."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Read ``args``; an unknown flag is named with the nearest known one."""
        values, unknown = self.parse_known_args(args, namespace)
        if unknown:
            flags = [word for action in self._actions for word in action.option_strings]
            name = next((word.split("=")[0] for word in unknown if word.startswith("--")), "")
            near = difflib.get_close_matches(name, flags, n=1)
            hint = f", did you mean {near[0]}{f' for {name}' if len(unknown) > 1 else ''}?" if near else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return values

    def _get_option_tuples(self, option_string: str) -> list[Any]:
        """The flags that an abbreviation may mean: other spellings of one flag are not several."""
        found = super()._get_option_tuples(option_string)
        first = [one for one in found if one[1] == one[0].option_strings[0]]
        return first if len(first) == 1 else found[:1] if len({id(one[0]) for one in found}) == 1 else found

    def error(self, message: str) -> NoReturn:
        """Print one line instead of the usage and stop."""
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def parse_bool(text: str) -> bool:
    """``True``/``False`` (also yes/no, 1/0, on/off) as people type them; argparse's own ``bool`` takes ``False`` as true."""
    lowered = text.strip().lower()
    if lowered in ("true", "yes", "1", "on"):
        return True
    if lowered in ("false", "no", "0", "off"):
        return False
    raise argparse.ArgumentTypeError(f"expected True or False, found {text!r}")


def parse_switch(text: str) -> bool | str:
    """``auto``, or what ``parse_bool`` reads."""
    if text.strip().lower() == "auto":
        return "auto"
    try:
        return parse_bool(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"expected auto, True or False, found {text!r}") from None


def parse_numbers(text: str) -> tuple[int, ...]:
    """Whole numbers separated by commas, as in ``0,2,4,8``."""
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected whole numbers separated by commas, found {text!r}") from None


def _plain_type(annotation: Any) -> Any:
    """``int`` for ``int | None`` and the like."""
    if isinstance(annotation, types.UnionType):
        return next(a for a in typing.get_args(annotation) if a is not type(None))
    return annotation


def parse_amount(flag: str, text: str) -> tuple[float, bool]:
    """What remains, as people type it: a share, ``40%`` (0.4, True), or a number, ``12.5G`` (12.5e9, False).

    Raises:
        UserError: naming ``flag``, for anything else and for zero.
    """
    match = re.fullmatch(r"((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([%kmgt]?)", text.strip(), flags=re.IGNORECASE)
    units = {"": 1.0, "%": 0.01, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
    value = float(match[1]) * units[match[2].lower()] if match else 0.0
    if not match or value <= 0:
        raise UserError(f"--{flag}: expected a share such as 40% or a number such as 12.5G or 800M, found {text!r}")
    return value, match[2] == "%"


def add_arguments(parser: argparse.ArgumentParser, config_class: type) -> None:
    """Add one argument per field of ``config_class``; fields not given on the command line stay out of the namespace."""
    hints = typing.get_type_hints(config_class)
    for field in dataclasses.fields(config_class):
        if "help" not in field.metadata:
            continue
        kind = _plain_type(hints[field.name])
        default = ",".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
        shown = "" if default in (None, "") else f" (default: {default})"
        told = field.metadata["help"].split("; default: ")[0] if shown else field.metadata["help"]
        common: dict[str, Any] = {
            "default": argparse.SUPPRESS,
            "help": (told + shown).replace("%", "%%"),
        }
        taken = {flag_of(other) for other in dataclasses.fields(config_class) if other is not field}
        for names, kept in _spellings(field, taken, common):
            _add_argument(parser, field, kind, names, kept)


def _spellings(
    field: dataclasses.Field[Any], taken: Collection[str], common: dict[str, Any]
) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    """The names of a field's arguments with their settings for argparse: a bare word with other spellings makes two.

    ``taken`` are the flags of the other fields; a ``weights`` that has choices is no file.
    """
    bare, own = field.metadata["positional"], flag_of(field)
    same = () if field.metadata["choices"] else SPELLINGS.get(field.name, ())
    aliases = [flag for flag in dict.fromkeys((*field.metadata["aliases"], *same)) if flag not in taken]
    named = common | {"dest": field.name}
    if not bare:
        names = (own, *(flag for flag in aliases if flag != own))
        return [(names, named if field.metadata["flag"] or len(names) > 1 else common)]
    flags = [(tuple(aliases), named | {"help": f"the same as {field.name.upper()}"})] if aliases else []
    return [((field.name,), common), *flags]


def _metavar(field: dataclasses.Field[Any], kind: Any) -> str:
    """What help calls the value of a field: as its ``option`` says, else by its name and type."""
    if field.metadata["metavar"] or kind is not str:
        return field.metadata["metavar"] or kind.__name__.upper()
    ending = {"dir": "DIR", "name": "NAME"}.get(field.name.rsplit("_", 1)[-1], "TEXT")
    return METAVARS.get(field.name, ending)


def _add_argument(
    parser: argparse.ArgumentParser, field: dataclasses.Field[Any], kind: Any, names: tuple[str, ...], common: Any
) -> None:
    """Add one argument under ``names``, converted and shown by the type of its field."""
    choices, bare = field.metadata["choices"], not names[0].startswith("-")
    items = typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else None
    metavar = field.metadata["metavar"]
    if items is int:
        parser.add_argument(*names, type=parse_numbers, metavar=metavar or "INT,INT", **common)
    elif items is str and bare:
        parser.add_argument(*names, nargs="*", metavar=metavar or "FILE", **common)
    elif items is str:
        parser.add_argument(*names, nargs="+", action="extend", metavar=metavar or "FILE", **common)
    elif bare:
        parser.add_argument(*names, nargs="?", type=kind, metavar=field.name.upper(), **common)
    elif kind is bool:
        parse, metavar = (parse_switch, "|".join(map(str, choices))) if choices else (parse_bool, "BOOL")
        parser.add_argument(*names, nargs="?", type=parse, const=True, metavar=metavar, **common)
    else:
        metavar = "|".join(map(str, choices)) if choices else _metavar(field, kind)
        parser.add_argument(*names, type=kind, metavar=metavar, **common)


def given_values(parser: argparse.ArgumentParser, config_class: type, words: Sequence[str]) -> dict[str, Any]:
    """The fields of ``config_class`` that ``words`` set, converted by the types of their flags; all others stay out."""
    add_arguments(parser, config_class)
    given = vars(parser.parse_args(list(words)))
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def settings_from(kind: type[Config], function: str, values: Mapping[str, Any]) -> Config:
    """The settings a function of the Python API was given as keywords.

    Args:
        kind: Their dataclass.
        function: Its name, for messages.
        values: Keywords and values.

    Raises:
        TypeError: for an unknown keyword, suggesting the nearest, and for a value of another type.
        UserError: for a value that is not allowed.
    """
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f", did you mean {near[0]}?" if near else f": expected some of {', '.join(known)}"
            raise TypeError(f"{function}() has no argument {name!r}{hint}")
    hints = typing.get_type_hints(kind)
    for name, value in values.items():
        if not _fits(value, hints[name]):
            found = f"{value!r} ({type(value).__name__})"
            raise TypeError(f"{function}(): {name}: expected {_type_name(hints[name])}, found {found}")
    return kind(**values)


def require_types(kind: type, values: Mapping[str, Any], where: str) -> None:
    """Raise ``UserError`` naming ``where`` when one of ``values`` is of another type than the field of its name in ``kind``."""
    hints = typing.get_type_hints(kind)
    for name, value in values.items():
        if name in hints and not _fits(value, hints[name]):
            raise UserError(f"{where}: expected {_type_name(hints[name])} as {name}, found {value!r}")


def fields_of(kind: type, options: Any) -> dict[str, Any]:
    """The values that ``options`` holds for the fields of ``kind``, a base of its class, as keywords."""
    return {field.name: getattr(options, field.name) for field in dataclasses.fields(kind)}


def _fits(value: Any, annotation: Any) -> bool:
    """Whether a value is of an annotated type; whole numbers fit where fractions are asked for, paths where text is."""
    if isinstance(annotation, types.UnionType):
        return any(_fits(value, part) for part in typing.get_args(annotation))
    if typing.get_origin(annotation) is tuple:
        return isinstance(value, (tuple, list)) and all(_fits(v, typing.get_args(annotation)[0]) for v in value)
    if annotation in (int, float) and isinstance(value, bool):
        return False
    if annotation is float:
        return isinstance(value, (int, float))
    if annotation is str:
        return isinstance(value, (str, os.PathLike))
    return isinstance(value, annotation)


def _type_name(annotation: Any) -> str:
    return (
        str(annotation) if isinstance(annotation, types.UnionType) else getattr(annotation, "__name__", str(annotation))
    )


def with_settings(kind: type, /, *leave_out: str) -> Callable[[Function], Function]:
    """Decorate a function whose ``**settings`` are the fields of a dataclass, so that ``help`` lists them with defaults."""

    def decorate(function: Function) -> Function:
        own = inspect.signature(function)
        kept = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        taken = {p.name for p in kept} | set(leave_out)
        listed = [
            inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=f.type)
            for f in dataclasses.fields(kind)
            if f.name not in taken
        ]
        function.__signature__ = own.replace(parameters=[*kept, *listed])  # type: ignore[attr-defined]
        return function

    return decorate
