"""U-Nets whose encoder is a classification network, through segmentation-models-pytorch (an optional extra)."""

from typing import Any

import torch
from torch import nn

from prune.errors import UserError, first_line
from prune.models.blocks import pad_to_multiple

PREFIX = "unet_"
"""``unet_<encoder>`` is a U-Net on that encoder of segmentation-models-pytorch."""
LIBRARY_NAMES = {"efficientnet_lite0": "timm-tf_efficientnet_lite0"}
"""What the library calls encoders that have a shorter name here."""


def _library() -> Any:
    try:
        import segmentation_models_pytorch
    except ImportError as error:
        raise UserError(
            "networks called unet_<encoder> need segmentation-models-pytorch, which is not installed: "
            "pip install prune-crackseg[encoders]"
        ) from error
    return segmentation_models_pytorch


def encoder_names() -> list[str]:
    """Every encoder the library knows.

    Raises:
        UserError: when it is not installed.
    """
    return list(_library().encoders.encoders)


def _lite(backbone: nn.Module) -> nn.Module:
    """An EfficientNet-Lite without the layers of its classifier, and with the ε of batch norm that TensorFlow trained it with."""
    del backbone.conv_head, backbone.bn2, backbone.global_pool
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3
    return backbone


class EncoderUNet(nn.Module):
    """A U-Net of the library with this project's names for its parts. Images of any size: they are padded inside."""

    multiple = 32

    def __init__(self, num_classes: int, encoder: str) -> None:
        super().__init__()
        try:
            library_name = LIBRARY_NAMES.get(encoder, encoder)
            whole = _library().Unet(library_name, encoder_weights=None, classes=num_classes)
        except (KeyError, ValueError) as error:
            raise UserError(f"{PREFIX}{encoder}: segmentation-models-pytorch says: {first_line(error)}") from error
        self.backbone, self.decoder, self.classifier = whole.encoder, whole.decoder, whole.segmentation_head
        self.aux_classifier = None
        if encoder in LIBRARY_NAMES:
            _lite(self.backbone)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits of images (N, 3, H, W): ``out`` (N, num_classes, H, W)."""
        features = self.decoder(self.backbone(pad_to_multiple(images, self.multiple)))
        return {"out": self.classifier(features)[..., : images.shape[-2], : images.shape[-1]]}


def imagenet_weights(encoder: str) -> dict[str, torch.Tensor]:
    """The encoder's ImageNet weights under this project's names; downloaded, or from the cache.

    Raises:
        OSError: when they are not available.
    """
    library = _library()
    try:
        state = library.encoders.get_encoder(LIBRARY_NAMES.get(encoder, encoder), weights="imagenet").state_dict()
    except Exception as error:  # whatever the download library raises when there is no network
        raise OSError(first_line(error)) from error
    return {f"backbone.{name}": tensor for name, tensor in state.items()}
