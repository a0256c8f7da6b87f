"""The contents of a network file as a summary card, for readers and for porting; only PyTorch's own files need PyTorch."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prune.api.load import load
from prune.data.labels import ClassSet
from prune.errors import UserError
from prune.files import file_mib
from prune.inference.predictor import OVERLAP, TILE, WHOLE_SIDE, Card, Predictor
from prune.inference.probability import PROBE, require_logits
from prune.tables import text_table

CARD_SIZE = (512, 512)
"""Input size in px at which the card counts MACs of a checkpoint."""
HEAD = 14
"""Width of the column of headings."""
WIDTH = 100
"""Letters per line of a note."""


@dataclass(frozen=True)
class FileCard:
    """What a checkpoint or an export is.

    Args:
        card: Name, runtime, precision, classes, preprocessing, lineage.
        mib: Size in MiB, weights beside the file included.
        parameters: Of the network as it is used, without auxiliary head; None = unknown.
        macs: Multiply-accumulates by input size.
        input_name: Of the tensor an export takes; empty where it has no name.
        output_name: Of the tensor an export gives.
        output: What it gives: logits, or probabilities or class ids made inside the file.
        traits: What else there is to say about the architecture.
        layers: Name, kind, input and output channels of every layer, when asked for.
    """

    card: Card
    mib: float
    parameters: int | None
    macs: dict[str, int]
    input_name: str = ""
    output_name: str = ""
    output: str = "logits"
    traits: tuple[str, ...] = ()
    layers: tuple[tuple[str, str, int, int], ...] = ()

    def __str__(self) -> str:
        card = self.card
        entries = [
            ("file", [f"{card.file} ({self.mib:.1f} MiB)"]),
            ("runs on", [f"{card.runtime}, computed in {card.precision}"]),
            ("architecture", [", ".join((card.architecture or "unknown", *self.traits))]),
            ("parameters", ["unknown" if self.parameters is None else f"{self.parameters / 1e6:.2f} M"]),
            ("MACs", [f"{macs / 1e9:.2f} G at {size}" for size, macs in self.macs.items()] or ["unknown"]),
            ("classes", [f"{i} {name}, color {color}" for i, name, color in _class_rows(card.classes)]),
            ("lineage", list(card.history) or ["unknown"]),
            *((heading, _wrapped(lines)) for heading, lines in card.notes.items()),
            ("input", self.input_lines()),
            ("output", self.output_lines()),
        ]
        lines = [f"{head if i == 0 else '':{HEAD}} {line}" for head, some in entries for i, line in enumerate(some)]
        if self.layers:
            lines += ["", text_table(["layer", "kind", "in", "out"], [list(row) for row in self.layers])]
        return "\n".join(lines)

    def input_lines(self) -> list[str]:
        """Preprocessing of a photograph, step by step, for a program in another language."""
        prepared, size = self.card.preprocessing, self.card.size
        shape = f"{size[0]}, {size[1]}" if size else "H, W"
        batch = f"(3, {shape}), CHW" if self.card.runtime == "ncnn" else f"(1, 3, {shape}), NCHW"
        lines = [
            f"{_quoted(self.input_name)}float32 {batch}, channels R, G, B; never resized",
            "value = (pixel / 255 - mean) / std, the same as pixel * scale + shift:",
        ]
        for channel, mean, std in zip("RGB", prepared.mean, prepared.std, strict=True):
            lines.append(
                f"  {channel}  mean {mean:g}  std {std:g}  scale {1 / (255 * std):.9g}  shift {-mean / std:.9g}"
            )
        if size:
            larger = f"this size only: larger photographs in tiles of it that overlap by at least {OVERLAP:.0%},"
            return [*lines, larger, "smaller ones are mirror-padded at the bottom and on the right"]
        whole = f"any height and width, no multiple of anything; above {WHOLE_SIDE} px a side this program"
        return [*lines, whole, f"works in tiles of {TILE}x{TILE} px that overlap by at least {OVERLAP:.0%}"]

    def output_lines(self) -> list[str]:
        """What comes out, and how it becomes class ids."""
        size, count, name = self.card.size, len(self.card.classes), _quoted(self.output_name)
        shape = f"{size[0]}, {size[1]}" if size else "H, W"
        one = self.card.runtime == "ncnn"
        if self.output == "class ids":
            return [f"{name}class ids, one per pixel of the input ({shape})"]
        lines = [
            f"{name}{self.output} float32 ({count if one else f'1, {count}'}, {shape}), as large as the input",
            f"class id = argmax over axis {0 if one else 1}, the lower id of equal ones",
        ]
        return [*lines, f"probability = softmax over axis {0 if one else 1}"] if self.output == "logits" else lines


def inspect(
    file: str | os.PathLike[str],
    *,
    layers: bool = False,
    classes: str | Sequence[str] | ClassSet | None = None,
    trust_pickle: bool = False,
    factory: object = None,
) -> FileCard:
    """Read the card of a checkpoint or an export.

    Args:
        file: The file.
        layers: Also list the width of every layer of a checkpoint.
        classes: What the outputs of an export made by another tool mean, see ``prune.load``.
        trust_pickle: Read whole-module pickles, which can run code.
        factory: See ``prune.load``.

    Raises:
        TypeError: for no path.
        UserError: for a missing or damaged file, a runtime that is not installed, and layers of an export.
    """
    model = load(file, classes=classes, factory=factory, trust_pickle=trust_pickle, device="cpu")
    card, parameters, macs = model.card, model.card.parameters, dict(model.card.macs)
    traits: list[str] = []
    widths: tuple[tuple[str, str, int, int], ...] = ()
    network = getattr(model.predictor, "network", None)
    if network is not None:
        from prune.models.cost import count
        from prune.pruning.report import layer_widths

        parameters, found = count(network.model, CARD_SIZE)
        macs = {f"{CARD_SIZE[1]}x{CARD_SIZE[0]}": found}
        traits = ["auxiliary head"] * bool(network.auxiliary) + ["pruned"] * bool(network.pruned)
        widths = tuple(layer_widths(network.model)) if layers else ()
    elif layers:
        raise UserError(f"--layers: expected a checkpoint (.pth), found the export {card.file}")
    names, output = model.predictor.tensors, _output(model.predictor)
    return FileCard(card, file_mib(card.file), parameters, macs, *names, output, tuple(traits), widths)


def _output(predictor: Predictor) -> str:
    """What a network gives: logits, probabilities or class ids; it is asked with a black image."""
    try:
        require_logits(predictor)
    except UserError:
        given = predictor.to_numpy(predictor.forward(np.zeros((*(predictor.card.size or PROBE), 3), np.uint8)))
        return "class ids" if np.isin(given, (0, 1)).all() else "probabilities"
    return "logits"


def _class_rows(classes: ClassSet) -> list[tuple[int, str, str]]:
    """Id, name and color of every class."""
    return [
        (number, name, "#" + bytes(color).hex())
        for number, (name, color) in enumerate(zip(classes.classes, classes.colors, strict=True))
    ]


def _wrapped(lines: Sequence[str]) -> list[str]:
    """Texts of any length as lines of a card."""
    return [part for line in lines for part in textwrap.wrap(line, WIDTH) or [""]]


def _quoted(name: str) -> str:
    return f'"{name}": ' if name else ""
