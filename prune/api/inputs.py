"""What the functions of the Python API take: paths or objects, opened and checked in one way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prune.api.model import Model, model_of
from prune.data.find_split import find_split
from prune.data.labels import ClassSet
from prune.data.settings import DataOptions
from prune.data.split import Split
from prune.errors import UserError
from prune.inference.load import load_predictor
from prune.progress import say

if TYPE_CHECKING:  # an edge box has no PyTorch
    pass

Data = str | Path | Split
"""A split folder, a list of names, a data folder with splits, or a split that was opened already."""
AnyModel = str | Path | Model | Any
"""A checkpoint or export, a model, or a ``torch.nn.Module``."""


def existing_file(argument: str, path: object) -> Path:
    """``path`` as a file that is there.

    Raises:
        TypeError: for anything but str or Path.
        UserError: naming ``argument``, when there is no such file.
    """
    if not isinstance(path, (str, Path)):
        raise TypeError(f"{argument}: expected a path, found {type(path).__name__}")
    if not Path(path).is_file():
        raise UserError(f"--{argument}: expected a file, found none called {path}")
    return Path(path)


def opened_data(
    argument: str, data: object, role: str, classes: ClassSet | None, reading: DataOptions | None = None
) -> Split:
    """The labeled images that an argument names, announced when progress is shown.

    Args:
        argument: Its name, for messages.
        data: See ``Data``.
        role: The split taken of a data folder: train, val or test.
        classes: What the labels are read as, None = what they hold.
        reading: Layout and threshold.

    Raises:
        TypeError: for anything but a path or a split.
        UserError: when they cannot be used.
    """
    if isinstance(data, Split):
        return data
    if not isinstance(data, (str, Path)):
        raise TypeError(f"{argument}: expected a path or a Split, found {type(data).__name__}")
    how = reading or DataOptions()
    split = find_split(Path(data), classes, dataset=how.dataset, role=role, threshold=how.mask_threshold)
    say(role, f"{len(split.pairs)} images in {split.folder}: {split.describe()}")
    return split


def opened_model(argument: str, model: object, **options: Any) -> Model:
    """The model that an argument names: a path is loaded, a module is wrapped.

    Args:
        argument: Its name, for messages.
        model: See ``AnyModel``.
        options: Of ``prune.inference.load.load_predictor``.

    Raises:
        TypeError: for anything else.
        UserError: for a file that is missing or cannot be read.
    """
    if isinstance(model, Model):
        return model
    if isinstance(model, (str, Path)):
        return Model(load_predictor(existing_file(argument, model), **options))
    from prune.models.checkpoint import Network

    if isinstance(model, Network):
        return model_of(model)
    raise TypeError(f"{argument}: expected a path, a Model or a torch.nn.Module, found {type(model).__name__}")
