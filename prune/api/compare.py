"""``prune.compare``: evaluations of several networks on the same images in, differences with intervals and a verdict out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from prune.api.inputs import existing_file
from prune.errors import UserError
from prune.evaluation.comparison import compare_contents
from prune.evaluation.settings import CompareSettings
from prune.options import settings_from, with_settings
from prune.report.comparison_result import CompareResult
from prune.report.evaluation_result import EvaluationResult, check_workbook
from prune.report.pair import require_pair
from prune.shapes import check_shape, load_json

AnyEvaluation = str | Path | EvaluationResult
"""The .json file of an evaluation (or the workbook beside it), or the evaluation itself."""


@with_settings(CompareSettings)
def compare(
    evaluations: Sequence[AnyEvaluation],
    *,
    baseline: AnyEvaluation | None = None,
    workbook: str | Path | None = None,
    **settings: Any,
) -> CompareResult:
    """Compare evaluations of several networks, or of other programs' masks, on the same images.

    Args:
        evaluations: At least two, from ``prune.evaluate``, ``prune.score`` or their .json files.
        baseline: What the others are compared with, None = the first.
        workbook: Excel file to write, ending in .xlsx; JSON and pictures are written beside it. None = write nothing.
        settings: Fields of ``prune.evaluation.settings.CompareSettings``.

    Returns:
        Scores, differences with paired intervals, and a verdict on every network.

    Raises:
        TypeError: for an unknown argument or one of another type.
        UserError: for missing files, other JSON files, fewer than two evaluations, and evaluations of other data, of
            other classes or under other conditions.
    """
    chosen = settings_from(CompareSettings, "compare", settings)
    if isinstance(evaluations, (str, os.PathLike, EvaluationResult)) or not isinstance(evaluations, Iterable):
        raise TypeError(f"evaluations: expected a list of evaluations, found {type(evaluations).__name__}")
    contents: dict[str, Any] = {}
    names = [_read("evaluations", one, contents) for one in evaluations]
    if len(names) + (baseline is not None) < 2:
        raise UserError(f"evaluations: expected at least two, found {len(names)}")
    first = names[0] if baseline is None else _read("baseline", baseline, contents)
    if len(contents) < 2:
        raise UserError(f"compare: expected different files, found {names[0]} twice")
    file = None if workbook is None else check_workbook("workbook", workbook)
    result = CompareResult(compare_contents(contents, first, chosen, chosen.seed))
    return result.save(file) if file else result


def _read(argument: str, evaluation: object, contents: dict[str, Any]) -> str:
    """Put the content of an evaluation into ``contents``, once, and return the name it has there."""
    if isinstance(evaluation, EvaluationResult):
        known = next((name for name, content in contents.items() if content is evaluation.content), None)
        written = next((str(file) for file in evaluation.files if file.suffix == ".json"), None)
        name = known or written or str(evaluation.summary["model"])
        while name in contents and contents[name] is not evaluation.content and written is None:
            name += "'"
        contents[name] = evaluation.content
        return name
    if not isinstance(evaluation, (str, os.PathLike)):
        raise TypeError(f"{argument}: expected a path or an EvaluationResult, found {type(evaluation).__name__}")
    file = Path(evaluation)
    file = existing_file(argument, file.with_suffix(".json") if file.suffix == ".xlsx" else file)
    name = next((name for name in contents if Path(name).resolve() == file.resolve()), str(file))
    contents[name] = load_json(file, "the JSON of an evaluation")
    check_shape(contents[name], dict, str(file))
    require_pair(file, contents[name])
    return name
