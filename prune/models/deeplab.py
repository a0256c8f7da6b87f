"""DeepLabV3 (Chen et al. 2017) as torchvision builds it, and a microscopic relative with the same anatomy."""

from torch import nn
from torchvision.models import ResNet, resnet
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.segmentation import DeepLabV3, deeplabv3_resnet101
from torchvision.models.segmentation.deeplabv3 import ASPP
from torchvision.models.segmentation.fcn import FCNHead


def build_deeplabv3_resnet101(num_classes: int, auxiliary: bool) -> DeepLabV3:
    """Torchvision's DeepLabV3 on a dilated ResNet-101 (output stride 8), randomly initialized."""
    return deeplabv3_resnet101(weights=None, weights_backbone=None, num_classes=num_classes, aux_loss=auxiliary)


def build_deeplabv3_tiny(num_classes: int, auxiliary: bool) -> DeepLabV3:
    """A DeepLabV3 with one narrow bottleneck per stage: every kind of layer of the real one, 7 % of its MACs.

    For tests and quick trials; 4.1 M parameters without auxiliary head, 6.4 M with it.
    """
    backbone = ResNet(
        resnet.Bottleneck,
        [1, 1, 1, 1],
        replace_stride_with_dilation=[False, True, True],
        width_per_group=8,
    )
    layers = {"layer4": "out"} | ({"layer3": "aux"} if auxiliary else {})
    classifier = nn.Sequential(
        ASPP(2048, [2, 4, 6], out_channels=16),
        nn.Conv2d(16, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, num_classes, 1),
    )
    auxiliary_head = FCNHead(1024, num_classes) if auxiliary else None
    return DeepLabV3(IntermediateLayerGetter(backbone, return_layers=layers), classifier, auxiliary_head)
