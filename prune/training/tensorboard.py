"""The rows of a history as TensorBoard events."""

from pathlib import Path
from typing import Any

from prune.progress import tell
from prune.training.history import Row


class Tensorboard:
    """Writes history rows as TensorBoard events; without the package it says so once and does nothing.

    Args:
        folder: Where the events go.
    """

    def __init__(self, folder: Path) -> None:
        self.writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            tell("TensorBoard is not installed, no events are written: pip install prune-crackseg[tensorboard]")
            return
        self.writer = SummaryWriter(str(folder))

    def __call__(self, row: Row, images_per_second: float) -> None:
        """Write a row and the speed of its epoch."""
        if self.writer is None:
            return
        for key, value in {**row, "crops_per_second": images_per_second}.items():
            if key != "epoch" and value is not None:
                self.writer.add_scalar(key, value, row["epoch"])
        self.writer.flush()
