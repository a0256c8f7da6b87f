"""A network this project does not know goes the whole way: pruned, fine-tuned, scored, exported, and used."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

import prune
from prune.cli import prune as command_line
from prune.inference.gradcam import cam_layer
from prune.models import mode
from prune.models.checkpoint import Network, load_checkpoint
from tests.conftest import refused

FPN = {"encoder_name": "resnet18", "encoder_weights": None, "classes": 7}
PRUNING: dict[str, Any] = {"latency_repeats": 0, "latency_size": 64, "crop_size": 64, "batches": 2, "amp": "off"}
TRAINING: dict[str, Any] = {"epochs": 1, "crop_size": 64, "batch_size": 4, "workers": 0, "amp": "off"}


class Own(nn.Module):
    """A bare tensor out."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.last = nn.Conv2d(16, 7, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.last(self.body(images))


@pytest.mark.slow  # 12 s
def test_a_network_of_another_library_goes_the_whole_way(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    small = prune.prune(smp.FPN(**FPN), data=data, factory=smp.FPN, factory_options=FPN, **PRUNING)
    tuned = prune.train(data, start=small.model, checkpoint=tmp_path / "tuned.pth", **TRAINING)
    assert small.report.after.parameters < 0.3 * small.report.before.parameters
    loaded = prune.load(tmp_path / "tuned.pth", factory=smp.FPN)
    assert [stage["stage"] for stage in loaded.network.lineage] == ["prune", "fine-tune"]
    scores = [prune.evaluate(model, data / "test", latency_repeats=0).summary for model in (loaded, tuned.model)]
    assert scores[0] == scores[1] and scores[0]["images"] == 3
    file = prune.export(loaded, tmp_path / "tuned.onnx", data=data)
    photo = next((data / "test/Images").iterdir())
    maps = [model.predict(photo).class_map for model in (prune.load(file), loaded)]
    assert np.mean(maps[0] == maps[1]) > 0.999


@pytest.mark.slow
def test_a_module_as_it_is_can_be_scored_and_exported(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Own().eval()
    small = prune.prune(module, data=data, round_to=1, **PRUNING)
    dense, pruned = (prune.evaluate(model, data / "test", latency_repeats=0) for model in (module, small.model))
    assert dense.summary["images"] == pruned.summary["images"] == 3
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), mode(small.model.module, training=False):
        expected = small.model.module(image)
    file = prune.export(small.model, tmp_path / "own.onnx", data=data)
    found = prune.load(file).predictor.run(image.numpy())
    assert np.allclose(expected.numpy(), np.asarray(found), atol=1e-4)


def test_the_command_line_prunes_a_checkpoint_that_names_a_factory(data: Path, here: Path) -> None:
    prune.prune(Own(), ratio=0, factory=Own, checkpoint="results/models/own.pth", **PRUNING)
    words = ["--data_dir", str(data), "--importance_type", "Random", "--latency_repeats", "0", "--round_to", "1"]
    with refused(f"own.pth: expected --factory {__name__}:Own, the function that builds this network"):
        command_line.main(words)
    command_line.main([*words, "--factory", f"{__name__}:Own", "--recalibration_batches", "1"])
    network = load_checkpoint(Path("results/models/own_random_50.pth"), factory=Own)
    assert network.model.body[0].out_channels == 8  # type: ignore[index, union-attr]


def test_a_heat_map_needs_the_name_of_a_layer() -> None:
    from prune.inference.torch import TorchPredictor
    from prune.models.foreign import network_of_module

    network: Network = network_of_module(Own(), factory=Own)
    predictor = TorchPredictor(network, torch.device("cpu"))
    with refused(f"--layer: expected a module of factory:{__name__}:Own by name, found none"):
        cam_layer(predictor)
    assert cam_layer(predictor, "body") == "body" and predictor.card.name == "Own"
