"""The errors of a network's measurements on labeled photographs: found out, stored with the network, and read again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from prune.api.inputs import existing_file
from prune.data.split import Split
from prune.errors import UserError
from prune.files import atomic_path
from prune.inference.metadata import METADATA
from prune.inference.predictor import Card, Predictor
from prune.inference.probability import class_probability, require_logits
from prune.inference.seal import seal, unsealed
from prune.inspection.cracks import measure_cracks
from prune.inspection.known_errors import ErrorCounts, KnownErrors
from prune.inspection.likeness import features
from prune.inspection.settings import MeasureSettings
from prune.progress import progress
from prune.shapes import load_json

KEY = "crack_errors"
"""In evaluations, in checkpoints and in the metadata of exports."""


def crack_errors(predictor: Predictor, split: Split, how: MeasureSettings | None = None) -> KnownErrors:
    """Measure the cracks a network finds in labeled photographs, as a survey does, and compare them with the labels.

    Args:
        predictor: The network; its classes are those of the split.
        split: Photographs and labels.
        how: Settings, None = the defaults.

    Raises:
        UserError: for a network without the class crack, one that gives no logits, and files that cannot be read.
    """
    crack, chosen = predictor.classes.index("crack"), how or MeasureSettings()
    if crack is None:
        raise UserError(f"--crack_errors: expected a network with the class crack, found {predictor.card.file}")
    require_logits(predictor)
    counts, shortest = ErrorCounts(), chosen.min_length
    for pair in progress(split.pairs, "measuring", total=len(split.pairs)):
        image, label = split.read_image(pair), split.read_label(pair)
        found = class_probability(predictor, image, crack)
        known, labeled = label < len(predictor.classes), label == crack
        mask = (found.class_map == crack) & known
        own = measure_cracks(mask, found.probability, min_length=shortest, width=chosen.width)
        counts.add(own, measure_cracks(labeled, min_length=shortest, width="mask"), labeled)
        counts.rows.append(features(image, found.probability))
    folder = split.folder.resolve()  # the rest of its path is of no use to readers of a network's file
    return counts.result(f"{folder.parent.name}/{folder.name}", chosen.width, shortest)


def read_errors(file: str | os.PathLike[str]) -> KnownErrors:
    """The errors in the .json file of an evaluation that was made with ``crack_errors``.

    Raises:
        TypeError, UserError: for no path, a missing file and one without them.
    """
    path = existing_file("errors", file)
    try:
        content = load_json(path, "an evaluation")
        if not isinstance(content, dict) or KEY not in content:
            raise UserError(f"found none; run test.py with --{KEY}")
        return KnownErrors.from_json(content[KEY])
    except (UserError, ValueError) as error:
        raise UserError(f"--errors: {path}: expected the errors of measured cracks: {error}") from error


def stored_errors(card: Card) -> KnownErrors | None:
    """The errors stored with a network, None when there are none.

    Raises:
        UserError: when they are damaged.
    """
    content: Any = card.crack_errors
    if not content and card.runtime == "pytorch" and card.file.is_file():
        from prune.models.torch_file import read_torch

        stored = read_torch(card.file)
        content = stored.get(KEY) if isinstance(stored, dict) else None
    if not content:
        return None
    try:
        return KnownErrors.from_json(content)
    except (UserError, ValueError) as error:
        raise UserError(f"{card.file}: the errors of measured cracks are damaged ({error})") from error


def store_errors(file: Path, errors: KnownErrors) -> Path:
    """Store errors in the file of a network, atomically, and return its path; its weights stay as they are.

    Raises:
        UserError: for another kind of file than this project's checkpoints and ONNX exports.
    """
    if file.suffix == ".onnx":
        _store_onnx(file, errors)
    elif file.suffix == ".pth":
        _store_torch(file, errors)
    else:
        raise UserError(f"--{KEY}: expected a checkpoint (.pth) or an ONNX export to store errors in, found {file}")
    return file


def _store_onnx(file: Path, errors: KnownErrors) -> None:
    import onnx

    network = onnx.load(str(file))
    entry = next((one for one in network.metadata_props if one.key == METADATA), None)
    if entry is None:
        raise UserError(f"--{KEY}: expected an export of this program to store errors in, found {file}")
    entry.value = unsealed(json.dumps({**json.loads(entry.value), KEY: errors.to_json()}))
    with atomic_path(file) as temporary:
        onnx.save(network, str(temporary))
        seal(temporary)


def _store_torch(file: Path, errors: KnownErrors) -> None:
    from prune.models.checkpoint import FORMAT
    from prune.models.torch_file import read_torch, write_torch

    content = read_torch(file)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"--{KEY}: expected a checkpoint of this program to store errors in, found {file}")
    write_torch({**content, KEY: errors.to_json()}, file)
