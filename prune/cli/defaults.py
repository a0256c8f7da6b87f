"""The defaults of the command lines, so that each of them works in a fresh clone."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from prune.data.find_split import Split, default_data, find_places
from prune.data.labels import ClassSet
from prune.data.settings import DataOptions
from prune.data.split_folders import descend
from prune.errors import UserError
from prune.files import locked

if TYPE_CHECKING:  # an edge device has no PyTorch
    from prune.models.checkpoint import Network

DEMO_DATA = Path("data/demo")
DEMO_IMAGES, DEMO_SIZE, DEMO_SEED = 60, 128, 0


def draw_demo_data(folder: Path) -> None:
    """Draw the demo data unless they are there; ``folder`` appears only when they are complete.

    Two processes may ask at once: one draws, the other waits for it.

    Raises:
        UserError: when ``folder`` holds a part of a set, left by a drawing that was stopped.
    """
    from prune.synthetic import unfinished  # needs SciPy, which an edge device does not have

    if not folder.is_dir():
        with locked(folder, wait=True):
            if not folder.is_dir():
                _draw(folder)
    if unfinished(folder):
        raise UserError(
            f"{folder}: expected a complete synthetic set, found part of one: remove the folder to generate it again"
        )


def _draw(folder: Path) -> None:
    from prune.synthetic import synthesize

    partial = folder.with_name(f".{folder.name}.partial")  # ours alone: the caller holds the lock
    shutil.rmtree(partial, ignore_errors=True)
    drawn = synthesize(partial, DEMO_IMAGES, DEMO_SIZE, DEMO_SEED)
    partial.rename(folder)
    print(replace(drawn, folder=folder))


def data_folder() -> Path:
    """The default data folder; the demo data are drawn when there is neither them nor ``data/S2DS``."""
    folder = default_data()
    if not folder.is_dir():
        print(f"no data found: generating {DEMO_IMAGES} synthetic images in {folder}")
    if folder == DEMO_DATA:
        draw_demo_data(folder)
    return folder


def open_split(config: DataOptions, folder: str | Path | None, role: str, classes: ClassSet | None) -> Split:
    """The labeled images for a command, announced on the screen.

    Args:
        config: How to read them.
        folder: Split folder, list of names, or data folder with splits; None = the default data.
        role: The split taken of a data folder: train, val or test.
        classes: What the labels are read as, None = what they hold.

    Raises:
        UserError: when they cannot be used.
    """
    from prune.api.inputs import opened_data

    return opened_data("data", folder or data_folder(), role, classes, config)


@dataclass(frozen=True)
class LineageData:
    """Labeled images as a lineage names them.

    Args:
        folder: Folder or list of names; ``find_split`` takes the role of it that was asked for.
        reading: How they were read.
    """

    folder: Path
    reading: DataOptions


def _around(named: Path, role: str, dataset: str) -> Path:
    """The data folder that the split ``named`` belongs to, when another role than its own is asked for, else ``named``."""
    try:
        if role == "train" or "" not in find_places(named, dataset):
            return named
        places = find_places(named.parent, dataset)
    except UserError:
        return named
    here = named if named.is_file() else descend(named)
    parts = {name: place.names or descend(place.folder) for name, place in places.items()}
    own = [name for name, part in parts.items() if part.resolve() == here.resolve()]
    return named.parent if own and own != [role] else named


def lineage_data(network: Network, role: str) -> LineageData | None:
    """The labeled images of the last stage of a network's lineage that names some, None when no stage does.

    A stage that trained on the default data means today's default. A split such as DIR/train stands for its data folder
    DIR when another role is asked for; images without splits serve every role.

    Args:
        network: What has a lineage; its paths are relative to the working directory, as they were typed.
        role: train, val or test.
    """
    for stage in reversed(network.lineage):
        settings = stage["settings"]
        if stage["stage"] == "prune":
            named = settings.get("data_dir")
        else:
            named = (settings.get("val_dir") if role == "val" else None) or settings.get("train_dir") or default_data()
        if named:
            values = {name: settings[name] for name in ("dataset", "mask_threshold") if name in settings}
            reading = DataOptions(**values)
            return LineageData(_around(Path(named), role, reading.dataset), reading)
    return None


def open_lineage_split(config: DataOptions, folder: str | None, role: str, network: Network, flag: str) -> Split:
    """The labeled images for a command that continues with a network, announced on the screen.

    Args:
        config: How to read them.
        folder: Split folder, list of names, or data folder with splits; None = the data of the network's lineage. A
            network of this project that was not trained yet takes the default data.
        role: The split taken of a data folder: train, val or test.
        network: Its classes are what the labels are read as.
        flag: What names ``folder`` on the command line, for messages.

    Raises:
        UserError: when they cannot be used, when those of the lineage are gone, and for a bare state dict, which could
            be of any data, when there is no ``data/S2DS``.
    """
    if folder:
        return open_split(config, folder, role, network.classes)
    source = lineage_data(network, role)
    if source is None:
        if network.foreign and default_data() == DEMO_DATA:
            raise UserError(f"{flag}: {network.file} does not say what it was trained on: name a data folder")
        return open_split(config, None, role, network.classes)
    if DEMO_DATA in (source.folder, source.folder.parent):
        draw_demo_data(DEMO_DATA)
    if not source.folder.exists():
        raise UserError(
            f"{flag}: {network.file} was trained on {source.folder}, which does not exist: name a data folder"
        )
    plain = (config.dataset, config.mask_threshold) == (DataOptions.dataset, DataOptions.mask_threshold)
    try:
        return open_split(source.reading if plain else config, source.folder, role, network.classes)
    except UserError as error:
        raise UserError(
            f"{error.message} ({network.file} was trained on these data; use {flag} to name others)"
        ) from error
