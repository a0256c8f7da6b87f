"""``inference.py``: photographs in, pictures of what the network sees out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from prune.checkpoint import load_checkpoint, newest_model
from prune.commands.defaults import data_folder
from prune.config import InferenceConfig, parse
from prune.data.images import is_image, read_image
from prune.data.labels import ClassSet
from prune.data.layout import OFFICIAL_SUFFIX
from prune.errors import UserError
from prune.files import check_writable, find_model
from prune.hardware import autocast_type, choose_device, set_threads
from prune.predict_torch import TorchPredictor
from prune.report.figures import color_mask, overlay, require_display, save_image, show, side_by_side


@dataclass(frozen=True)
class InferenceResult:
    """The files written, and the share of pixels of each class over all images."""

    files: list[Path]
    images: int
    shares: dict[str, float]

    def __str__(self) -> str:
        found = ", ".join(f"{name} {share:.2%}" for name, share in self.shares.items() if share)
        lines = [f"{self.images} image(s): {found}"]
        if self.files:
            lines.append(f"{len(self.files)} file(s) in {self.files[0].parent}, first {self.files[0].name}")
        return "\n".join(lines)


def find_images(path: Path) -> list[Path]:
    """The photographs meant by ``path``: one file, or the image files of a folder (labels of the official layout left out).

    Raises:
        UserError: when there are none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"--image: {path} not found")
    files = sorted(f for f in path.iterdir() if f.is_file() and is_image(f))
    stems = {f.stem for f in files}
    photos = [f for f in files if f.stem.removesuffix(OFFICIAL_SUFFIX) not in stems - {f.stem}]
    if not photos:
        raise UserError(f"--image: no image files in {path}")
    return photos


def draw(
    image: NDArray[np.uint8], class_map: NDArray[np.uint8], classes: ClassSet, config: InferenceConfig
) -> NDArray[np.uint8]:
    """The picture that ``--mode`` asks for, uint8 RGB; overlay and mask have the image's own size."""
    if config.mode == "overlay":
        return overlay(image, class_map, classes, config.opacity)
    if config.mode == "save_mask":
        return color_mask(class_map, classes)
    return side_by_side(image, class_map, classes)


def output_names(files: Sequence[Path], mode: str) -> list[str]:
    """One file name per photograph, ``<stem>_<mode>.png``; equal stems get their suffix into the name."""
    twice = Counter(f.stem for f in files)
    stems = [f.stem if twice[f.stem] == 1 else f"{f.stem}_{f.suffix[1:].lower()}" for f in files]
    return [f"{stem}_{mode}.png" for stem in stems]


def infer(config: InferenceConfig) -> InferenceResult:
    """Segment photographs of any size and write or show the pictures.

    Raises:
        UserError: for anything the user can fix; a damaged photograph in a folder is named before any work is lost.
    """
    folder = Path(config.output_dir)
    if config.save_figure:
        check_writable(folder)
    else:
        require_display()
    set_threads(config.threads)
    device = choose_device(config.device)
    photos = find_images(Path(config.image) if config.image else data_folder() / "test" / "Images")
    network = load_checkpoint(
        find_model(config.state_dict) if config.state_dict else newest_model(), config.trust_pickle
    )
    print(f"model    {network.file}")
    predictor = TorchPredictor(network, device, autocast_type(config.amp, device), config.channels_last)
    pixels = np.zeros(len(network.classes), dtype=np.int64)
    written: list[Path] = []
    names = output_names(photos, config.mode)
    for photo, name in zip(tqdm(photos, desc="segmenting", unit="image", leave=False), names, strict=True):
        image = read_image(photo)
        class_map = predictor.class_map(image)
        pixels += np.bincount(class_map.ravel(), minlength=len(pixels))
        picture = draw(image, class_map, network.classes, config)
        if config.save_figure:
            written.append(save_image(picture, folder / name))
        else:
            show(picture, photo.name)
    shares = dict(zip(network.classes.classes, (pixels / pixels.sum()).tolist(), strict=True))
    return InferenceResult(written, len(photos), shares)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line of ``inference.py``, segment, print the summary."""
    print(infer(parse(InferenceConfig, "Show what a network sees on photographs.", argv, "inference.py")))
