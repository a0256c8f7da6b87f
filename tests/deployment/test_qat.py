"""Quantization-aware training through ``prune.export``: settings, one short training, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import prune
from prune.cli import export as command
from prune.data.labels import CRACK, S2DS
from prune.deployment.qat import training_settings
from prune.deployment.settings import INT8_MEANS, ExportSettings
from prune.models import build_model
from prune.models.checkpoint import Network, new_stage
from tests.cli.test_commands import error_of, tiny_model
from tests.conftest import refused

LOOSE: dict[str, Any] = {"min_agreement": 0, "max_miou_drop": 100, "max_crack_drop": 100, "threads": 1}


class Small(nn.Module):
    """Two convolutions that are quantized and one that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
            *(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 7, 1)),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.body(image)


@pytest.fixture
def small() -> Network:
    torch.manual_seed(0)
    record = {"train_dir": "somewhere", "batch_size": 4, "workers": 0, "crop_size": 64, "lr": 0.1, "loss": "ce"}
    return Network(Small().eval(), "small", S2DS, lineage=[new_stage("train", record, {})])


def test_a_network_is_trained_as_before_with_smaller_steps(small: Network) -> None:
    found = training_settings(small, ExportSettings(precision="int8", qat_epochs=3, distill_weight=0.5))
    assert (found.batch_size, found.loss, found.workers) == (4, "ce", 0)
    assert (found.epochs, found.lr, found.weight_decay, found.distill_weight) == (3, 1e-4, 0.0, 0.5)
    assert (found.crop_size, found.amp, found.patience) == (256, "off", 0)
    small.lineage = []
    assert training_settings(small, ExportSettings(precision="int8", qat_epochs=1)).batch_size == 8


def test_one_epoch_gives_a_file_that_says_so(small: Network, data: Path, here: Path) -> None:
    before = {name: value.clone() for name, value in small.model.state_dict().items()}
    result = prune.export(small, "small.onnx", precision="int8", qat_epochs=1, data=data, **LOOSE)
    assert result.means == "qat" and "int8     qat" in str(result)
    assert all(torch.equal(before[name], value) for name, value in small.model.state_dict().items())
    assert result.parity is not None and result.parity.agreement > 0.5
    history = prune.load(result).card.history
    assert history[-2].startswith(f"qat: on {data / 'train'}, epochs 1") and history[-1].startswith(
        "quantize: int8 by qat"
    )
    assert json.loads(Path("small.onnx.json").read_text())["int8"] == {"means": "qat", "tried": {}}


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_a_pruned_network_learns_from_a_teacher_for_every_runtime(data: Path, here: Path, runtime: str) -> None:
    torch.manual_seed(0)
    network = Network(build_model("deeplabv3_tiny", 7).eval(), "deeplabv3_tiny")
    small = prune.prune(network, data=data, ratio=50, batches=1, batch_size=2, crop_size=64, recalibrate=False).model
    file = {"onnx": "a.onnx", "openvino": "a.xml"}[runtime]
    result = prune.export(
        small, file, precision="int8", qat_epochs=1, data=data, teacher=network, size=(64, 96), **LOOSE
    )
    assert result.means == "qat" and prune.load(result).card.size == (64, 96)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("runtime", "means"), [(runtime, name) for runtime in INT8_MEANS for name in INT8_MEANS[runtime]]
)
def test_every_means_makes_a_file(small: Network, data: Path, here: Path, runtime: str, means: str) -> None:
    file = f"a{'.onnx' if runtime == 'onnx' else '.xml'}"
    result = prune.export(small, file, precision="int8", int8_means=means, data=data, **LOOSE)
    assert result.means == means and prune.load(result).card.history[-1].startswith(f"quantize: int8 by {means}, 8 ")


class Untraceable(nn.Module):
    """Decides by what it sees, which no graph holds."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 7, 1), nn.Conv2d(3, 7, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.first(image) if image.mean() > 0 else self.second(image)


def test_a_network_that_cannot_be_traced_is_named(data: Path, here: Path) -> None:
    network = Network(Untraceable().eval(), "untraceable", S2DS)
    with refused("untraceable: cannot be trained with rounding: "):
        prune.export(network, "a.onnx", precision="int8", qat_epochs=1, data=data, **LOOSE)


def test_auto_says_what_it_chose(small: Network, data: Path, here: Path) -> None:
    result = prune.export(small, "small.onnx", precision="int8", data=data, **LOOSE)
    assert result.means == "minmax" and sorted(part.name for part in here.iterdir()) == [
        "small.onnx",
        "small.onnx.json",
    ]
    stored = json.loads(Path("small.onnx.json").read_text())["int8"]
    assert stored == {"means": "minmax", "tried": {"minmax": "within the limits"}}


def test_misuse_is_named(small: Network, data: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with refused("--qat_epochs: expected --precision int8, found fp32"):
        prune.export(small, "a.onnx", qat_epochs=1, data=data)
    with refused("--qat_epochs: expected no --max_drop: training takes its place, found both"):
        prune.export(small, "a.xml", precision="int8", qat_epochs=1, max_drop=0.5, data=data)
    with refused("--qat_epochs: expected no --int8_means: training takes its place, found both"):
        prune.export(small, "a.onnx", precision="int8", qat_epochs=1, int8_means="mse", data=data)
    with refused("--data: expected labeled photographs to train with rounding on, found none: name a data folder"):
        prune.export(small, "a.onnx", precision="int8", qat_epochs=1, parity=False)
    with refused("--teacher: expected --qat_epochs, the training it teaches, found none"):
        prune.export(small, "a.onnx", precision="int8", teacher=small, data=data)
    other = Network(build_model("deeplabv3_tiny", 2).eval(), "deeplabv3_tiny", CRACK)
    with refused("--teacher: expected the classes Background, .*, found Background, Crack in deeplabv3_tiny"):
        prune.export(small, "a.onnx", precision="int8", qat_epochs=1, teacher=other, data=data)
    words: list[object] = ["tiny", "--data", data, "--qat_epochs", 1]
    tiny_model()
    assert "--qat_epochs: expected --precision int8, found fp32" in error_of(command.main, words, capsys)
    Path("a.onnx").write_bytes(b"")
    said = error_of(command.main, ["a.onnx", "--data", data, "--qat_epochs", 1, "--precision", "int8"], capsys)
    assert "a.onnx" in said and "checkpoint" in said
