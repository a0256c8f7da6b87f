"""What a bare state dict tells: which network it is of, and how many classes it has."""

import itertools
from collections.abc import Mapping
from functools import cache

import torch

from prune.data.labels import CRACK, IGNORE_INDEX, S2DS, ClassSet
from prune.errors import UserError
from prune.models import ARCHITECTURES, build_model, output_layers


def unnamed_classes(number: int, source: object) -> ClassSet:
    """Classes for a network that does not name them: two are taken for background and crack, seven for those of S2DS.

    Raises:
        UserError: naming ``source``, for a number of outputs that cannot be classes.
    """
    if number > IGNORE_INDEX:
        raise UserError(f"{source}: expected at most {IGNORE_INDEX} classes, found {number}")
    known = next((classes for classes in (S2DS, CRACK) if len(classes) == number), None)
    names = tuple(f"class {i}" for i in range(number))
    return known or ClassSet(f"{number} unnamed classes", names, ((128, 128, 128),) * number)


@cache
def _shapes(name: str, auxiliary: bool) -> tuple[dict[str, torch.Size], str]:
    """Shapes of the tensors of a network by name, and the name of the weights of its output; none where a package is missing."""
    try:
        with torch.device("meta"):
            model = build_model(name, 2, auxiliary)
    except UserError:
        return {}, ""
    last = output_layers(model)[0]
    output = next(key for key, module in model.named_modules() if module is last)
    return {key: tensor.shape for key, tensor in model.state_dict().items()}, f"{output}.weight"


def describe_state(state: Mapping[str, torch.Tensor], path: object) -> tuple[str, int, bool]:
    """Architecture, number of classes and whether there are auxiliary heads, from the names and shapes of the tensors.

    Networks of one family have the same names; the one whose dense widths fit best is taken, although a pruned
    network is rebuilt alike under either name.

    Raises:
        UserError: when no network has tensors of these names.
    """
    best: tuple[int, str, int, bool] | None = None
    for name, auxiliary in itertools.product(ARCHITECTURES, (False, True)):
        own, output = _shapes(name, auxiliary)
        if own.keys() != state.keys() or not state[output].ndim:
            continue
        fitting = sum(own[key] == tensor.shape for key, tensor in state.items())
        if best is None or fitting > best[0]:
            best = fitting, name, int(state[output].shape[0]), auxiliary
    if best is None:
        raise UserError(
            f"{path}: expected the state dict of a network this project knows (python -m prune models), found other weights"
        )
    return best[1:]
