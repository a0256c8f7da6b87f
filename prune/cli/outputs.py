"""How several verbs treat the files they write: names are checked, and results of other settings are kept."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from prune.errors import UserError
from prune.shapes import Many, Maybe, check_shape, load_json

FORCE = "replace an earlier result made with other settings"
"""Help of the flag ``--force``."""
FREE = frozenset(
    (
        "cache",
        "crack_errors",
        "device",
        "factory",
        "figures",
        "force",
        "legend",
        "networks",
        "output",
        "palette",
        "threads",
    )
) | {"trust_pickle", "workers"}
"""Settings that may differ between two runs of one result."""


RESULT = {
    **{"settings?": dict, "arguments?": Maybe(dict), "run?": {"arguments?": Maybe(dict)}},
    **{"summary?": dict, "rows?": Many(dict)},
}
"""What of a result is compared before it is replaced."""
DEFAULTED = frozenset(("checkpoint", "data", "data_dir", "layer_times", "model", "state_dict", "test_dir"))
"""Settings that are found where none is named, so that a name and none may mean the same."""


def check_workbook_name(config: Any) -> None:
    """Raise ``UserError`` when ``config.output`` is no workbook's name."""
    if config.output and not config.output.endswith(".xlsx"):
        raise UserError(f"--output: expected a file name ending in .xlsx, found {config.output!r}")


def stored_result(file: Path) -> Mapping[str, Any] | None:
    """The JSON of an earlier result, None when there is none.

    Raises:
        UserError: when the file is something else.
    """
    if not file.exists():
        return None
    try:
        content = load_json(file, "a result")
        check_shape(content, RESULT, str(file))
    except UserError as error:
        raise UserError(f"{file} exists and is not a result of this program: choose another name") from error
    return dict(content)


def require_same_settings(
    file: Path, stored: Mapping[str, Any] | None, now: Mapping[str, Any], flag: str, but: Collection[str] = ()
) -> None:
    """Keep an earlier result of other settings from being replaced.

    Args:
        file: What would be replaced.
        stored: The settings it was made with, None = nothing is there.
        now: The settings of the new one; names that only one side has are not compared.
        flag: What names another file.
        but: Settings that may differ, besides ``FREE``.

    Raises:
        UserError: naming the first setting that differs.
    """
    plain = json.loads(json.dumps(dict(now), default=str))
    for name, value in plain.items():
        if stored is None or name not in stored or name in FREE or name in but:
            continue
        earlier = stored[name]
        if earlier != value and not (name in DEFAULTED and None in (earlier, value)):
            raise UserError(
                f"{file} was made with other settings, {name} {earlier!r} instead of {value!r}: choose another name "
                f"({flag}), or replace it with --force"
            )


def require_same_networks(workbook: Path, evaluations: Collection[Path]) -> None:
    """Keep a comparison of other evaluations from being replaced; raises ``UserError`` naming one of them."""
    json_file = workbook.with_suffix(".json")
    stored = stored_result(json_file)
    if stored is None:
        return
    compared = {Path(str(row.get("file"))).resolve() for row in stored.get("rows", ())}
    other = compared ^ {file.resolve() for file in evaluations}
    if other:
        raise UserError(
            f"{json_file} compares other evaluations ({min(other).name}): choose another name (--output), or replace it "
            "with --force"
        )
