"""What the functions of the Python API take: paths or objects, opened and checked in one way."""

from __future__ import annotations

import colorsys
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prune.api.model import Model, model_of
from prune.data.find_split import find_split
from prune.data.labels import CRACK, S2DS, ClassSet
from prune.data.settings import DataOptions
from prune.data.split import Split
from prune.errors import UserError
from prune.files import shipped_model
from prune.inference.load import load_predictor
from prune.progress import say

if TYPE_CHECKING:  # an edge device has no PyTorch
    from prune.models.checkpoint import Network

Data = str | Path | Split
"""A split folder, a list of names, a data folder with splits, or a split that was opened already."""
AnyModel = str | Path | Model | Any
"""A checkpoint or export, a model, a ``torch.nn.Module``, or the result of a training or of pruning."""
EXPORTS = (".onnx", ".xml", ".param", ".pt2")
"""Endings of files that cannot be trained or pruned any more."""


def existing_file(argument: str, path: object) -> Path:
    """``path`` as an existing file; the name of a network included in the package (``crack``) stands for its file.

    Raises:
        TypeError: for anything but str or Path.
        UserError: naming ``argument``, when there is no such file.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{argument}: expected a path, found {type(path).__name__}")
    file = Path(path) if Path(path).is_file() else shipped_model(path)
    if file is None:
        raise UserError(f"--{argument}: expected a file, found none called {path}")
    return file


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


def class_set(classes: str | Sequence[str] | ClassSet | None) -> ClassSet | None:
    """What an argument ``classes`` means: ``s2ds``, ``crack``, names in the order of the outputs, or a class set.

    Names that S2DS has keep their colors, others get distinct ones.

    Raises:
        TypeError: for anything else.
        UserError: for an unknown set, fewer than two names, or the same name twice.
    """
    if classes is None or isinstance(classes, ClassSet):
        return classes
    known = {"s2ds": S2DS, "crack": CRACK}
    if isinstance(classes, str):
        if classes not in known:
            raise UserError(f"--classes: expected s2ds, crack or a list of names, found {classes!r}")
        return known[classes]
    if not isinstance(classes, Sequence) or not all(isinstance(name, str) for name in classes):
        raise TypeError(f"classes: expected s2ds, crack, a list of names or a ClassSet, found {type(classes).__name__}")
    if len(classes) < 2 or len({name.lower() for name in classes}) != len(classes):
        raise UserError(f"--classes: expected at least two different names, background first, found {list(classes)}")
    return ClassSet("own classes", tuple(classes), tuple(map(_color, range(len(classes)), classes)))


def _color(number: int, name: str) -> tuple[int, int, int]:
    """The color of a class: that of S2DS, black for the first, else one of hues spread by the golden ratio."""
    if number == 0:
        return (0, 0, 0)
    index = S2DS.index(name)
    if index is not None:
        return S2DS.colors[index]
    red, green, blue = colorsys.hsv_to_rgb(number * 0.618 % 1, 0.75, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def opened_model(
    argument: str,
    model: object,
    *,
    classes: str | Sequence[str] | ClassSet | None = None,
    factory: object = None,
    factory_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> Model:
    """The model that an argument names: a path is loaded, a module is wrapped (and not copied).

    Args:
        argument: Its name, for messages.
        model: See ``AnyModel``.
        classes: What the outputs of a module or of a file without our metadata mean, see ``class_set``.
        factory: What builds a module, or the network of a checkpoint that names it (see ``prune.models.factory``).
        factory_options: Keyword arguments a module was built with.
        options: Of ``prune.inference.load.load_predictor``.

    Raises:
        TypeError: for anything else.
        UserError: for a file that is missing or cannot be read, and a module that gives no logits.
    """
    model = of_result(model)
    if isinstance(model, Model):
        return model
    if isinstance(model, (str, os.PathLike)):
        if factory is not None:
            options["factory"] = factory
        return Model(load_predictor(existing_file(argument, model), classes=class_set(classes), **options))
    device = options.get("device")
    network = opened_network(argument, model, classes=classes, factory=factory, factory_options=factory_options)
    return model_of(network, str(device) if device is not None else _device_of(network))


def of_result(model: object) -> object:
    """The model that ``prune.train`` or ``prune.prune`` gave, when their whole result is handed on."""
    found = getattr(model, "model", None)
    return found if isinstance(found, Model) else model


def _device_of(network: Network) -> str:
    """Where the network is already."""
    return str(next((parameter.device for parameter in network.model.parameters()), "cpu"))


def opened_network(
    argument: str,
    model: object,
    *,
    classes: str | Sequence[str] | ClassSet | None = None,
    factory: object = None,
    factory_options: Mapping[str, Any] | None = None,
    trust_pickle: bool = False,
) -> Network:
    """The PyTorch network that an argument names, to be trained, pruned or exported: it is not copied.

    Args:
        argument: Its name, for messages.
        model: See ``AnyModel``; an export is refused.
        classes: What the outputs of a module mean, see ``class_set``.
        factory: See ``opened_model``.
        factory_options: Keyword arguments a module was built with.
        trust_pickle: Open whole-module pickles, which can run any code.

    Raises:
        TypeError: for anything else.
        UserError: for a file that is missing, cannot be read or is an export, and a module that gives no logits.
    """
    model = of_result(model)
    if isinstance(model, Model):
        return model.network
    if isinstance(model, (str, os.PathLike)):
        file = existing_file(argument, model)
        if file.suffix in EXPORTS:
            raise UserError(f"--{argument}: expected a PyTorch network (.pth), found the export {file}")
        from prune.models.checkpoint import load_checkpoint

        return load_checkpoint(file, trust_pickle, factory)
    from torch import nn

    from prune.models.checkpoint import Network

    if isinstance(model, Network):
        return model
    if isinstance(model, nn.Module):
        from prune.models.foreign import network_of_module

        return network_of_module(model, class_set(classes), factory, factory_options)
    raise TypeError(f"{argument}: expected a path, a Model or a torch.nn.Module, found {type(model).__name__}")
