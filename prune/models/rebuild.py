"""A pruned network from its state dict alone: the shapes of the tensors are the widths of the layers."""

from collections.abc import Mapping

import torch
from torch import nn

from prune.errors import UserError
from prune.models import build_model


def _resize(module: nn.Module, prefix: str, state: Mapping[str, torch.Tensor]) -> None:
    """Set the widths of one convolution, normalization or linear layer to what its stored tensors dictate."""
    weight = state.get(f"{prefix}.weight")
    if weight is None:
        return
    if isinstance(module, nn.Conv2d):
        depthwise = module.groups == module.in_channels > 1
        module.out_channels = weight.shape[0]
        module.groups = weight.shape[0] if depthwise else module.groups
        module.in_channels = weight.shape[1] * module.groups
    elif isinstance(module, nn.ConvTranspose2d):
        module.in_channels, module.out_channels = weight.shape[:2]
    elif isinstance(module, (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)):
        module.num_features = weight.shape[0]
    elif isinstance(module, nn.GroupNorm):
        module.num_channels = weight.shape[0]
    elif isinstance(module, nn.LayerNorm):
        module.normalized_shape = tuple(weight.shape)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = weight.shape[0]
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = weight.shape
    else:
        return
    for name in [*module._parameters, *module._buffers]:
        stored = state.get(f"{prefix}.{name}")
        if stored is None:
            continue
        empty = torch.empty(stored.shape, dtype=stored.dtype, device="meta")
        if name in module._parameters:
            module.register_parameter(name, nn.Parameter(empty))
        else:
            module.register_buffer(name, empty)


def fill(model: nn.Module, state: Mapping[str, torch.Tensor], name: str) -> nn.Module:
    """Give ``model`` the widths that ``state`` dictates and load it, in evaluation mode.

    Args:
        model: The dense network, which is changed.
        state: State dict of the dense or pruned network; its tensors are copied.
        name: What the architecture is called, for messages.

    Raises:
        UserError: when the state dict does not fit the architecture (missing, unexpected or impossible tensors).
    """
    for prefix, module in model.named_modules():
        _resize(module, prefix, state)
    copies = {key: value.detach().clone() for key, value in state.items()}
    try:
        model.load_state_dict(copies, assign=True)
    except RuntimeError as error:
        first = str(error).split("\n")[1].strip() if "\n" in str(error) else str(error)
        raise UserError(f"the weights do not fit the architecture {name}: {first[:200]}") from error
    return model.eval()


def rebuild(name: str, num_classes: int, auxiliary: bool, state: Mapping[str, torch.Tensor]) -> nn.Module:
    """Build ``name`` with the widths that ``state`` dictates and load it; the logits are bit-equal to the saved network's.

    Args:
        name: See ``prune.models.architecture``.
        num_classes: Number of output channels.
        auxiliary: Whether the auxiliary head is part of the network.
        state: State dict of the dense or pruned network; its tensors are copied.

    Raises:
        UserError: when the state dict does not fit the architecture (missing, unexpected or impossible tensors).
    """
    with torch.device("meta"):
        model = build_model(name, num_classes, auxiliary)
    return fill(model, state, name)
