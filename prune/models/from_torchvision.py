"""Networks as torchvision builds them, randomly initialized, and a microscopic DeepLabV3 with the same anatomy."""

from torch import nn
from torchvision.models import ResNet, resnet, segmentation
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.segmentation import DeepLabV3
from torchvision.models.segmentation.deeplabv3 import ASPP
from torchvision.models.segmentation.fcn import FCNHead


def build_torchvision(name: str, num_classes: int, auxiliary: bool) -> nn.Module:
    """The segmentation network torchvision calls ``name``, without pretrained weights.

    LR-ASPP has no auxiliary head.
    """
    builder = getattr(segmentation, name)
    options = {} if name.startswith("lraspp") else {"aux_loss": auxiliary}
    return builder(weights=None, weights_backbone=None, num_classes=num_classes, **options)


def build_deeplabv3_tiny(num_classes: int, auxiliary: bool) -> DeepLabV3:
    """A DeepLabV3 with one narrow bottleneck per stage: every kind of layer of the real one, 7% of its MACs.

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
