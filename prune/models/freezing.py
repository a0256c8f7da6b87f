"""Freezing a part of a network: parameters and batch-norm statistics, and in a way that survives ``train()``."""

import types

from torch import nn

from prune.errors import UserError


def _stay_in_evaluation(self: nn.Module, mode: bool = True) -> nn.Module:
    return nn.Module.train(self, False)


def freeze(module: nn.Module) -> None:
    """Stop ``module`` from learning: no gradients, and batch norm keeps its statistics whatever ``train()`` says."""
    module.requires_grad_(False)
    module.train = types.MethodType(_stay_in_evaluation, module)  # type: ignore[method-assign]
    module.eval()


def unfreeze(module: nn.Module) -> None:
    """Undo ``freeze``: gradients on again, and ``train()`` works as usual."""
    module.requires_grad_(True)
    module.__dict__.pop("train", None)


def backbone_of(model: nn.Module) -> nn.Module:
    """The part that extracts features: what a network calls ``backbone`` or, as segmentation-models-pytorch, ``encoder``.

    Raises:
        UserError: when it has no such part.
    """
    for name in ("backbone", "encoder"):
        part = getattr(model, name, None)
        if isinstance(part, nn.Module):
            return part
    raise UserError(
        f"--keep_feature_extract: expected a network with a backbone or encoder, found {type(model).__name__} without"
    )
