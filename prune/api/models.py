"""``python -m prune models``: the networks that can be trained, and what one of them consists of."""

import json
from collections.abc import Sequence
from typing import Any

import torch

from prune.cli.models import ModelsOptions
from prune.data.mask_files import classes_called
from prune.models import ARCHITECTURES, architecture, build_model
from prune.models.summary import describe, layer_rows
from prune.progress import progress
from prune.tables import text_table


def table(rows: Sequence[dict[str, Any]]) -> str:
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


def summary(name: str, num_classes: int, side: int) -> str:
    """Every layer of a network with output shape, parameters and MACs at a square input of ``side`` px."""
    with torch.device("meta"):
        model = build_model(name, num_classes)
    rows = layer_rows(model, (side, side))
    cells = [[r.name, r.kind, "x".join(map(str, r.shape)), f"{r.parameters:,}", f"{r.macs / 1e6:,.1f}"] for r in rows]
    total = f"{sum(r.parameters for r in rows):,} parameters, {sum(r.macs for r in rows) / 1e9:,.2f} G MACs"
    head = f"{name}, input 3x{side}x{side}, {num_classes} classes, without auxiliary heads"
    return f"{head}\n{text_table(['layer', 'kind', 'output', 'parameters', 'MACs M'], cells)}\n{total}"


def run(config: ModelsOptions) -> None:
    """Print the list, or the layers of one network."""
    number = len(classes_called(config.classes))
    if config.name and config.summary:
        print(summary(config.name, number, config.size or architecture(config.name).size))
        return
    if config.name:
        architecture(config.name)
    names = [config.name] if config.name else list(ARCHITECTURES)
    rows = [describe(name, number) for name in progress(names, "counting", "network")]
    print(json.dumps(rows, indent=1) if config.json else table(rows))
