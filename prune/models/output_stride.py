"""The output stride of dilated networks: how many pixels of the photograph one feature of the backbone stands for.

DeepLab (Chen et al. 2017) and FCN replace the strides of the last stages by dilation, so that features stay fine: stride 8
for ResNets, 16 for MobileNetV3. Giving a stride back keeps every weight; the stages after it and the head then work on a
quarter of the features. Dilations behind it are halved, those of ASPP too, so that all kernels look at the same pixels of
the photograph as before.
"""

from collections.abc import Iterator

from torch import nn
from torchvision.models.mobilenetv3 import InvertedResidual
from torchvision.models.resnet import Bottleneck
from torchvision.models.segmentation._utils import _SimpleSegmentationModel
from torchvision.models.segmentation.lraspp import LRASPP

from prune.errors import UserError
from prune.options import OUTPUT_STRIDES

BUILT = {"resnet": 8, "mobilenet": 16}
"""What torchvision builds."""
COARSEST = 32


def _kind(model: nn.Module) -> str | None:
    """Which of ``BUILT`` the backbone of a network of torchvision is, None = neither."""
    backbone = getattr(model, "backbone", None)
    if not isinstance(model, (_SimpleSegmentationModel, LRASPP)) or not isinstance(backbone, nn.ModuleDict):
        return None
    if "layer3" in backbone and isinstance(backbone["layer3"][0], Bottleneck):  # type: ignore[index]
        return "resnet"
    return "mobilenet" if any(isinstance(block, InvertedResidual) for block in backbone.values()) else None


def _depthwise(model: nn.Module) -> Iterator[nn.Conv2d]:
    """The depthwise convolutions of a MobileNetV3, in order."""
    for block in model.backbone.values():  # type: ignore[union-attr,operator]
        if isinstance(block, InvertedResidual):
            yield from (m for m in block.modules() if isinstance(m, nn.Conv2d) and m.kernel_size[0] > 1)


def output_stride(model: nn.Module) -> int | None:
    """Pixels per feature of the backbone of torchvision's DeepLab, FCN and LR-ASPP; None for other networks."""
    kind = _kind(model)
    if kind is None:
        return None
    if kind == "mobilenet":
        return BUILT[kind] if any(layer.dilation[0] > 1 for layer in _depthwise(model)) else COARSEST
    first = [stage[0].conv2.stride[0] for stage in _stages(model)]
    return BUILT[kind] * first[0] * first[1]


def as_built(model: nn.Module) -> bool:
    """Whether the output stride is the one the network is built with, or it has none."""
    kind = _kind(model)
    return kind is None or output_stride(model) == BUILT[kind]


def _stages(model: nn.Module) -> list[list[Bottleneck]]:
    return [list(model.backbone[name]) for name in ("layer3", "layer4")]  # type: ignore[index]


def _shape(layer: nn.Conv2d, stride: int, dilation: int) -> None:
    """Give a convolution a stride and a dilation, with the padding that keeps its output centered."""
    layer.stride, layer.dilation = (stride, stride), (dilation, dilation)
    layer.padding = ((layer.kernel_size[0] - 1) // 2 * dilation, (layer.kernel_size[1] - 1) // 2 * dilation)


def _stride_resnet(model: nn.Module, wanted: int) -> None:
    stride, dilation = BUILT["resnet"], 1
    for blocks in _stages(model):
        step, previous = (2, dilation) if 2 * stride <= wanted else (1, dilation)
        stride, dilation = stride * step, dilation if step == 2 else 2 * dilation
        for block in blocks:
            first = block is blocks[0]
            _shape(block.conv2, step if first else 1, previous if first else dilation)
        if blocks[0].downsample is not None:
            blocks[0].downsample[0].stride = (step, step)


def _stride_mobilenet(model: nn.Module) -> None:
    dilated = [layer for layer in _depthwise(model) if layer.dilation[0] > 1]
    for layer in dilated:
        _shape(layer, 2 if layer is dilated[0] else 1, 1)


def set_output_stride(model: nn.Module, wanted: int, flag: str = "--output_stride") -> None:
    """Give a dilated network strides back, in place, until one feature stands for ``wanted`` pixels; weights stay.

    Args:
        model: DeepLab or FCN of torchvision, dense or pruned.
        wanted: 8, 16 or 32; the one it has changes nothing.
        flag: What messages call it.

    Raises:
        UserError: for another number, a network without dilation, and for a finer stride than it has: which dilations a coarser one had is
            not known.
    """
    now, kind = output_stride(model), _kind(model)
    if wanted not in OUTPUT_STRIDES:
        raise UserError(f"{flag}: expected one of {', '.join(map(str, OUTPUT_STRIDES))}, found {wanted!r}")
    if now is None:
        raise UserError(
            f"{flag} {wanted}: expected a DeepLab or FCN with a dilated backbone, found {type(model).__name__}, "
            "which has none"
        )
    if wanted < now:
        raise UserError(f"{flag}: expected at least {now}, which this network has, found {wanted}")
    if wanted == now:
        return
    if kind == "resnet":
        _stride_resnet(model, wanted)
    else:
        _stride_mobilenet(model)
    for layer in model.classifier.modules():  # type: ignore[union-attr]
        if isinstance(layer, nn.Conv2d) and layer.dilation[0] > 1:
            _shape(layer, 1, -(-layer.dilation[0] * now // wanted))  # rounded up: 2 · 4 → 8 and 8 · 4 come out alike
