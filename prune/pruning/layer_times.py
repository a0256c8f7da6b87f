"""How long single layers of a network take on a runtime, by their widths: measured once and kept."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from prune.errors import UserError
from prune.files import locked, write_json
from prune.models import all_logits, mode, without_auxiliary
from prune.models.cost import shapes_of
from prune.progress import progress
from prune.pruning.group import Layer
from prune.shapes import Each, Many, check_shape, load_json

Measure = Callable[[nn.Module, tuple[int, int], str], float]
"""ms per image of a network, for an input of (height, width) px, on a runtime of ``prune.pruning.settings.RUNTIMES``."""
SHARES = (0.125, 0.5, 1.0)
"""Widths that are measured, as shares of the unpruned one; those between them are interpolated."""


@dataclass(frozen=True)
class LayerShape:
    """A convolution or linear layer as far as its time depends on it, and its unpruned widths.

    Args:
        kind: ``conv``, ``depthwise``, ``transposed`` or ``linear``.
        kernel: Height and width, as are stride, padding and dilation.
        size: Height and width of its input in features.
        inputs: Input channels.
        outputs: Output channels.
        fixed: Whether the input, and whether the output channels always stay.
    """

    kind: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    bias: bool
    size: tuple[int, int]
    inputs: int
    outputs: int
    fixed: tuple[bool, bool] = (False, False)

    @classmethod
    def of(cls, layer: nn.Module, size: tuple[int, int]) -> "LayerShape":
        """The shape of a layer that reads features of ``size``."""
        if isinstance(layer, nn.Linear):
            one, none = (1, 1), (0, 0)
            return cls(
                "linear", one, one, none, one, layer.bias is not None, one, layer.in_features, layer.out_features
            )
        assert isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
        kind = "transposed" if isinstance(layer, nn.ConvTranspose2d) else "depthwise" if layer.groups > 1 else "conv"
        shape = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        kernel, stride, padding, dilation = (tuple(int(number) for number in part) for part in shape)
        bias, widths = layer.bias is not None, (layer.in_channels, layer.out_channels)
        return cls(kind, kernel, stride, padding, dilation, bias, size, *widths)

    def build(self, inputs: int, outputs: int) -> nn.Module:
        """Such a layer of other widths, with random weights."""
        if self.kind == "depthwise":
            outputs = inputs = max(inputs, outputs)
        arguments: dict[str, Any] = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        if self.kind == "transposed":
            return nn.ConvTranspose2d(inputs, outputs, self.kernel, bias=self.bias, **arguments)  # type: ignore[arg-type]
        groups = inputs if self.kind == "depthwise" else 1
        return nn.Conv2d(inputs, outputs, self.kernel, groups=groups, bias=self.bias, **arguments)  # type: ignore[arg-type]

    def widths(self) -> list[tuple[int, int]]:
        """Pairs of input and output channels that are measured."""
        if self.kind == "depthwise":
            return [(width, width) for width in _widths(self.outputs, self.fixed[1])]
        outputs = _widths(self.outputs, self.fixed[1])
        return [(i, o) for i in _widths(self.inputs, self.fixed[0]) for o in outputs]

    def key(self) -> str:
        """What it is stored under."""
        return json.dumps(asdict(self), separators=(",", ":"))


def _widths(channels: int, fixed: bool) -> list[int]:
    return [channels] if fixed else sorted({max(1, round(share * channels)) for share in SHARES})


class Probe(nn.Module):
    """A network that is one layer: the image is repeated until it has the layer's input channels, the output is averaged.

    The convolution at the end takes no time. It is there for INT8 runtimes, which leave the last convolution in float, and its
    single channel is what they read as a class map, whatever the classes.
    """

    def __init__(self, shape: LayerShape, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layer, self.inputs = shape.build(inputs, outputs), inputs
        self.last = nn.Conv2d(outputs, 1, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """A number (N, 1, 1, 1) for an image (N, 3, H, W)."""
        features = torch.cat([image] * -(-self.inputs // 3), dim=1)[:, : self.inputs]
        averaged: torch.Tensor = self.layer(features).mean((2, 3), keepdim=True)
        return self.last(averaged)  # type: ignore[no-any-return]


def layer_shapes(model: nn.Module, size: tuple[int, int]) -> dict[str, list[LayerShape]]:
    """Every layer of the inference network as it is called on one image of ``size`` (height, width), by name.

    Layers without a call, such as those of an auxiliary head, are left out. Nothing is computed.
    """
    with without_auxiliary(model) as inference:
        shapes = shapes_of(inference)
    found: dict[str, list[LayerShape]] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
            found.setdefault(name, []).append(LayerShape.of(layer, tuple(given[0].shape[-2:])))  # type: ignore[arg-type]

        return hook

    for name, layer in shapes.named_modules():
        if isinstance(layer, Layer):
            layer.register_forward_pre_hook(note(name))
    with mode(shapes, training=False), torch.no_grad():
        all_logits(shapes, torch.empty(1, 3, *size, device="meta"))
    return found


@dataclass
class LayerTimes:
    """Times in ms of layers at any width, from those that were measured at a few.

    Args:
        grids: Per layer the ms at every pair of ``LayerShape.widths``, in that order.
    """

    grids: Mapping[LayerShape, list[float]]

    def __post_init__(self) -> None:
        self._tables = {shape: self._table(shape) for shape in self.grids}

    def _table(self, shape: LayerShape) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Input widths, output widths and ms (input, output), which never fall with a width: what falls is noise."""
        outputs = np.array(_widths(shape.outputs, shape.fixed[1]), dtype=float)
        inputs = np.array([1] if shape.kind == "depthwise" else _widths(shape.inputs, shape.fixed[0]), dtype=float)
        grid = np.array(self.grids[shape], dtype=float).reshape(len(inputs), len(outputs))
        return inputs, outputs, np.maximum.accumulate(np.maximum.accumulate(grid, axis=0), axis=1)

    def __call__(self, shape: LayerShape, inputs: float, outputs: float) -> float:
        """Ms of a layer with so many channels: linear between the measured widths, constant below the smallest."""
        known_inputs, known_outputs, grid = self._tables[shape]
        rows = [float(np.interp(outputs, known_outputs, row)) for row in grid]
        return float(np.interp(inputs, known_inputs, rows))


def measured_times(
    shapes: Collection[LayerShape], measure: Measure, runtime: str, machine: str, file: Path | None
) -> LayerTimes:
    """The times of layers on a runtime: those in ``file`` for this machine and runtime, the others measured and added to it.

    Each layer is timed alone, with what it takes to write its input and to read its output.

    Args:
        shapes: The layers, each once.
        measure: Times a network.
        runtime: What it is timed on.
        machine: What else times depend on: processor, threads, versions.
        file: JSON file that keeps them, None = none does.

    Raises:
        UserError: for a file that holds something else.
    """
    place = f"{runtime}, {machine}"
    known = _read(file).get(place, {}) if file else {}
    missing = [shape for shape in shapes if len(known.get(shape.key(), ())) != len(shape.widths())]
    for shape in progress(missing, f"timing layers on {runtime}", "layer"):
        torch.manual_seed(0)
        known[shape.key()] = [measure(Probe(shape, *pair).eval(), shape.size, runtime) for pair in shape.widths()]
        if file:  # at once: all of them together take minutes
            with locked(file, wait=True):
                kept = _read(file)
                write_json(file, {**kept, place: {**kept.get(place, {}), **known}})
    return LayerTimes({shape: known[shape.key()] for shape in shapes})


def _read(file: Path) -> dict[str, dict[str, list[float]]]:
    """Everything in the file, by machine and runtime; nothing when there is none."""
    if not file.is_file():
        return {}
    try:
        content = load_json(file, "layer times")
        check_shape(content, Each(Each(Many(float))), str(file))
        return {
            place: {key: [float(ms) for ms in ms_of] for key, ms_of in own.items()} for place, own in content.items()
        }
    except UserError as error:
        raise UserError(
            f"--layer_times {file}: expected layer times that this program wrote, found something else"
        ) from error
