"""``prune.score``: masks of any program and labels in, scores out; needs neither PyTorch nor a network."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prune.evaluation.masks import pair_masks, score_masks
from prune.evaluation.settings import MaskSettings
from prune.options import settings_from, with_settings
from prune.report.evaluation_result import EvaluationResult, check_workbook


@with_settings(MaskSettings)
def score(
    pred_dir: str | Path,
    label_dir: str | Path,
    *,
    probabilities: str | Path | None = None,
    workbook: str | Path | None = None,
    arguments: Mapping[str, Any] | None = None,
    **settings: Any,
) -> EvaluationResult:
    """Score masks from any program against labels.

    Args:
        pred_dir: Folder of predicted masks: class ids, palette colors or black and white, joined to the labels by stem.
        label_dir: Folder of labels, or a split folder.
        probabilities: Folder of crack probabilities (.npy or gray images): adds calibration.
        workbook: Excel file to write, ending in .xlsx; the JSON is written beside it. None = write nothing.
        arguments: The arguments to record, None = these arguments.
        settings: Fields of ``prune.evaluation.settings.MaskSettings``.

    Returns:
        The same scores as ``prune.evaluate`` gives; what only a network has (cost, loss) is None.

    Raises:
        TypeError: for an unknown argument or one of another type.
        UserError: for missing, unreadable or unpaired files, sizes that differ, and unknown ids or colors.
    """
    folders = {"pred_dir": pred_dir, "label_dir": label_dir, "probabilities": probabilities}
    for name, folder in folders.items():
        if not isinstance(folder, (str, os.PathLike)) and not (folder is None and name == "probabilities"):
            raise TypeError(f"{name}: expected a path, found {folder!r} ({type(folder).__name__})")
    chosen = settings_from(MaskSettings, "score", with_scale(settings))
    file = None if workbook is None else check_workbook("workbook", workbook)
    named = {name: None if folder is None else str(folder) for name, folder in folders.items()}
    asked = asdict(chosen) | named | {"output": None if file is None else str(file)}
    pairs = pair_masks(Path(pred_dir), Path(label_dir), Path(probabilities) if probabilities else None, chosen)
    result = EvaluationResult(score_masks(pairs, chosen, dict(asked if arguments is None else arguments)))
    return result.save(file) if file else result


def with_scale(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords whose ``mm_per_pixel`` may be a number too."""
    given = settings.get("mm_per_pixel")
    number = isinstance(given, (int, float)) and not isinstance(given, bool)
    return dict(settings) | ({"mm_per_pixel": str(given)} if number else {})
