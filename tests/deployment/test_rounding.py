"""Rounding as INT8 does it: levels, ranges, gradients and weights with the exact answer, and where a network is rounded."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from prune.data.labels import CRACK
from prune.deployment.export import export
from prune.deployment.fake_quantization import fake_quantized
from prune.deployment.rounding import LEVELS, Activation, Convolution
from prune.deployment.target import ExportTarget
from prune.inference.load import load_predictor
from prune.models.checkpoint import Network


def rounding(low: float, high: float) -> Activation:
    activation = Activation()
    activation.set_range(low, high)
    return activation


def test_a_value_becomes_the_nearest_level_and_zero_stays_zero() -> None:
    activation = rounding(-1.0, 1.55)  # 255 steps of 0.01, zero is level 100
    assert activation.zero_point == 100 and activation.step.item() == pytest.approx(0.01)
    given = torch.tensor([0.0, 0.004, 0.006, -0.996, 7.0, -7.0])
    assert torch.allclose(activation(given), torch.tensor([0.0, 0.0, 0.01, -1.0, 1.55, -1.0]), atol=1e-6)


def test_a_range_holds_zero() -> None:
    assert rounding(1.0, 2.55).zero_point == 0 and rounding(1.0, 2.55).step.item() == pytest.approx(0.01)
    assert rounding(-2.55, -1.0).zero_point == 255 and torch.isfinite(rounding(0.0, 0.0)(torch.zeros(3))).all()


def test_gradients_pass_rounding_and_stop_at_the_ends() -> None:
    activation = rounding(0.0, 2.55)
    given = torch.tensor([1.004, -1.0, 9.0], requires_grad=True)
    activation(given).sum().backward()
    assert given.grad is not None and torch.equal(given.grad, torch.tensor([1.0, 0.0, 0.0]))
    # By the step: 100 - 100.4 inside, 0 and 255 at the ends (Esser et al. 2020, equation 3); by its logarithm times 0.01.
    share = (3 * LEVELS) ** -0.5
    assert activation.log_step.grad is not None
    assert activation.log_step.grad.item() == pytest.approx((-0.4 + 0 + 255) * 0.01 * share, rel=1e-4)


def test_the_range_has_the_smallest_squared_error() -> None:
    activation = Activation()
    activation.seen = [torch.full((100_000,), 0.5), torch.tensor([0.0, 10.0])]
    activation.choose_range()
    # All of 0...10 misses 0.5 by 0.0098 every time; cutting 10 to a smaller end costs one error of some units.
    assert 5 < activation.step.item() * LEVELS < 9.9 and activation.seen is None
    assert abs(activation(torch.tensor(0.5)).item() - 0.5) < 0.004


def test_a_range_is_learned() -> None:
    values = torch.randn(4096, generator=torch.Generator().manual_seed(0))
    best, learned = Activation(), rounding(-40.0, 40.0)
    best.seen = [values]
    best.choose_range()
    optimizer = torch.optim.Adam(learned.parameters(), 0.1)

    def error(activation: Activation) -> torch.Tensor:
        return (activation(values) - values).square().mean()

    assert error(learned) > 50 * error(best)
    for _ in range(120):
        optimizer.zero_grad()
        error(learned).backward()
        optimizer.step()
    assert error(learned) < 1.01 * error(best)  # it may do better than 41 shares that were tried


def test_weights_have_64_levels_per_channel_and_a_bias_those_of_the_products() -> None:
    weight = torch.tensor([[0.64, -0.304], [-6.4, 0.0]]).view(2, 2, 1, 1)
    layer = Convolution(torch.ops.aten.conv2d.default, weight, torch.tensor([0.5, -1.0]), ())
    result = layer(torch.ones(1, 2, 1, 1)).flatten()
    assert torch.allclose(result, torch.tensor([0.64 - 0.30 + 0.5, -6.4 - 1.0]), atol=1e-6)
    result.sum().backward()
    assert layer.weight is not None and layer.weight.grad is not None
    assert torch.equal(layer.weight.grad, torch.ones(2, 2, 1, 1))  # as if nothing had been rounded
    layer.deploy(torch.tensor(0.5))
    assert layer.levels is not None and layer.levels.flatten().tolist() == [64, -30, -64, 0]
    assert layer.bias_levels is not None and layer.bias_levels.tolist() == [100, -20] and layer.weight is None


def test_a_bias_fits_into_32_bits_whatever_the_weights() -> None:
    layer = Convolution(torch.ops.aten.conv2d.default, torch.full((1, 1, 1, 1), 1e-12), torch.tensor([3.0]), ())
    layer.deploy(torch.tensor(1e-3))
    assert layer.bias_levels is not None and layer.bias_steps is not None
    assert (layer.bias_levels * layer.bias_steps).item() == pytest.approx(3.0)


class Gated(nn.Module):
    """Every rule in one network: a branch that joins, a gate of one pixel, pooling, and a last convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.second = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8), nn.Hardswish(inplace=True)
        )
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.Hardsigmoid())
        self.up = nn.ConvTranspose2d(8, 8, 2, 2)
        self.last = nn.Conv2d(8, 2, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        first = self.first(image)
        x = self.second(nn.functional.max_pool2d(first, 2))
        return self.last(nn.functional.relu(self.up(x * self.gate(x)) + first))


@pytest.fixture(scope="module")
def gated() -> Network:
    torch.manual_seed(0)
    model = Gated()
    for norm in (model.first[1], model.second[1]):
        norm.running_mean.normal_(0, 0.1)
        norm.running_var.uniform_(0.5, 2)
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.normal_(norm.bias)
    return Network(model.eval(), "gated", CRACK)


PHOTOS = [np.random.default_rng(i).standard_normal((1, 3, 32, 48)).astype(np.float32) for i in range(3)]


def test_rounding_lies_before_convolutions_and_nowhere_else(gated: Network) -> None:
    rounded = fake_quantized(gated, PHOTOS)
    layers = [part for part in rounded.modules() if isinstance(part, Convolution)]
    assert [tuple(layer.weight.shape) for layer in layers if layer.weight is not None] == [
        (8, 3, 3, 3),
        (8, 1, 3, 3),
        (8, 8, 2, 2),
    ]  # the gate's and the last stay in float
    calls = [node for node in rounded.graph.nodes if node.op == "call_module" and "round" in str(node.target)]
    # Image, relu, max pool (in the range of relu), convolution, hardswish, product, transposed convolution, sum with relu.
    assert len(calls) == 8 and len({node.target for node in calls}) == 7
    assert not any("batch_norm" in str(node.target) for node in rounded.graph.nodes)
    images = torch.from_numpy(PHOTOS[0])
    for part in rounded.modules():
        if isinstance(part, Activation):
            part.seen = []  # gives what it gets
    for layer in layers:
        assert layer.weight is not None
        layer._rounded = lambda weight, steps, shape=layer.shape: weight / steps.view(shape)  # type: ignore[method-assign]
    assert torch.allclose(rounded(images), gated.model(images), atol=1e-5)


@pytest.mark.slow
def test_a_file_computes_what_was_trained_with_integers(gated: Network, tmp_path: Path) -> None:
    rounded = fake_quantized(gated, PHOTOS)
    expected = rounded(torch.from_numpy(PHOTOS[0])).detach().numpy()
    for runtime in ("onnx", "openvino"):
        target = ExportTarget(runtime, "int8")
        file = export(gated, target, tmp_path / f"gated{target.suffix}", batches=PHOTOS, rounded=rounded)
        predictor = load_predictor(file, threads=1)
        found = predictor.run(PHOTOS[0])
        assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
        assert (found.argmax(1) == expected.argmax(1)).mean() > 0.99 and predictor.card.precision == "int8"
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(tmp_path / "gated.onnx"), options, providers=["CPUExecutionProvider"])
    operators = [node.op_type for node in onnx.load(str(tmp_path / "optimized.onnx")).graph.node]
    assert operators.count("QLinearConv") == 2  # ONNX Runtime has no integer kernel for a transposed convolution
    stored = onnx.load(str(tmp_path / "gated.onnx")).graph.initializer
    assert not any(
        "convolution" in part.name and part.data_type == onnx.TensorProto.FLOAT and len(part.dims) == 4
        for part in stored
    )
