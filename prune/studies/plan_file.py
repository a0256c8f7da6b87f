"""Reads a plan: from a TOML file, a table, or keywords."""

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prune.errors import UserError
from prune.shapes import load_text
from prune.studies.plan import Plan, near


def plan_from(source: Plan | str | Path | Mapping[str, Any] | None = None, **changes: Any) -> Plan:
    """A plan from a TOML file, a table or another plan, with ``changes`` in place of its keys.

    Raises:
        UserError: for a file that cannot be read, an unknown key (the nearest is named) and what ``Plan`` refuses; the
            message names the file.
    """
    where = f"{source}: " if isinstance(source, (str, Path)) else ""
    try:
        values = _values(source) | changes
        known = [item.name for item in dataclasses.fields(Plan)]
        for key in values:
            if key not in known:
                raise UserError(f"unknown key {key!r}{near(key, known)}")
        return Plan(**values)
    except UserError as error:
        raise UserError(f"{where}{error.message}") from error


def _values(source: Plan | str | Path | Mapping[str, Any] | None) -> dict[str, Any]:
    if source is None:
        return {}
    if isinstance(source, Plan):
        return dict(vars(source))
    if isinstance(source, Mapping):
        return dict(source)
    if not isinstance(source, (str, Path)):
        raise TypeError(f"plan: expected a TOML file, a table or a Plan, found {type(source).__name__}")
    values = _read(Path(source))
    return {"name": Path(source).stem} | values


def _read(file: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        text = load_text(file, "a plan")
    except UserError as error:
        raise UserError(error.message.removeprefix(f"{file}: ")) from error
    try:
        return dict(tomllib.loads(text))
    except RecursionError:
        raise UserError("expected a plan in TOML, found tables nested too deeply") from None
    except ValueError as error:  # those of TOML
        raise UserError(f"expected a plan in TOML: {' '.join(str(error).split())}") from error
