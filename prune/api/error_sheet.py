"""A sheet of what networks find, miss, and see where nothing is, on photographs whose labels are known."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prune.api.views import chosen_class
from prune.data.sampling import evenly_spread
from prune.data.split import Split
from prune.inference.predictor import Predictor
from prune.progress import progress
from prune.report.agreement import error_rows
from prune.report.paper import Picture, grid


def error_sheet(
    networks: Sequence[tuple[str, Predictor]], split: Split, count: int, palette: str = "standard"
) -> Picture:
    """Photographs in rows: with the label drawn over, then what each network finds and misses; uint8 (H, W, 3), RGB.

    Whole photographs are shown, for the class crack, else the first after the background.

    Args:
        networks: Their names and what runs them, all of the classes of ``split``.
        split: Photographs and labels.
        count: How many photographs, spread evenly over the split.
        palette: One of ``prune.data.settings.PALETTES``.
    """
    pairs = [split.pairs[i] for i in evenly_spread(len(split.pairs), count)]
    number = chosen_class(split.classes, None)
    photographs: list[tuple[Picture, NDArray[np.integer], list[NDArray[np.integer]]]] = []
    for pair in progress(pairs, "drawing"):
        image = split.read_image(pair)
        photographs.append((image, split.read_label(pair), [one.class_map(image) for _, one in networks]))
    rows, legends = error_rows(photographs, split.classes, number, palette)
    return grid(rows, ["label", *(name for name, _ in networks)], [pair.stem for pair in pairs], legends)
