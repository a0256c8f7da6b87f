"""Freezing a part of a network: parameters and batch-norm statistics, and in a way that survives ``train()``."""

import types

from torch import nn


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
