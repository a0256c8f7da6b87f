"""Air voids and chipped spots drawn onto training crops: dark and short, often taken for cracks, labeled as background."""

import math
from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

LENGTHS = (3.0, 40.0)
"""px; the shortest are the most frequent."""
MOST = 5
"""Voids on one crop."""
CLEAR = 4
"""px between a void and anything labeled."""
CRESCENTS = 0.3
"""Share of chipped spots: a curved shadow on one side, a lit rim on the other."""


class DrawnVoids(v2.Transform):
    """Draw 1 to ``MOST`` voids where the label is background (0), and leave the label as it is.

    Takes ``tv_tensors.Image`` uint8 (3, S, S) with ``tv_tensors.Mask`` uint8 (S, S); draws from torch's global generator.
    """

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Opacity and tone of everything that is drawn, both float32 (S, S)."""
        label = next(item for item in flat_inputs if isinstance(item, tv_tensors.Mask)).as_subclass(torch.Tensor)
        taken = label != 0
        opacity, tone = torch.zeros(label.shape), torch.ones(label.shape)
        for _ in range(int(torch.randint(1, MOST + 1, ()))):
            _draw(opacity, tone, taken)
        return {"opacity": opacity, "tone": tone, "tint": 1 + 0.15 * torch.rand(()) * torch.tensor([1.0, 0.1, -1.0])}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Darken, or at a lit rim brighten, the image; a mask stays."""
        if not isinstance(inpt, tv_tensors.Image):
            return inpt
        image = inpt.as_subclass(torch.Tensor).float()
        drawn = image.mean((1, 2), keepdim=True) * params["tone"] * params["tint"][:, None, None]
        mixed = image + params["opacity"] * (drawn - image)
        return tv_tensors.wrap(mixed.round().clamp(0, 255).to(torch.uint8), like=inpt)


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))


def _draw(opacity: torch.Tensor, tone: torch.Tensor, taken: torch.Tensor) -> None:
    """Add one void to both in place, unless it would come close to what is ``taken``, bool (S, S)."""
    height, width = taken.shape
    length = math.exp(_uniform(*map(math.log, LENGTHS)))
    reach = math.ceil(length) + CLEAR
    row, column = int(torch.randint(0, height, ())), int(torch.randint(0, width, ()))
    top, left = max(0, row - reach), max(0, column - reach)
    part = slice(top, min(height, row + reach)), slice(left, min(width, column + reach))
    down = torch.arange(part[0].start, part[0].stop, dtype=torch.float32)[:, None] - row
    right = torch.arange(part[1].start, part[1].stop, dtype=torch.float32)[None] - column
    draw = _crescent if length > 8 and torch.rand(()) < CRESCENTS else _void
    seen, shade = draw(down, right, length)
    near = torch.nn.functional.max_pool2d((seen > 0.05).float()[None, None], 2 * CLEAR + 1, 1, CLEAR)[0, 0] > 0
    if not bool((near & taken[part]).any()):
        tone[part] = torch.where(seen > opacity[part], shade, tone[part])
        opacity[part] = torch.maximum(seen, opacity[part])


def _blob(down: torch.Tensor, right: torch.Tensor, length: float, slender: float) -> tuple[torch.Tensor, torch.Tensor]:
    """How far inside an irregular drop every pixel lies, in px, and where along its axis, -1…1; both float32 (H, W)."""
    angle, bend, taper = _uniform(0, 2 * math.pi), _uniform(-0.5, 0.5), _uniform(0, 0.7)
    along = (down * math.cos(angle) + right * math.sin(angle)) * 2 / length
    across = (right * math.cos(angle) - down * math.sin(angle)) * 2 * slender / length - bend * along**2
    ragged = torch.randn(1, 1, 7, 7)
    bumps = torch.nn.functional.interpolate(ragged, along.shape, mode="bicubic", align_corners=True)[0, 0]
    radius = torch.hypot(along, across / (1 - taper * along.clamp(-1, 1)))
    return (1 + 0.25 * bumps - radius) * length / (2 * slender), along


def _void(down: torch.Tensor, right: torch.Tensor, length: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A hole: dark, sometimes with light falling in from one end. Opacity and tone."""
    inside, along = _blob(down, right, length, _uniform(1, 3.5))
    dark, light = _uniform(0.1, 0.65), _uniform(-0.1, 0.35)
    soft = _uniform(0.5, 1.2)
    return _uniform(0.7, 1) * torch.sigmoid(inside / soft * 2), (dark + light * along).clamp(0.05, 0.9)


def _crescent(down: torch.Tensor, right: torch.Tensor, length: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A shallow chip: shadow along one side of its outline, the other side lit. Opacity and tone."""
    inside, _ = _blob(down, right, length, _uniform(1, 2.2))
    angle = _uniform(0, 2 * math.pi)
    side = (down * math.cos(angle) + right * math.sin(angle)) * 2 / length
    rim = torch.exp(-((inside / _uniform(1, 2.5)) ** 2))
    shadow, lit = rim * (1.4 * side).clamp(0, 1), rim * (-1.4 * side).clamp(0, 1)
    tone = torch.where(side > 0, torch.tensor(_uniform(0.2, 0.6)), torch.tensor(_uniform(1.05, 1.3)))
    return _uniform(0.7, 1) * torch.maximum(shadow, _uniform(0.2, 0.8) * lit), tone
