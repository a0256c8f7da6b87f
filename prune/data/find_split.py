"""The entry point to labeled images: a folder or list in any known layout in, a checked ``Split`` out."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prune.data.crackforest import CrackForestLabels
from prune.data.dataset_layouts import LAYOUTS, OFFICIAL_SUFFIX, SPLITS, Found, expected_layout, fitting
from prune.data.images import image_size
from prune.data.label_readers import THRESHOLD, ColorLabels, IdLabels, LabelReader, gray_masks
from prune.data.labels import CRACK, S2DS, ClassSet
from prune.data.settings import DATASETS
from prune.data.split import Pair, Split, class_table, hold_out, label_fingerprint, usable_crop
from prune.data.split_folders import Place, descend, listed, split_places
from prune.errors import UserError

__all__ = [
    "DATASETS",
    "LAYOUTS",
    "OFFICIAL_SUFFIX",
    "SPLITS",
    "Opened",
    "Pair",
    "Split",
    "default_data",
    "find_places",
    "find_split",
    "hold_out",
    "label_fingerprint",
    "open_place",
    "usable_crop",
]


@dataclass(frozen=True)
class Opened:
    """A split and what is wrong with its files so far: messages that name them."""

    split: Split
    orphans: tuple[str, ...]


def find_places(folder: Path, dataset: str = "auto") -> dict[str, Place]:
    """The splits a data folder holds by name; a list or a folder that is one split is found under the name ``""``.

    Raises:
        UserError: for an unknown data set and a missing folder.
    """
    if dataset not in DATASETS:
        raise UserError(f"--dataset: expected one of {', '.join(DATASETS)}, found {dataset!r}")
    if folder.is_file():
        return {"": Place(folder.parent, names=folder)}
    if not folder.is_dir():
        raise UserError(f"data folder {folder} not found")
    inside = descend(folder)
    return split_places(inside, dataset) or {"": Place(inside)}


def _orphans(found: Found) -> tuple[str, ...]:
    """One message for the images without a label, one for the labels without an image."""
    messages = []
    for files, others, what in ((found.images, found.labels, "label"), (found.labels, found.images, "image")):
        missing = sorted(files.keys() - others.keys())
        if missing:
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            messages.append(f"{files[missing[0]]}: no {what} with the same stem{more}")
    return tuple(messages)


def _reader(found: Found, pairs: tuple[Pair, ...], threshold: int) -> tuple[LabelReader, tuple[str, ...]]:
    if found.dataset == "s2ds":
        return (IdLabels if found.layout == "ids" else ColorLabels)(S2DS), ()
    if found.layout == "crackforest":
        return CrackForestLabels(), ()
    return gray_masks([pair.label for pair in pairs], threshold)


def open_place(
    place: Place, classes: ClassSet | None, dataset: str = "auto", threshold: int = THRESHOLD, strict: bool = False
) -> Opened:
    """Pair the files of one split by stem; sizes are not compared.

    Args:
        place: Where it lies.
        classes: What labels are read as, None = what they hold.
        dataset: One of ``DATASETS``.
        threshold: Gray masks are crack above it.
        strict: Images without label and the reverse are errors.

    Raises:
        UserError: when there is nothing to pair, and for classes the labels know nothing of.
    """
    folder = descend(place.folder)
    found = listed(place.names, dataset) if place.names else fitting(folder, dataset)
    if found is None:
        raise expected_layout(folder, dataset)
    if not found.images and not found.labels:
        raise UserError(f"{folder}: expected {LAYOUTS[found.layout]}, found no image files in it")
    orphans = _orphans(found)
    stems = sorted(found.images.keys() & found.labels.keys())
    if orphans and (strict or not stems):
        raise UserError(orphans[0])
    pairs = tuple(Pair(stem, found.images[stem], found.labels[stem]) for stem in stems)
    native = S2DS if found.dataset == "s2ds" else CRACK
    try:
        class_table(native, classes or native)
    except UserError as error:
        raise UserError(f"{folder}: {error.message}") from error
    reader, notes = _reader(found, pairs, threshold)
    notes = (*place.notes, *found.notes, *notes)
    split = Split(
        folder, found.layout, pairs, classes or native, found.dataset, native, reader, seen=found.seen, notes=notes
    )
    return Opened(split, orphans)


def size_problems(split: Split) -> Iterator[str]:
    """A message for every label that has not the size of its image; ``UserError`` for unreadable files."""
    for pair in split.pairs:
        image, label = image_size(pair.image), split.reader.size(pair.label)
        if image != label:
            yield f"{pair.label}: expected the size of its image, {image[1]}x{image[0]}, found {label[1]}x{label[0]}"


def _choose(folder: Path, places: dict[str, Place], role: str | None) -> tuple[Place, str | None]:
    """The place that holds ``role``, and which part of it when train has to lend some images to val."""
    names = ", ".join(places)
    if "" in places or (role is None and len(places) == 1):
        return next(iter(places.values())), None
    if role is None:
        raise UserError(f"{folder}: expected one split, found {names}: name the folder or list of one of them")
    lends = "train" in places and "val" not in places
    if role in places:
        return places[role], "rest" if lends and role == "train" else None
    if role == "val" and lends:
        return places["train"], "held out"
    raise UserError(f"{folder}: expected a split {role}, found {names}")


def find_split(
    folder: Path,
    classes: ClassSet | None,
    *,
    dataset: str = "auto",
    role: str | None = None,
    threshold: int = THRESHOLD,
) -> Split:
    """Find the labeled images of one split in any layout, pair them by stem and check that sizes agree.

    Args:
        folder: A split folder, a list of names, or a data folder that holds splits.
        classes: What labels are read as, joined by class name; None = what they hold.
        dataset: One of ``DATASETS``; auto recognizes the layout.
        role: The split of a data folder: train, val or test. When it has no val, the tenth of train that ``hold_out``
            sets aside is val, and train is the rest.
        threshold: Gray masks are crack above it.

    Raises:
        UserError: for a missing or empty folder, an unknown or ambiguous layout, a split that is not there, an image
            without label or the reverse, or sizes that differ; the message names the folder or file.
    """
    place, part = _choose(folder, find_places(folder, dataset), role)
    split = open_place(place, classes, dataset, threshold, strict=True).split
    for problem in size_problems(split):
        raise UserError(problem)
    if part is None:
        return split
    rest, held = hold_out(split)
    return rest if part == "rest" else held


def default_data() -> Path:
    """The data folder a command uses when none is named: ``data/S2DS`` if it exists, else ``data/demo``."""
    real = Path("data/S2DS")
    return real if real.is_dir() else Path("data/demo")
