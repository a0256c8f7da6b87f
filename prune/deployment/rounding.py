"""Rounding as INT8 does it, computed in float32: activations and convolutions that can be measured and trained.

A tensor x is rounded to 256 levels of one size (Jacob et al. 2018, arXiv 1712.05877):

    q = clip(round(x / s) + z, 0, 255),    x̂ = s · (q − z)

The size s of a step is learned with the weights by gradient descent, rounding passed straight through (Esser et al. 2020,
LSQ, arXiv 1902.08153), as a logarithm so that a step of the optimizer changes it by a share (Jain et al. 2020,
arXiv 1903.08066); the level z of zero is fixed by calibration. Weights have one step per output channel,
s = max|w| / 64: seven bits, because CPUs without VNNI add two products in 16 bits and saturate with eight.
"""

from typing import Any

import torch
from torch import nn

LEVELS = 255
"""Highest level of an activation."""
WEIGHT_LEVELS = 64
"""Highest level of a weight."""
SAMPLES = 2048
"""Values of a tensor that are taken of every photograph to choose its range by."""
SHARES = torch.logspace(0, -2, 41).tolist()
"""Shares of the range from minimum to maximum that are tried."""
BIAS_LEVELS = 2**30
"""Highest level of a bias: it must fit into 32 bits with room for the sum."""

CONVOLUTIONS = {torch.ops.aten.conv2d.default: 0, torch.ops.aten.conv_transpose2d.input: 1}
"""Operators whose weights are quantized, with the axis of the output channels."""


def _symbolic(operator: str, inputs: list[Any], like: Any, dtype: torch.dtype, axis: int = 0) -> Any:
    """A node of an ONNX file; ``axis`` matters where there is a step per channel."""
    return torch.onnx.ops.symbolic(operator, inputs, {"axis": axis}, dtype=dtype, shape=like.shape)


class _Round(torch.autograd.Function):
    """x̂ of x, with the gradients of the module's formula: ∂x̂/∂x is 1 inside the range and 0 beyond its ends."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, log_step: torch.Tensor, zero: int) -> torch.Tensor:
        step = float(log_step.exp())
        rounded, inside = torch.ops.aten.fake_quantize_per_tensor_affine_cachemask(x, step, zero, 0, LEVELS)
        ctx.save_for_backward(x, rounded, inside)
        return rounded

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, rounded, inside = ctx.saved_tensors
        passed = gradients[0] * inside
        # ∂x̂/∂log s = x̂ − x inside and x̂ at the ends. The sum over all values is scaled to the size of a weight's gradient
        # (Esser et al. 2020, section 2.2).
        slope = (gradients[0] * rounded).sum() - (passed * x).sum()
        return passed, slope * (x.numel() * LEVELS) ** -0.5, None


class Activation(nn.Module):
    """Rounds a float tensor to 256 levels of one size, see the module's formula."""

    zero_point: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.log_step = nn.Parameter(torch.zeros(()))
        self.register_buffer("zero_point", torch.zeros((), dtype=torch.uint8))
        self.seen: list[torch.Tensor] | None = None
        self.deployed = False

    @property
    def step(self) -> torch.Tensor:
        """The size of a level, float32 scalar."""
        return self.log_step.exp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x̂ of ``x``, any shape; while ranges are looked for, ``x`` itself."""
        if self.seen is not None:
            flat = x.detach().flatten()
            stride = max(1, flat.numel() // SAMPLES)
            self.seen += [flat[::stride], torch.stack([flat.min(), flat.max()])]
            return x
        if self.deployed:
            step = self.step.detach()
            levels = _symbolic("QuantizeLinear", [x, step, self.zero_point], x, torch.uint8)
            return _symbolic("DequantizeLinear", [levels, step, self.zero_point], x, torch.float32)
        return _Round.apply(x, self.log_step, int(self.zero_point))

    def set_range(self, low: float, high: float) -> None:
        """Make the levels span ``low`` to ``high`` and hit zero exactly, which the range is widened to hold."""
        low, high = min(low, 0.0), max(high, 0.0)
        step = max((high - low) / LEVELS, 1e-8)
        with torch.no_grad():
            self.log_step.fill_(step).log_()
            self.zero_point.fill_(min(LEVELS, round(-low / step)))

    def choose_range(self) -> None:
        """Take the share of the range of the seen values whose levels have the smallest mean squared error on them.

        A tensor that was never computed keeps its range.
        """
        seen, self.seen = self.seen, None
        if not seen:
            return
        values = torch.cat(seen)
        low, high = float(values.min()), float(values.max())
        errors = []
        for share in SHARES:
            self.set_range(low * share, high * share)
            with torch.no_grad():
                errors.append(float((self(values) - values).square().mean()))
        best = SHARES[errors.index(min(errors))]
        self.set_range(low * best, high * best)


class Convolution(nn.Module):
    """A convolution with rounded weights.

    Args:
        operator: Of ``CONVOLUTIONS``.
        weight: Its weights, float (O, I, h, w) or of a transposed convolution (I, O, h, w).
        bias: float (O,) or None.
        rest: Its other arguments: stride, padding, ….
    """

    levels: torch.Tensor | None
    steps: torch.Tensor | None
    bias_levels: torch.Tensor | None
    bias_steps: torch.Tensor | None

    def __init__(self, operator: Any, weight: torch.Tensor, bias: torch.Tensor | None, rest: tuple[Any, ...]) -> None:
        super().__init__()
        self.operator, self.rest, self.axis = operator, rest, CONVOLUTIONS[operator]
        self.shape = [-1 if axis == self.axis else 1 for axis in range(4)]
        self.weight: nn.Parameter | None = nn.Parameter(weight.detach().clone())
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        for name in ("levels", "steps", "bias_levels", "bias_steps"):
            self.register_buffer(name, None)
        self.deployed = False

    def _steps(self, weight: torch.Tensor) -> torch.Tensor:
        """The size of a level for every output channel, float32 (O,)."""
        others = [axis for axis in range(4) if axis != self.axis]
        return (weight.detach().abs().amax(others) / WEIGHT_LEVELS).clamp(min=1e-12)

    def _rounded(self, weight: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        """Weights as whole levels in float32."""
        return (weight.detach() / steps.view(self.shape)).round()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The convolution of ``x`` (N, I, H, W)."""
        if self.deployed:
            weight = _symbolic("DequantizeLinear", [self.levels, self.steps], self.levels, torch.float32, self.axis)
            bias = None
            if self.bias_levels is not None:
                given = [self.bias_levels, self.bias_steps]
                bias = _symbolic("DequantizeLinear", given, self.bias_levels, torch.float32)
            return self.operator(x, weight, bias, *self.rest)
        assert self.weight is not None
        steps = self._steps(self.weight)
        rounded = self._rounded(self.weight, steps) * steps.view(self.shape)
        return self.operator(x, self.weight + (rounded - self.weight).detach(), self.bias, *self.rest)

    def deploy(self, step: torch.Tensor) -> None:
        """Become what a file holds: weights int8, bias int32 in products of the steps of weights and input.

        Args:
            step: Of the input, float32 scalar.
        """
        weight, bias = self.weight, self.bias
        assert weight is not None
        steps = self._steps(weight)
        if bias is not None:  # a channel of tiny weights must not make its bias too large for 32 bits
            steps = torch.maximum(steps, bias.detach().abs() / (BIAS_LEVELS * step))
            self.bias_steps = steps * step
            self.bias_levels = (bias.detach() / self.bias_steps).round().to(torch.int32)
        self.steps, self.levels = steps, self._rounded(weight, steps).to(torch.int8)
        self.weight = self.bias = None
        self.deployed = True
