"""Lists of names that split one folder into train, val and test."""

from collections.abc import Sequence
from pathlib import Path

from prune.data.find_split import SPLITS, Split, find_places, open_place
from prune.data.settings import DataOptions
from prune.data.split import cut_in_blocks, in_order
from prune.errors import UserError
from prune.files import write_text


def write_lists(split: Split, shares: Sequence[float]) -> list[Path]:
    """Write train.txt, val.txt and test.txt beside the images of an unsplit folder, and return them.

    Neighbors stay together: every list consists of blocks of consecutive names, spread over the whole set.

    Args:
        split: All images.
        shares: Of train, val and test, 0…1; a split with a share of 0 gets no list.

    Raises:
        UserError: when a list would be empty or exists.
    """
    by_stem = {pair.stem: pair for pair in split.pairs}
    names = [by_stem[stem].image.name for stem in in_order(by_stem)]
    parts = cut_in_blocks(len(names), shares)
    files = {role: split.folder / f"{role}.txt" for role, share in zip(SPLITS, shares, strict=True) if share}
    for role, file in files.items():
        if file.exists():
            raise UserError(f"--split: {file} exists already and is not overwritten")
        if not (parts == SPLITS.index(role)).any():
            raise UserError(f"--split: none of the {len(names)} images is left for {role}")
    for role, file in files.items():
        chosen = [name for name, part in zip(names, parts, strict=True) if part == SPLITS.index(role)]
        write_text(file, "\n".join(chosen) + "\n")
    return list(files.values())


def split_folder(root: Path, reading: DataOptions, shares: Sequence[float]) -> list[Path]:
    """``write_lists`` for the images of ``root``, which must have no splits yet.

    Raises:
        UserError: when it has, when it cannot be opened, or when lists cannot be written.
    """
    places = find_places(root, reading.dataset)
    if "" not in places or root.is_file():
        kind = "a list of names" if root.is_file() else f"the splits {', '.join(places)}"
        raise UserError(f"--split: expected a folder without splits, found {kind} in {root}")
    return write_lists(open_place(places[""], None, reading.dataset, reading.mask_threshold).split, shares)
