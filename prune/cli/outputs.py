"""Checks that several verbs share."""

from typing import Any

from prune.errors import UserError


def check_workbook_name(config: Any) -> None:
    """Raise ``UserError`` when ``config.output`` is no workbook's name."""
    if config.output and not config.output.endswith(".xlsx"):
        raise UserError(f"--output: expected a file name ending in .xlsx, found {config.output!r}")
