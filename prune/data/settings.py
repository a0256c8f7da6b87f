"""How labeled images are read."""

from dataclasses import dataclass

from prune.options import option

DATASETS = ("auto", "s2ds", "crack500", "crackforest", "deepcrack", "crackseg9k", "images_masks")
"""Folder layouts of data sets; auto recognizes them."""
CLASS_SETS = ("s2ds", "crack")


@dataclass(frozen=True)
class DataOptions:
    """How labeled images are read, wherever a command reads some."""

    dataset: str = option("auto", "layout of the data folder", choices=DATASETS)
    mask_threshold: int = option(127, "gray levels of a mask above this are crack, 0 to 254", low=0)
