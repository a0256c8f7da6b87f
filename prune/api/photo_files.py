"""Which photographs a path means, and where the pictures made of them lie."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prune.data.find_split import OFFICIAL_SUFFIX, find_split
from prune.data.images import is_image
from prune.data.labels import ClassSet
from prune.errors import UserError
from prune.files import short_name


@dataclass(frozen=True)
class PhotoFiles:
    """Photographs to be segmented.

    Args:
        files: Their files, at least one.
        root: The folder they lie in, directly or in its subfolders.
        skipped: Files of the same folders that are no photographs: other kinds of files, labels beside photographs.
    """

    files: tuple[Path, ...]
    root: Path
    skipped: tuple[Path, ...] = ()

    def outputs(self, folder: Path, ending: str) -> list[Path]:
        """One path per photograph, ``folder/<subfolder>/<stem><ending>``, each different.

        Photographs of equal stem in one folder get their suffix into the name; long names are shortened.
        """
        places = [folder / file.parent.relative_to(self.root) for file in self.files]
        twice = Counter(zip(places, (file.stem for file in self.files), strict=True))
        result: dict[Path, None] = {}
        for place, file in zip(places, self.files, strict=True):
            stem = file.stem if twice[place, file.stem] == 1 else f"{file.stem}_{file.suffix[1:].lower()}"
            stem = short_name(stem)
            path, number = place / f"{stem}{ending}", 2
            while path in result:  # a.png and a.jpg beside a_png.png
                path, number = place / f"{stem}_{number}{ending}", number + 1
            result[path] = None
        return list(result)


def photo_list(files: Sequence[object]) -> PhotoFiles:
    """The photographs a list names, each once.

    Raises:
        TypeError: for anything in it but a path.
        UserError: for an empty list, and a file that is not there.
    """
    paths = []
    for number, file in enumerate(files):
        if not isinstance(file, (str, os.PathLike)):
            raise TypeError(f"photos[{number}]: expected a path to write pictures of, found {type(file).__name__}")
        if not Path(file).is_file():
            raise UserError(f"--photos[{number}]: {file} not found")
        paths.append(Path(file))
    if not paths:
        raise UserError("--photos: expected at least one photograph, found an empty list")
    if len({path.parent for path in paths}) == 1:
        return PhotoFiles(tuple(dict.fromkeys(paths)), paths[0].parent)
    whole = dict.fromkeys(Path(os.path.abspath(path)) for path in paths)  # noqa: PTH100, a link keeps its own name
    return PhotoFiles(tuple(whole), Path(os.path.commonpath([path.parent for path in whole])))


def find_photos(
    path: Path, *, recursive: bool = False, output: Path | None = None, argument: str = "image"
) -> PhotoFiles:
    """The photographs meant by ``path``: one file, or the image files of a folder (labels of the official layout left out).

    Args:
        path: A file or a folder.
        recursive: Read the subfolders of a folder too; hidden ones are left out.
        output: A folder that is written into: as a subfolder of ``path`` it is not read.
        argument: What names ``path``, for messages.

    Raises:
        UserError: when there are none.
    """
    if path.is_file():
        return PhotoFiles((path,), path.parent)
    if not path.is_dir():
        raise UserError(f"--{argument}: {path} not found")
    photos: list[Path] = []
    skipped: list[Path] = []
    for folder in _folders(path, output) if recursive else [path]:
        files = sorted(f for f in folder.iterdir() if f.is_file() and not f.name.startswith("."))
        images = [f for f in files if is_image(f)]
        stems = {f.stem for f in images}
        found = [f for f in images if f.stem.removesuffix(OFFICIAL_SUFFIX) not in stems - {f.stem}]
        photos += found
        skipped += sorted(set(files) - set(found))
    if not photos:
        hint = "" if recursive or not _below(path) else ", but some in its subfolders: add --recursive"
        raise UserError(f"--{argument}: no image files in {path}{hint}")
    return PhotoFiles(tuple(photos), path, tuple(skipped))


def _folders(path: Path, output: Path | None) -> Iterator[Path]:
    """``path`` and the folders below it, sorted, without hidden ones, links and what is written into."""
    written = None if output is None else output.resolve()
    for name, below, _ in os.walk(path):
        folder = Path(name)
        below[:] = sorted(f for f in below if not f.startswith(".") and (folder / f).resolve() != written)
        yield folder


def _below(path: Path) -> bool:
    """Whether some folder below ``path`` holds images."""
    return any(is_image(file) for folder in _folders(path, None) for file in folder.iterdir() if file.is_file())


def photo_labels(photos: PhotoFiles, classes: ClassSet) -> Callable[[Path], NDArray[np.uint8]]:
    """What reads the label of a photograph as class ids uint8 (H, W): the photographs lie in a labeled split.

    Args:
        photos: Files in the folder of a split, or in its folder of images.
        classes: Of the network; labels are read as these.

    Raises:
        UserError: when there are no labels. What is returned raises it for a photograph without a label.
    """
    root, problem = photos.root, f"no label of {photos.files[0].name}"
    for folder in (root, root.parent):
        try:
            split = find_split(folder, classes)
        except UserError as error:
            problem = error.message
            continue
        pairs = {pair.image.resolve(): pair for pair in split.pairs}
        if photos.files[0].resolve() in pairs:
            break
    else:
        raise UserError(f"--mode errors: expected photographs of a labeled split, found {root}: {problem}")

    def label(photo: Path) -> NDArray[np.uint8]:
        if photo.resolve() not in pairs:
            raise UserError(f"{photo}: expected a label for it, found none in {split.folder}")
        return split.read_label(pairs[photo.resolve()])

    return label
