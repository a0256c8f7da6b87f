"""The folder layouts of the field: which files of a folder are photographs, and which are their labels."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from prune.data.images import is_image
from prune.errors import UserError
from prune.files import visible

SPLITS = ("train", "val", "test")
OFFICIAL_SUFFIX = "_lab"
LAYOUTS = {
    "ids": "Images/ + Labels_grayscale/",
    "colors": "Images/ + Labels_RGB/",
    "official": "NNN.png + NNN_lab.png in one folder",
    "crack500": "X.jpg + X.png or X_mask.png side by side",
    "crackforest": "image/ + groundTruth/*.mat or seg/*.seg",
    "deepcrack": "train_img/ + train_lab/",
    "images_masks": "images/ + masks/",
    "crackseg9k": "images/ + masks/ with train.txt, val.txt, test.txt beside them",
}
"""Every way images and labels can lie in a folder, by name."""
IMAGE_FOLDERS = ("image", "images", "img", "imgs")
MASK_FOLDERS = ("mask", "masks", "label", "labels", "gt")
MASK_ENDINGS = ("_mask", "_label", "_gt")
"""What a mask's name may add to its photograph's stem."""
SPLIT_NAMES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
"""What folders and lists of a split are called."""


@dataclass(frozen=True)
class Found:
    """Images and labels of a folder by stem, not yet compared.

    Args:
        dataset: The data set whose layout it is.
        layout: A key of ``LAYOUTS``.
        seen: The layout in words.
        images: Photographs by stem.
        labels: Label files by the stem of their photograph.
        notes: What else is worth telling.
    """

    dataset: str
    layout: str
    seen: str
    images: dict[str, Path]
    labels: dict[str, Path]
    notes: tuple[str, ...] = ()


def subfolders(folder: Path) -> dict[str, Path]:
    """The folders in ``folder`` by lower-case name; hidden ones and archivers' leftovers (``__MACOSX``) are left out."""
    return {
        d.name.lower(): d for d in sorted(folder.iterdir()) if d.is_dir() and d.name[0] != "." and d.name[:2] != "__"
    }


def images_of(folder: Path) -> list[Path]:
    """The image files lying in ``folder`` itself, sorted."""
    return sorted(f for f in folder.iterdir() if is_image(f) and f.is_file())


def split_lists(folder: Path) -> dict[str, Path]:
    """The lists of names (train.txt and so on) in ``folder`` by split."""
    named = {role: [folder / f"{name}.txt" for name in names] for role, names in SPLIT_NAMES.items()}
    return {role: file for role, files in named.items() for file in reversed(files) if file.is_file()}


def by_stem(files: Iterable[Path], stem: Callable[[Path], str] = lambda file: file.stem) -> dict[str, Path]:
    """Files by stem, or by what ``stem`` makes of them: how images, labels and masks are joined.

    Raises:
        UserError: for two files of one stem.
    """
    found: dict[str, Path] = {}
    for file in sorted(files):
        name = stem(file)
        if name in found:
            raise UserError(f"{file}: a second file with the stem {name!r} beside {found[name].name}")
        found[name] = file
    return found


def _s2ds(folder: Path) -> Found | None:
    folders = subfolders(folder)
    if "images" in folders:
        for layout, name in (("ids", "labels_grayscale"), ("colors", "labels_rgb")):
            if name in folders:
                images, labels = (by_stem(images_of(folders[n])) for n in ("images", name))
                return Found("s2ds", layout, LAYOUTS[layout], images, labels)
    files = images_of(folder)
    labels = by_stem(f for f in files if f.stem.endswith(OFFICIAL_SUFFIX))
    if not labels:
        return None
    images = by_stem(f for f in files if not f.stem.endswith(OFFICIAL_SUFFIX))
    labels = {stem.removesuffix(OFFICIAL_SUFFIX): f for stem, f in labels.items()}
    return Found("s2ds", "official", LAYOUTS["official"], images, labels)


def _crack500(folder: Path) -> Found | None:
    files = images_of(folder)
    stems = {f.stem for f in files}
    masks = [f for f in files if f.stem.endswith("_mask")]
    if any(f.stem.removesuffix("_mask") in stems for f in masks):
        labels = by_stem(masks, lambda file: file.stem.removesuffix("_mask"))
        images = by_stem(f for f in files if f not in set(masks))
        return Found("crack500", "crack500", "X.jpg + X_mask.png side by side", images, labels)
    photos = [f for f in files if f.suffix.lower() in (".jpg", ".jpeg")]
    pngs = {f.stem for f in files if f.suffix.lower() == ".png"}
    official = any(f.stem.endswith(OFFICIAL_SUFFIX) for f in files)
    if official or not any(f.stem in pngs for f in photos):
        return None
    labels = by_stem(f for f in files if f.suffix.lower() == ".png")
    return Found("crack500", "crack500", "X.jpg + X.png side by side", by_stem(photos), labels)


def _crackforest(folder: Path) -> Found | None:
    folders = subfolders(folder)
    inside = next((folders[name] for name in ("image", "images") if name in folders), None)
    for name, suffix in (("groundtruth", ".mat"), ("seg", ".seg")):
        files = [f for f in visible(folders[name], "*") if f.suffix.lower() == suffix] if name in folders else []
        if inside is None or not files:
            continue
        labels, images = by_stem(files), by_stem(images_of(inside))
        left_out = images.keys() - labels.keys()
        notes = (f"{len(left_out)} photographs without ground truth left out",) if left_out else ()
        kept = {stem: file for stem, file in images.items() if stem in labels}
        seen = f"{inside.name}/ + {folders[name].name}/*{suffix}"
        return Found("crackforest", "crackforest", seen, kept, labels, notes)
    return None


def lab_folder(folder: Path) -> Path | None:
    """DeepCrack's folder of masks beside its folder of photographs (train_lab of train_img), if there is one."""
    name = folder.resolve().name
    # Messages show folders as the user typed them; only "." and ".." have no name of their own.
    parent = folder.parent if folder.name not in ("", "..") else folder.resolve().parent
    beside = parent / f"{name[:-4]}_lab"
    return beside if name.lower().endswith("_img") and beside.is_dir() else None


def _deepcrack(folder: Path) -> Found | None:
    masks = lab_folder(folder)
    if masks is None:
        return None
    images = images_of(folder)
    seen = f"{folder.resolve().name}/ + {masks.name}/"
    return Found("deepcrack", "deepcrack", seen, by_stem(images), _masks_of(masks, images))


def _masks_of(folder: Path, images: Iterable[Path]) -> dict[str, Path]:
    """Masks by the stem of their photograph: an ending such as _mask counts only where no photograph has it too."""
    stems = {image.stem for image in images}

    def stem(file: Path) -> str:
        ending = next((e for e in MASK_ENDINGS if file.stem.lower().endswith(e)), "")
        return file.stem if file.stem in stems or not ending else file.stem[: -len(ending)]

    return by_stem(images_of(folder), stem)


def mask_folder(folder: Path) -> tuple[Path, Path] | None:
    """The folder of images and the folder of masks in ``folder``, None when there are not both.

    Raises:
        UserError: when several folders could be either.
    """
    folders, chosen = subfolders(folder), []
    for names in (IMAGE_FOLDERS, MASK_FOLDERS):
        present = [folders[name] for name in names if name in folders]
        full = [d for d in present if images_of(d)] if len(present) > 1 else present
        if len(full) > 1:
            raise UserError(f"{folder}: expected one of the folders {' and '.join(d.name for d in full)}, found both")
        chosen += full or present[:1]
    return (chosen[0], chosen[1]) if len(chosen) == 2 else None


def _images_masks(folder: Path) -> Found | None:
    both = mask_folder(folder)
    if both is None:
        return None
    name = "crackseg9k" if split_lists(folder) else "images_masks"
    images = images_of(both[0])
    return Found(name, name, f"{both[0].name}/ + {both[1].name}/", by_stem(images), _masks_of(both[1], images))


FINDERS: dict[str, Callable[[Path], Found | None]] = {
    "s2ds": _s2ds,
    "crack500": _crack500,
    "crackforest": _crackforest,
    "deepcrack": _deepcrack,
    "images_masks": _images_masks,
}


def _matches(folder: Path, dataset: str) -> list[Found]:
    if dataset == "auto":
        found = [finder(folder) for finder in FINDERS.values()]
        return [f for f in found if f is not None]
    one = FINDERS["images_masks" if dataset == "crackseg9k" else dataset](folder)
    if one is None or (dataset == "crackseg9k" and one.dataset != dataset):
        return []
    return [one]


def fitting(folder: Path, dataset: str) -> Found | None:
    """What lies in ``folder`` when it fits the layout of ``dataset`` (auto: exactly one layout), else None.

    Raises:
        UserError: when it fits two layouts, and for two files of one stem.
    """
    found = _matches(folder, dataset)
    if len(found) > 1:
        names = " and ".join(f"{f.dataset} ({f.seen})" for f in found)
        raise UserError(f"{folder}: fits the layouts of {names}: say which with --dataset")
    return found[0] if found else None


def expected_layout(folder: Path, dataset: str) -> UserError:
    """The error that ``folder`` does not fit: what was expected and what lies in it."""
    folders = subfolders(folder)
    own = {"s2ds": ("ids", "colors", "official"), "auto": tuple(LAYOUTS)}.get(dataset, (dataset,))
    expected = " or ".join(LAYOUTS[name] for name in own)
    inside = ", ".join(sorted(f.name for f in folder.iterdir())[:6]) or "nothing"
    if "images" in folders and dataset in ("auto", "s2ds"):
        more = f" nor a folder of masks ({', '.join(MASK_FOLDERS)})" if dataset == "auto" else ""
        missing = f"found {folders['images'].name} but neither Labels_grayscale nor Labels_RGB{more} beside it"
        return UserError(f"{folder}: {missing}")
    return UserError(f"{folder}: expected {expected}, found {inside}")
