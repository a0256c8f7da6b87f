"""Where the splits of a data set lie: folders, DeepCrack's pairs of folders, or lists of names."""

import contextlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from prune.data.dataset_layouts import (
    SPLIT_NAMES,
    Found,
    expected_layout,
    fitting,
    images_of,
    lab_folder,
    split_lists,
    subfolders,
)
from prune.data.images import SUFFIXES
from prune.errors import UserError
from prune.shapes import load_text

LARGEST_LIST, LONGEST_LINE = 1 << 26, 1 << 13
"""Bytes of a list, and characters of one of its lines: two paths."""
CROPPED, WHOLE = "crop", "data"
"""CRACK500's endings of a split's folder: crops (preferred, they are what is published on) and whole photographs."""
LABEL_SUFFIXES = (*SUFFIXES, ".mat", ".seg")


@dataclass(frozen=True)
class Place:
    """One split: its folder, the list of its names when there is one, and what to tell about the choice."""

    folder: Path
    names: Path | None = None
    notes: tuple[str, ...] = ()


def descend(folder: Path) -> Path:
    """``folder``, or the one folder of the same name that is all it holds (as archives unpack)."""
    while True:
        inside = list(subfolders(folder).values())
        if len(inside) != 1 or inside[0].name != folder.resolve().name or images_of(folder):
            return folder
        folder = inside[0]


def _split_folders(folder: Path, dataset: str) -> dict[str, Place]:
    folders, found = subfolders(folder), {}
    for role, names in SPLIT_NAMES.items():
        candidates = [*names, role + CROPPED, role + WHOLE]
        present = [folders[name] for name in candidates if name in folders]
        if dataset in ("auto", "deepcrack"):
            pairs = [folders[f"{name}_img"] for name in names if f"{name}_img" in folders]
            present += [inside for inside in pairs if lab_folder(inside)]
        if present:
            others = ", ".join(d.name for d in present[1:])
            found[role] = Place(present[0], notes=(f"using {present[0].name}, not {others}",) if others else ())
    return found


def split_places(folder: Path, dataset: str = "auto") -> dict[str, Place]:
    """The splits ``folder`` holds by name (train, val, test); none when it is itself one split.

    Folders come before lists of names where there are both.
    """
    folders = _split_folders(folder, dataset)
    if folders:
        return folders
    return {role: Place(folder, names=file) for role, file in split_lists(folder).items()}


@dataclass(frozen=True)
class _Line:
    """One line of a list: its place in words, the image's name, and the mask's name where there are two columns."""

    where: str
    image: str
    mask: str | None


def _is_file_name(text: str) -> bool:
    return Path(text).suffix.lower() in LABEL_SUFFIXES


def _parse(where: str, text: str) -> _Line:
    """One name, or two separated by a tab or, where both end like files, by spaces."""
    columns = text.split("\t") if "\t" in text else text.rsplit(None, 1)
    if len(columns) == 2 and ("\t" in text or all(map(_is_file_name, columns))):
        return _Line(where, columns[0].strip(), columns[1].strip())
    return _Line(where, text, None)


def read_list(file: Path) -> list[_Line]:
    """The names in a split list; blank lines and lines starting with # are left out.

    Raises:
        UserError: for an unreadable or empty list.
    """
    lines = load_text(file, "a list of names", LARGEST_LIST).splitlines()
    long = next((number for number, line in enumerate(lines, 1) if len(line) > LONGEST_LINE), None)
    if long is not None:
        found = len(lines[long - 1])
        raise UserError(f"{file}, line {long}: expected one image name a line, found a line of {found:,} characters")
    texts = [(number, line.strip().replace("\\", "/")) for number, line in enumerate(lines, 1)]
    parsed = [_parse(f"{file}, line {number}", text) for number, text in texts if text and not text.startswith("#")]
    if not parsed:
        raise UserError(f"{file}: expected one image name a line, found none")
    return parsed


def _stem(name: str) -> str:
    return Path(name).stem if _is_file_name(name) else Path(name).name


def _is_folder(path: Path) -> bool:
    """Whether a path of a list, which may be too long for one, is a folder."""
    try:
        return path.is_dir()
    except OSError:
        return False


class _Homes:
    """The folders in a layout that the names of a list point into; each is looked at once."""

    def __init__(self, base: Path, dataset: str) -> None:
        self.base = base
        self._dataset = dataset
        self._found: dict[Path, Found | None] = {}

    def _look(self, folder: Path) -> Found | None:
        if folder not in self._found:
            self._found[folder] = None
            # What is wrong with a folder around the data set is none of the list's business.
            outside = self.base != folder and self.base.is_relative_to(folder)
            with contextlib.suppress(UserError) if outside else contextlib.nullcontext():
                self._found[folder] = fitting(folder, self._dataset) if _is_folder(folder) else None
        return self._found[folder]

    def of(self, name: str) -> tuple[Found, str] | None:
        """The folder's files and the stem that ``name`` means there."""
        target = Path(os.path.normpath(self.base / name))
        for folder in (self.base, target.parent, target.parent.parent):
            found = self._look(folder)
            for stem in dict.fromkeys((Path(name).name, _stem(name))):
                image = found.images.get(stem) if found else None
                # A name with folders in it means a file in those, not its namesake elsewhere.
                if found and image and ("/" not in name or Path(os.path.normpath(image)).parent == target.parent):
                    return found, stem
        return None


def _check_line(line: _Line, found: Found, stem: str) -> None:
    label = found.labels.get(stem)
    if label is None:
        raise UserError(f"{line.where}: no label for the image {line.image!r}")
    if line.mask is not None and Path(line.mask).name not in (label.name, label.stem):
        raise UserError(f"{line.where}: expected {label.name} as the label of {line.image}, found {line.mask!r}")


def listed(file: Path, dataset: str) -> Found:
    """The images and labels that a list names, one name a line.

    A name is a stem, a file name, or a path relative to the list's folder; a second column names the label.

    Raises:
        UserError: for a name that is not there, is there twice or has no label, a second column that is not its
            label, and a list over several layouts; the message names list, line and name.
    """
    homes = _Homes(file.parent, dataset)
    kinds: dict[str, Found] = {}
    images: dict[str, Path] = {}
    labels: dict[str, Path] = {}
    for line in read_list(file):
        home = homes.of(line.image)
        if home is None:
            if fitting(file.parent, dataset) is None and not kinds and "/" not in line.image:
                raise expected_layout(file.parent, dataset)
            raise UserError(f"{line.where}: expected the name of an image in {file.parent}, found {line.image!r}")
        found, stem = home
        _check_line(line, found, stem)
        if stem in images:
            raise UserError(f"{line.where}: {line.image!r} is listed a second time")
        images[stem], labels[stem] = found.images[stem], found.labels[stem]
        kinds[found.layout] = found
    if len(kinds) > 1:
        raise UserError(f"{file}: expected images of one layout, found {' and '.join(kinds)}")
    kind = next(iter(kinds.values()))
    return replace(kind, images=images, labels=labels, notes=(f"listed in {file.name}",))
