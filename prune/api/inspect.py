"""``python -m prune inspect``: a checkpoint as a card a person can read."""

from pathlib import Path

from prune.cli.inspect import InspectOptions
from prune.files import find_model
from prune.models.checkpoint import Network, load_checkpoint, newest_model
from prune.models.cost import count
from prune.pruning.report import layer_widths
from prune.tables import text_table

CARD_SIZE = (512, 512)
"""Input size in px at which the card counts MACs."""


def card(network: Network, layers: bool = False) -> str:
    """What a checkpoint is: architecture, size, cost, classes, preprocessing and lineage."""
    parameters, macs = count(network.model, CARD_SIZE)
    file = Path(str(network.file))
    prepared = network.preprocessing
    lines = [
        f"file           {file} ({file.stat().st_size / 2**20:.1f} MiB)",
        f"architecture   {network.architecture}{', auxiliary head' if network.auxiliary else ''}"
        f"{', pruned' if network.pruned else ''}",
        f"parameters     {parameters / 1e6:.2f} M (inference, without auxiliary head)",
        f"MACs           {macs / 1e9:.2f} G at {CARD_SIZE[1]}x{CARD_SIZE[0]}",
        f"classes        {', '.join(f'{i} {name}' for i, name in enumerate(network.classes.classes))}",
        f"preprocessing  RGB / 255, mean {prepared.mean}, std {prepared.std}, any size",
    ]
    lines += [f"{'lineage' if i == 0 else '':14} {line}" for i, line in enumerate(network.history() or ["unknown"])]
    if layers:
        lines += ["", text_table(["layer", "kind", "in", "out"], [list(row) for row in layer_widths(network.model)])]
    return "\n".join(lines)


def run(config: InspectOptions) -> None:
    """Print the card."""
    file = find_model(config.file) if config.file else newest_model()
    print(card(load_checkpoint(file, config.trust_pickle), config.layers))
