"""``inference.py``: photographs in, pictures of what the network sees out."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.api.folder import Shot, segmented
from prune.api.views import Subject, choose
from prune.cli.inference import InferenceOptions
from prune.data.find_split import OFFICIAL_SUFFIX
from prune.data.images import is_image, read_image
from prune.data.mask_files import classes_called
from prune.errors import PartlyDone, UserError
from prune.files import check_writable, find_model
from prune.inference.load import load_predictor
from prune.inference.predictor import TORCH_FREE_SUFFIXES, Predictor
from prune.inference.replicas import replicated
from prune.progress import progress
from prune.report.figures import require_display, show


@dataclass
class InferenceResult:
    """What was done.

    Args:
        subject: What the pictures show.
        pixels: Pixels per predicted class over all images, float64 (C,).
        classes: Their names.
        files: Those written.
        images: The number of photographs that could be read.
        broken: What is wrong with the others.
        absent: Photographs on which the class that was asked for is predicted nowhere.
        seconds: From the first photograph read to the last one done.
    """

    subject: Subject
    pixels: NDArray[np.float64]
    classes: tuple[str, ...]
    files: list[Path] = field(default_factory=list)
    images: int = 0
    broken: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def shares(self) -> dict[str, float]:
        """The share (0…1) of the pixels per class."""
        return dict(zip(self.classes, (self.pixels / max(1.0, self.pixels.sum())).tolist(), strict=True))

    def __str__(self) -> str:
        found = ", ".join(f"{name} {share:.2%}" for name, share in self.shares.items() if share)
        lines = [f"{self.images} image(s): {found}", *filter(None, [str(self.subject)])]
        if self.absent:
            photos = ", ".join(self.absent[:3]) + (" …" if len(self.absent) > 3 else "")
            lines.append(
                f"note     {self.subject.class_name} is predicted nowhere in {photos} ({len(self.absent)} of "
                f"{self.images}): the heat is that of the 1 % of pixels where it is most probable"
            )
        if self.files and self.images > 1:
            lines.append(f"speed    {self.images / self.seconds:.3g} images/s")
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


def output_names(files: Sequence[Path], mode: str, suffix: str = "png") -> list[str]:
    """One file name per photograph, ``<stem>_<mode>.<suffix>``; equal stems get their suffix into the name."""
    twice = Counter(f.stem for f in files)
    stems = [f.stem if twice[f.stem] == 1 else f"{f.stem}_{f.suffix[1:].lower()}" for f in files]
    return [f"{stem}_{mode}.{suffix}" for stem in stems]


def _predictor(config: InferenceOptions) -> Predictor:
    """The named network, else the newest checkpoint; PyTorch is imported only for files it runs."""
    classes = classes_called(config.classes) if config.classes else None
    if config.state_dict:
        file = find_model(config.state_dict)
        if file.suffix in TORCH_FREE_SUFFIXES:
            return load_predictor(file, threads=config.threads, classes=classes)
    try:
        from prune.hardware import choose_device, set_threads
        from prune.models.checkpoint import newest_model
        from prune.number_format import evaluation_format
    except ImportError as error:
        name = config.state_dict or "a checkpoint"
        raise UserError(f"{name}: needs PyTorch, which is not installed: pip install prune-crackseg[train]") from error
    set_threads(config.threads)
    device = choose_device(config.device)
    numbers = evaluation_format(config.amp, config.channels_last, device)
    if config.amp != "off":
        print(f"numbers  {numbers}")
    options: dict[str, Any] = {"autocast": numbers.autocast, "channels_last": numbers.channels_last}
    file = find_model(config.state_dict) if config.state_dict else newest_model()
    return load_predictor(file, device=device, trust_pickle=config.trust_pickle, **options)


def _photos(config: InferenceOptions) -> list[Path]:
    if config.image:
        return find_images(Path(config.image))
    from prune.api.defaults import data_folder

    return find_images(data_folder() / "test" / "Images")


def _first(photos: Sequence[Path]) -> NDArray[np.uint8] | None:
    """The first photograph that can be read."""
    for photo in photos:
        with suppress(UserError):
            return read_image(photo)
    return None


def _collect(result: InferenceResult, shot: Shot, single: bool) -> None:
    """Add one photograph to the result; a single one that is damaged is an error."""
    if shot.seen is None:
        if single and shot.error is not None:
            raise shot.error
        result.broken.append(shot.error.message if shot.error else "")
        return
    result.images += 1
    result.pixels += shot.seen.pixels
    result.files += shot.files
    if not shot.seen.predicted:
        result.absent.append(shot.photo.name)
    if shot.picture is not None:
        show(shot.picture, shot.photo.name)


def infer(config: InferenceOptions) -> InferenceResult:
    """Segment photographs of any size and write or show the pictures.

    Raises:
        UserError: for anything the user can fix. A damaged photograph in a folder does not stop the others: see ``broken``.
    """
    folder = Path(config.output_dir)
    if config.save_figure:
        check_writable(folder)
    else:
        require_display()
    photos = _photos(config)
    predictor = _predictor(config)
    print(f"model    {predictor.card.file}")
    subject = choose(config, predictor)
    replicas = replicated(predictor, config.networks, config.threads, len(photos), partial(_first, photos))
    if len(photos) > 1:
        print(f"running  {replicas}")
    lossless = config.mode == "save_mask"
    if lossless and config.format != "png":
        print(f"note     masks are written as png: {config.format} would change classes")
    names = output_names(photos, config.mode, "png" if lossless else config.format)
    shots = [Shot(photo, folder / name) for photo, name in zip(photos, names, strict=True)]
    result = InferenceResult(subject, np.zeros(len(predictor.classes)), predictor.classes.classes)
    start = perf_counter()
    for shot in progress(segmented(shots, config, subject, replicas), "segmenting", total=len(shots)):
        _collect(result, shot, single=len(shots) == 1)
    result.seconds = perf_counter() - start
    return result


def run(config: InferenceOptions) -> None:
    """Segment and print the summary.

    Raises:
        UserError: for anything the user can fix, after the others are done when photographs of a folder are damaged.
    """
    result = infer(config)
    print(result)
    if result.broken:
        total = result.images + len(result.broken)
        raise PartlyDone(f"{len(result.broken)} of {total} photographs could not be read: {'; '.join(result.broken)}")
