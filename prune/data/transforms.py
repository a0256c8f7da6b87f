"""What happens to a training sample before the network sees it."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from prune.data.labels import IGNORE_INDEX
from prune.data.preprocessing import Preprocessing
from prune.data.voids import DrawnVoids
from prune.errors import UserError
from prune.options import AUGMENTATIONS


@dataclass(frozen=True)
class Augmentation:
    """How much training samples vary. All probabilities 0…1; ``scale`` is the range of zoom factors."""

    crop_size: int = 512
    scale: tuple[float, float] = (0.5, 2.0)
    flip: float = 0.5
    rotate: float = 0.3
    degrees: float = 20.0
    jitter: float = 0.8
    blur: float = 0.1
    noise: float = 0.1
    voids: float = 0.0
    preprocessing: Preprocessing = field(default_factory=Preprocessing)


_NO_FILTER: dict[str, float] = {"rotate": 0.0, "jitter": 0.0, "blur": 0.0, "noise": 0.0}
_CHANGES: dict[str, dict[str, float]] = dict(
    zip(AUGMENTATIONS, ({}, _NO_FILTER, {**_NO_FILTER, "flip": 0.0}), strict=True)
)


def augmentation(
    kind: str, crop_size: int, scale: tuple[float, float], preprocessing: Preprocessing, voids: float = 0.0
) -> Augmentation:
    """The variation called ``kind``, always on top of the random crop and of its zoom factors ``scale``.

    ``full`` has flips, rotation, photometric jitter, blur and noise, ``flips`` horizontal and vertical flips only,
    ``none`` nothing. ``voids`` is the share of the crops on which voids are drawn besides, see ``prune.data.voids``.

    Raises:
        UserError: for an unknown kind.
    """
    if kind not in _CHANGES:
        raise UserError(f"--augment: expected one of {', '.join(_CHANGES)}, found {kind!r}")
    full = Augmentation(crop_size, scale, voids=voids, preprocessing=preprocessing)
    return replace(full, **_CHANGES[kind])  # type: ignore[arg-type]


class RandomScaledCrop(v2.Transform):
    """Cut a square window whose side is ``size`` / zoom, zoom log-uniform in ``scale``, and resize it to ``size``.

    Only the window is resized, which costs the same for a 1-megapixel and a 40-megapixel photograph. A window larger
    than the image is padded: black in the image, ``IGNORE_INDEX`` in the label.
    """

    def __init__(self, size: int, scale: tuple[float, float]) -> None:
        super().__init__()
        self.size = size
        self.scale = scale

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the window from torch's global generator."""
        height, width = F.get_size(flat_inputs[0])
        low, high = torch.tensor(self.scale).log()
        window = max(1, round(self.size / float(torch.exp(low + (high - low) * torch.rand(())))))
        top = int(torch.randint(0, max(1, height - window + 1), ()))
        left = int(torch.randint(0, max(1, width - window + 1), ()))
        return {"top": top, "left": left, "window": window, "height": height, "width": width}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Crop, pad and resize one image or mask."""
        window = params["window"]
        height, width = min(window, params["height"]), min(window, params["width"])
        cut = F.crop(inpt, params["top"], params["left"], height, width)
        if (height, width) != (window, window):
            fill = IGNORE_INDEX if isinstance(inpt, tv_tensors.Mask) else 0
            cut = F.pad(cut, [0, 0, window - width, window - height], fill=fill)
        return F.resize(cut, [self.size, self.size], antialias=True)


def training_transform(options: Augmentation) -> v2.Compose:
    """Random scaled crop, drawn voids, flips, rotation, photometric jitter, blur, noise, normalization.

    Takes ``tv_tensors.Image`` uint8 (3, H, W) and ``tv_tensors.Mask`` uint8 (H, W); gives float32 (3, S, S) and
    uint8 (S, S), where pixels without a label are ``IGNORE_INDEX``.
    """
    fill: dict[Any, Any] = {tv_tensors.Image: 0, tv_tensors.Mask: IGNORE_INDEX}
    jitter = v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.03)
    return v2.Compose(
        [
            RandomScaledCrop(options.crop_size, options.scale),
            *([v2.RandomApply([DrawnVoids()], options.voids)] if options.voids else []),
            v2.RandomHorizontalFlip(options.flip),
            v2.RandomVerticalFlip(options.flip),
            v2.RandomApply([v2.RandomRotation(options.degrees, fill=fill)], options.rotate),
            v2.RandomApply([jitter], options.jitter),
            v2.RandomApply([v2.GaussianBlur(5, (0.3, 1.2))], options.blur),
            v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True),
            v2.RandomApply([v2.GaussianNoise(sigma=0.03)], options.noise),
            v2.Normalize(list(options.preprocessing.mean), list(options.preprocessing.std)),
        ]
    )
