"""What networks consist of, and as tables: one line per network, one line per layer with shape, parameters and MACs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from prune.models import all_logits, architecture, build_model, mode, without_auxiliary
from prune.models.cost import count, shapes_of
from prune.models.pretrained import sources
from prune.tables import text_table


@dataclass(frozen=True)
class LayerRow:
    """One layer: ``shape`` is that of its output, (C, H, W), for one image; a layer that ran twice has the last."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    macs: int


def _macs(layer: nn.Module, given: torch.Tensor, made: torch.Tensor) -> int:
    """Multiply-accumulates of one image: of a convolution per output pixel, of a transposed one per input pixel."""
    if isinstance(layer, nn.Linear):
        return layer.weight.numel() * made[0].numel() // layer.out_features
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        pixels = given if isinstance(layer, nn.ConvTranspose2d) else made
        return layer.weight.numel() * pixels.shape[-1] * pixels.shape[-2]
    return 0


def layer_rows(model: nn.Module, size: tuple[int, int]) -> list[LayerRow]:
    """Every layer with weights of the inference network (without auxiliary heads), in the order they run.

    Counted on shapes alone. The MACs add up to those of ``prune.models.cost.count``.

    Args:
        model: A network, see ``prune.models.build_model``.
        size: Height and width of the input in px.
    """
    with without_auxiliary(model) as inference:
        shapes = shapes_of(inference)
    rows: dict[str, LayerRow] = {}

    def note(name: str, layer: nn.Module, given: tuple[torch.Tensor, ...], made: torch.Tensor) -> None:
        before = rows[name].macs if name in rows else 0
        parameters = sum(p.numel() for p in layer.parameters(recurse=False))
        shape = tuple(made.shape[1:])
        rows[name] = LayerRow(name, type(layer).__name__, shape, parameters, before + _macs(layer, given[0], made))

    for name, layer in shapes.named_modules():
        if next(layer.parameters(recurse=False), None) is not None:
            layer.register_forward_hook(lambda layer, given, made, name=name: note(name, layer, given, made))
    with torch.no_grad(), mode(shapes, training=False):
        all_logits(shapes, torch.empty(1, 3, *size, device="meta"))
    return list(rows.values())


def describe(name: str, num_classes: int) -> dict[str, Any]:
    """A known network as plain values: ``name``, ``params``, ``macs`` at the square ``size`` of its recipe, ``source``.

    Counted by ``prune.models.cost.count``. ``auxiliary`` says whether it has heads that exist in training only,
    ``pretrained`` which weights are published.
    """
    known = architecture(name)
    with torch.device("meta"):
        model = build_model(name, num_classes)
    auxiliary = getattr(model, "aux_classifier", None) is not None
    parameters, macs = count(model, (known.size, known.size))
    return {
        "name": name,
        "params": parameters,
        "macs": macs,
        "size": known.size,
        "source": known.source,
        "auxiliary": auxiliary,
        "pretrained": list(sources(name)),
    }


def network_table(rows: Sequence[dict[str, Any]]) -> str:
    """The networks as people read them."""
    header = ["network", "parameters M", "MACs G", "at px", "weights", "source"]
    cells = [
        [
            row["name"],
            f"{row['params'] / 1e6:.2f}",
            f"{row['macs'] / 1e9:.2f}",
            row["size"],
            "/".join(row["pretrained"]) or "random",
            row["source"],
        ]
        for row in rows
    ]
    note = "MACs of the inference network at the size of its recipe: its convolutions and linear layers"
    return f"{text_table(header, cells)}\n{note}"


def layer_table(name: str, num_classes: int, side: int) -> str:
    """Every layer of a network with output shape, parameters and MACs at a square input of ``side`` px."""
    with torch.device("meta"):
        model = build_model(name, num_classes)
    rows = layer_rows(model, (side, side))
    cells = [[r.name, r.kind, "x".join(map(str, r.shape)), f"{r.parameters:,}", f"{r.macs / 1e6:,.1f}"] for r in rows]
    total = f"{sum(r.parameters for r in rows):,} parameters, {sum(r.macs for r in rows) / 1e9:,.2f} G MACs"
    head = f"{name}, input 3x{side}x{side}, {num_classes} classes, without auxiliary heads"
    return f"{head}\n{text_table(['layer', 'kind', 'output', 'parameters', 'MACs M'], cells)}\n{total}"
