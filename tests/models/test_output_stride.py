"""Strides given back to dilated networks: shapes, weights, MACs, checkpoints, pruning, targets and exports."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import segmentation

import prune
from prune.inference.load import load_predictor
from prune.models import all_logits, build_model, mode
from prune.models.checkpoint import Network, describe_stage, load_checkpoint, save_checkpoint
from prune.models.cost import count, shapes_of
from prune.models.foreign import network_of_module
from prune.models.output_stride import as_built, output_stride, set_output_stride
from prune.pruning.plan import plan
from prune.pruning.settings import PruneSettings
from tests.conftest import refused

QUICK: dict[str, Any] = {"latency_repeats": 0, "latency_size": 64, "importance": "Magnitude", "round_to": 1}


def tiny() -> Network:
    torch.manual_seed(0)
    return Network(build_model("deeplabv3_tiny", 7).eval(), "deeplabv3_tiny")


def logits(model: nn.Module, side: int = 64) -> torch.Tensor:
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), mode(model, training=False):
        return all_logits(model.cpu().to(memory_format=torch.contiguous_format), image)["out"]  # type: ignore[call-overload]


def features(model: Any, side: int = 128) -> tuple[int, int]:
    shapes = shapes_of(model)
    shapes.eval()
    maps = shapes.backbone(torch.empty(1, 3, side, side, device="meta"))
    return tuple(maps["high" if "high" in maps else "out"].shape[-2:])


@pytest.mark.parametrize(
    ("name", "dilate", "wanted"),
    [
        ("deeplabv3_resnet50", [False, False, True], 16),
        ("deeplabv3_resnet50", [False, False, False], 32),
        ("fcn_resnet50", [False, False, True], 16),
    ],
)
def test_convolutions_are_those_torchvision_builds_with_that_stride(name: str, dilate: list[bool], wanted: int) -> None:
    with torch.device("meta"):
        model: Any = build_model(name, 7)
        expected = segmentation.fcn.resnet50(replace_stride_with_dilation=dilate)
    assert (output_stride(model), as_built(model)) == (8, True)
    set_output_stride(model, wanted)
    assert (output_stride(model), as_built(model), features(model)) == (wanted, False, (128 // wanted,) * 2)
    own = dict(model.backbone.named_modules())
    for place, layer in expected.named_modules():
        if isinstance(layer, nn.Conv2d):
            assert (own[place].stride, own[place].dilation, own[place].padding) == (
                layer.stride,
                layer.dilation,
                layer.padding,
            ), place
    if name.startswith("deeplab"):
        rates = [convolution[0].dilation[0] for convolution in model.classifier[0].convs[1:4]]
        assert rates == [rate * 8 // wanted for rate in (12, 24, 36)]  # the same pixels of the photograph
        assert [convolution[0].padding[0] for convolution in model.classifier[0].convs[1:4]] == rates


@pytest.mark.parametrize("name", ["deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"])
def test_mobilenet_goes_from_16_to_32_as_torchvision_builds_it(name: str) -> None:
    with torch.device("meta"):
        model: Any = build_model(name, 7)
        expected = segmentation.deeplabv3.mobilenet_v3_large().features
    assert output_stride(model) == 16
    set_output_stride(model, 32)
    assert (output_stride(model), features(model)) == (32, (4, 4))
    own = dict(model.backbone.named_modules())
    layers = {place: layer for place, layer in expected.named_modules() if isinstance(layer, nn.Conv2d)}
    assert all(
        (own[p].stride, own[p].dilation, own[p].padding) == (e.stride, e.dilation, e.padding) for p, e in layers.items()
    )


def test_weights_stay_bit_equal_outputs_keep_their_size_and_macs_go() -> None:
    network = tiny()
    before = {name: tensor.clone() for name, tensor in network.model.state_dict().items()}
    fine, dense = logits(network.model), count(network.model, (128, 128))
    set_output_stride(network.model, 16)
    coarse, macs = logits(network.model), count(network.model, (128, 128))
    assert all(torch.equal(before[name], tensor) for name, tensor in network.model.state_dict().items())
    assert coarse.shape == fine.shape and not torch.equal(coarse, fine)
    assert macs[0] == dense[0]
    stem = shapes_of(network.model)
    assert output_stride(stem) == 16 and macs[1] < 0.45 * dense[1]


def test_two_steps_come_out_like_one() -> None:
    once, twice = tiny().model, tiny().model
    set_output_stride(once, 32)
    set_output_stride(twice, 16)
    set_output_stride(twice, 32)
    set_output_stride(twice, 32)
    assert torch.equal(logits(once), logits(twice))


def test_a_checkpoint_keeps_the_stride_and_files_without_one_stay_readable_to_earlier_programs(tmp_path: Path) -> None:
    network = tiny()
    plain = save_checkpoint(network, tmp_path / "plain.pth")
    set_output_stride(network.model, 16)
    file = save_checkpoint(network, tmp_path / "coarse.pth")
    assert [torch.load(f, weights_only=True)["version"] for f in (plain, file)] == [1, 2]
    loaded = load_checkpoint(file)
    assert output_stride(loaded.model) == 16 and torch.equal(logits(loaded.model), logits(network.model))
    assert output_stride(load_checkpoint(plain).model) == 8
    content = torch.load(file, weights_only=True)
    for wrong, message in (
        (7, "output stride: expected one of 8, 16, 32, found 7"),
        ("16", "as architecture.output_stride, found text"),
    ):
        content["architecture"]["output_stride"] = wrong
        torch.save(content, tmp_path / "wrong.pth")
        with refused(f"wrong.pth: .*{message}"):
            load_checkpoint(tmp_path / "wrong.pth")


def test_a_module_with_another_stride_is_recognized() -> None:
    module = tiny().model
    set_output_stride(module, 16)
    assert network_of_module(module).architecture == "deeplabv3_tiny"


def test_pruning_keeps_the_stride_it_is_given_and_the_caller_network_stays(tmp_path: Path) -> None:
    network = tiny()
    result = prune.prune(network, ratio=50, output_stride=16, checkpoint=tmp_path / "small.pth", **QUICK)
    assert output_stride(network.model) == 8 and output_stride(result.model.module) == 16
    loaded = load_checkpoint(tmp_path / "small.pth")
    assert output_stride(loaded.model) == 16 and torch.equal(logits(loaded.model), logits(result.model.module))
    plain = prune.prune(network, ratio=50, **QUICK)
    assert result.report.before.macs == plain.report.before.macs > 1.9 * result.report.after.macs
    assert result.report.after.macs < 0.5 * plain.report.after.macs
    assert result.report.after.parameters == plain.report.after.parameters
    assert describe_stage(loaded.lineage[-1]).endswith("step(s), output stride 16")
    again = prune.prune(loaded, ratio=20, **QUICK)
    assert output_stride(again.model.module) == 16


def test_ratio_0_changes_the_stride_alone() -> None:
    network = tiny()
    result = prune.prune(network, ratio=0, output_stride=16, **QUICK)
    after = result.model.module.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in network.model.state_dict().items())
    assert (
        output_stride(result.model.module) == 16 and result.model.network.lineage[-1]["settings"]["output_stride"] == 16
    )


@pytest.mark.slow
def test_a_share_of_macs_is_one_of_the_network_as_it_was() -> None:
    network = tiny()
    dense = count(network.model, (64, 64))[1]
    result = prune.prune(network, target_macs="20%", output_stride=16, **QUICK)
    assert result.report.budget is not None and result.report.budget.hit
    assert result.report.after.macs == pytest.approx(0.2 * dense, rel=0.03)
    even = plan(network.model, PruneSettings(target_macs="20%", latency_size=64, round_to=1))
    assert result.report.budget.ratio < even.config.pruning_ratio - 10
    coarse = copy.deepcopy(network)
    set_output_stride(coarse.model, 16)
    share = count(coarse.model, (64, 64))[1] / dense
    with refused("^--target_macs .*expected less than the unpruned network's"):
        prune.prune(network, target_macs=f"{100 * share + 1:.0f}%", output_stride=16, **QUICK)


@pytest.mark.parametrize(
    "suffix", [".pt2", pytest.param(".onnx", marks=pytest.mark.slow), pytest.param(".xml", marks=pytest.mark.slow)]
)
def test_exports_compute_what_the_network_with_that_stride_does(suffix: str, tmp_path: Path) -> None:
    network = tiny()
    file = tmp_path / f"coarse{suffix}"
    prune.export(network, file, parity=False, output_stride=16)
    assert output_stride(network.model) == 8
    set_output_stride(network.model, 16)
    predictor = load_predictor(file)
    for side in (64, 96):
        image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1))
        assert np.allclose(predictor.run(image.numpy()), logits(network.model, side).numpy(), atol=1e-4)
    assert predictor.card.history[-1] == "output stride 16, weights kept"


def test_networks_without_dilation_and_finer_strides_are_refused(tmp_path: Path) -> None:
    hrsegnet = Network(build_model("hrsegnet_b16", 2), "hrsegnet_b16")
    message = "^--output_stride 16: expected a DeepLab or FCN with a dilated backbone, found HrSegNet, which has none$"
    with refused(message):
        prune.prune(hrsegnet, output_stride=16, **QUICK)
    with refused(message):
        prune.export(hrsegnet, tmp_path / "a.onnx", parity=False, output_stride=16)
    with refused("found EncoderUNet, which has none$"):
        set_output_stride(build_model("unet_resnet50", 2), 16)
    coarse = tiny().model
    set_output_stride(coarse, 16)
    with refused("^--output_stride: expected at least 16, which this network has, found 8$"):
        set_output_stride(coarse, 8)
    with refused("^--output_stride: expected one of 8, 16, 32, found 12$"):
        prune.prune(tiny(), output_stride=12, **QUICK)
