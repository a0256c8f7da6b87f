"""Training recipes: settings as plain files of ``key = value`` lines, made to be copied and edited.

The files beside this module hold the settings of known systems. Keys are the names of the flags without the dashes,
values are spelled as on the command line, everything behind ``#`` is a comment.
"""

import argparse
import configparser
import dataclasses
import difflib
from pathlib import Path
from typing import Any, NoReturn

from prune.errors import UserError
from prune.options import given_values
from prune.shapes import load_text

FOLDER = Path(__file__).parent
ONE_RUN = ("recipe", "resume", "force", "trust_pickle", "factory")
"""Fields that are said for one run: the last two let code run, which no file may permit."""


def known_recipes() -> tuple[str, ...]:
    """The names of the recipes that come with the package, sorted."""
    return tuple(sorted(file.stem for file in FOLDER.glob("*.ini")))


def recipe_file(name: str) -> Path:
    """The file behind ``--recipe``: a name of ``known_recipes``, or a path.

    Raises:
        UserError: when it is neither; the message suggests the nearest name and lists all.
    """
    if name in known_recipes():
        return FOLDER / f"{name}.ini"
    if Path(name).is_file():
        return Path(name)
    near = difflib.get_close_matches(name, known_recipes(), n=1)
    hint = f", did you mean {near[0]}?" if near else ""
    raise UserError(f"--recipe: expected one of {', '.join(known_recipes())} or a file, found {name!r}{hint}")


def read_recipe(file: Path) -> dict[str, str]:
    """The lines of a recipe as text, in their order. A header such as ``[train]`` may stand there and says nothing.

    Raises:
        UserError: for a file that is no text, a line that is not ``key = value`` and a key that stands there twice.
    """
    what = f"one of {', '.join(known_recipes())} or a text file of key = value lines"
    try:
        lines = [line.strip() for line in load_text(file, what).splitlines()]
    except UserError as error:
        raise UserError(f"--recipe: {error.message}") from None
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), inline_comment_prefixes=("#",))
    try:
        parser.read_string("\n".join(["[recipe]", *("" if line.startswith("[") else line for line in lines)]))
    except configparser.ParsingError as error:
        number = error.errors[0][0] - 1
        raise UserError(f"{file}, line {number}: expected key = value, found {lines[number - 1]!r}") from None
    except configparser.DuplicateOptionError as error:
        raise UserError(f"{file}: expected {error.option} once, found it twice") from None
    return dict(parser["recipe"])


class _Parser(argparse.ArgumentParser):
    """Complains by an exception, so that the complaint can name the file."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message.removeprefix("argument "))


def _check_keys(file: Path, settings: dict[str, str], config_class: type) -> None:
    fields = {f.name: f for f in dataclasses.fields(config_class) if "help" in f.metadata}
    single = {name for name, f in fields.items() if f.metadata["positional"] or name in ONE_RUN}
    for key in settings:
        if key in single:
            raise UserError(f"{file}: {key} belongs to one run, not into a recipe: give it on the command line")
        if key not in fields:
            near = difflib.get_close_matches(key, sorted(fields.keys() - single), n=1)
            hint = f"did you mean {near[0]}?" if near else "--help lists them"
            raise UserError(f"{file}: expected names of flags, found {key!r}: {hint}")


def recipe_settings(config_class: type, name: str) -> dict[str, Any]:
    """Fields of ``config_class`` from the recipe ``name``, converted by the types of their flags.

    A recipe has to hold by itself: it is checked over the defaults, before any flag changes it.

    Raises:
        UserError: for an unknown recipe, and naming file and key for what is wrong inside.
    """
    file = recipe_file(name)
    settings = read_recipe(file)
    _check_keys(file, settings, config_class)
    try:
        values = given_values(_Parser(add_help=False), config_class, [f"--{k}={v}" for k, v in settings.items()])
        config_class(**values)
    except UserError as error:
        raise UserError(f"{file}: {error.message}") from None
    return values
