"""``prune.predict``: photographs in, predictions or pictures of whole folders out."""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from prune.api.folder import Drawing, PhotoResult, segmented
from prune.api.inputs import AnyModel, opened_model
from prune.api.load import load
from prune.api.model import Model
from prune.api.photo_files import PhotoFiles, find_photos, photo_labels, photo_list
from prune.api.prediction import Photo, Prediction, predictions
from prune.api.views import Look, View, chosen_view
from prune.data.images import read_image
from prune.errors import UserError
from prune.files import check_writable
from prune.inference.replicas import replicated
from prune.inference.settings import PredictSettings
from prune.options import settings_from, with_settings
from prune.progress import progress, say

Photos = Photo | Sequence[Photo] | PhotoFiles
OnPhoto = Callable[[PhotoResult], None]
NAMED = 3
"""How many files a line names before it only counts them."""


@dataclass
class PredictResult:
    """The results for many photographs.

    Args:
        view: What the pictures show.
        pixels: Pixels per predicted class over all images, float64 (C,).
        classes: Their names.
        files: Those written.
        images: The number of photographs that could be read.
        broken: What is wrong with the others.
        skipped: Files beside them that are no photographs.
        absent: Photographs on which the requested class is predicted nowhere.
        share_of_photo: The share (0…1) of the pixels per class, by photograph.
        seconds: From the first photograph read to the last one done.
        output: The folder the files are in, None = none was named.
    """

    view: View
    pixels: NDArray[np.float64]
    classes: tuple[str, ...]
    files: list[Path] = field(default_factory=list)
    images: int = 0
    broken: list[str] = field(default_factory=list)
    skipped: tuple[Path, ...] = ()
    absent: list[str] = field(default_factory=list)
    share_of_photo: dict[Path, dict[str, float]] = field(default_factory=dict)
    seconds: float = 0.0
    output: Path | None = None

    @property
    def shares(self) -> dict[str, float]:
        """The share (0…1) of the pixels per class over all photographs."""
        return _shares(self.pixels, self.classes)

    def add(self, one: PhotoResult) -> None:
        """Count one more photograph."""
        if one.seen is None:
            self.broken.append(one.error.message if one.error else "")
            return
        self.images += 1
        self.pixels += one.seen.pixels
        self.files += one.files
        self.share_of_photo[one.photo] = _shares(one.seen.pixels, self.classes)
        if not one.seen.predicted:
            self.absent.append(one.photo.name)

    def __str__(self) -> str:
        found = ", ".join(f"{name} {share:.2%}" for name, share in self.shares.items() if share)
        lines = [f"{self.images} image(s): {found}", *filter(None, [str(self.view)])]
        if self.absent:
            lines.append(
                f"note     {self.view.class_name} is predicted nowhere in {_named(self.absent)} ({len(self.absent)} of "
                f"{self.images}): the heat is that of the 1% of pixels where it is most probable"
            )
        if self.skipped:
            count = len(self.skipped)
            lines.append(
                f"skipped  {count} file{'s' * (count > 1)} that {'are' if count > 1 else 'is'} no "
                f"photograph{'s' * (count > 1)}: {_named([file.name for file in self.skipped])}"
            )
        if self.files and self.images > 1:
            lines.append(f"speed    {self.images / self.seconds:.3g} images/s")
        if self.files:
            folder = self.output or self.files[0].parent
            lines.append(f"{len(self.files)} file(s) in {folder}, first {self.files[0].relative_to(folder)}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Shares per class, for notebooks."""
        rows = "".join(f"<tr><td>{html.escape(n)}</td><td>{s:.2%}</td></tr>" for n, s in self.shares.items())
        return f"<table><caption>{self.images} image(s)</caption><tr><th>class</th><th>share</th></tr>{rows}</table>"


def _shares(pixels: NDArray[np.float64], classes: tuple[str, ...]) -> dict[str, float]:
    return dict(zip(classes, (pixels / max(1.0, pixels.sum())).tolist(), strict=True))


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (" …" if len(names) > NAMED else "")


@overload
def predict(
    model: AnyModel, photos: Photos, *, mode: str = ..., output: str | Path, **settings: Any
) -> PredictResult: ...


@overload
def predict(
    model: AnyModel, photos: Photos, *, mode: str = ..., output: str | Path | None, on_photo: OnPhoto, **settings: Any
) -> PredictResult: ...


@overload
def predict(
    model: AnyModel, photos: Photos, *, mode: str = ..., **settings: Any
) -> Prediction | list[Prediction] | PredictResult: ...


@with_settings(PredictSettings)
def predict(
    model: AnyModel,
    photos: Photos,
    *,
    mode: str = PredictSettings.mode,
    output: str | Path | None = None,
    on_photo: OnPhoto | None = None,
    **settings: Any,
) -> Prediction | list[Prediction] | PredictResult:
    """Segment photographs of any size.

    A photograph gives a ``Prediction``, a list of them a list. A folder gives a ``PredictResult``, in memory that hardly
    grows with it, and so does everything when ``output`` or ``on_photo`` is given.

    Args:
        model: A model, a checkpoint or export, or a ``torch.nn.Module``.
        photos: A file, pixels uint8 (H, W, 3), RGB, or (H, W), gray, a list of them, or a folder.
        mode: Pictures made of files: side_by_side, overlay, save_mask, probability, gradcam, or errors, which compares
            photographs of a labeled split with their labels.
        output: Folder to write them into; None = nothing is written. Pictures of subfolders go into subfolders.
        on_photo: Called with every photograph of files, in their order, when it is done; without ``output`` its
            ``picture`` is the one of ``mode``.
        **settings: ``class_name`` and ``layer`` (what probability and gradcam show), ``opacity`` (0 to 1), ``palette``
            (standard or colorblind), ``legend`` (below pictures of classes), ``format`` (png, jpg, webp), ``recursive`` (read subfolders), ``networks`` and ``threads`` (copies of an export that share the
            CPU threads; 0 = chosen).

    Returns:
        Class maps, measurements and pictures, or shares per class with the files written, skipped and broken.

    Raises:
        TypeError: for an unknown argument, and for photographs that are neither paths nor arrays of uint8.
        UserError: for anything the user can fix. A damaged photograph in a folder does not stop the others: see ``broken``.
    """
    how = settings_from(PredictSettings, "predict", {"mode": mode, **settings})
    if output is not None and not isinstance(output, (str, os.PathLike)):
        raise TypeError(f"output: expected a folder, found {type(output).__name__}")
    folder = None if output is None else Path(output)
    if folder is not None:
        check_writable(folder)
    files = _files(photos, how, folder) if folder or on_photo or _is_folder(photos) else None
    opened = _opened(model, how.threads)
    if files is None:
        return predictions(opened.predictor, photos)
    return _segment_files(opened, files, how, folder, on_photo)


def _is_folder(photos: object) -> bool:
    return isinstance(photos, PhotoFiles) or (isinstance(photos, (str, os.PathLike)) and Path(photos).is_dir())


def _files(photos: object, how: PredictSettings, output: Path | None) -> PhotoFiles:
    """The photographs that are meant, as files."""
    if isinstance(photos, PhotoFiles):
        return photos
    if isinstance(photos, (str, os.PathLike)):
        return find_photos(Path(photos), recursive=how.recursive, output=output, argument="photos")
    if isinstance(photos, Sequence):
        return photo_list(photos)
    found = type(photos).__name__
    raise TypeError(f"photos: expected files or a folder to make pictures of, found {found}: see Prediction.to_png")


def _opened(model: AnyModel, threads: int) -> Model:
    if isinstance(model, (str, os.PathLike)):
        return load(model, threads=threads)
    return opened_model("model", model)


def _first(photos: Sequence[Path]) -> NDArray[np.uint8] | None:
    """The first photograph that can be read."""
    for photo in photos:
        with suppress(UserError):
            return read_image(photo)
    return None


def _segment_files(
    model: Model, photos: PhotoFiles, how: PredictSettings, output: Path | None, on_photo: OnPhoto | None
) -> PredictResult:
    """Segment files and write or hand on their pictures."""
    predictor = model.predictor
    say("model", predictor.card.file)
    view = chosen_view(how, predictor)
    labels = photo_labels(photos, predictor.classes) if how.mode == "errors" else None
    threads = how.threads or model.threads
    replicas = replicated(predictor, how.networks, threads, len(photos.files), partial(_first, photos.files))
    if len(photos.files) > 1:
        say("running", replicas)
    lossless = how.mode == "save_mask"
    if output and lossless and how.format != "png":
        say("note", f"masks are written as png: {how.format} would change classes")
    ending = f"_{how.mode}.{'png' if lossless else how.format}"
    paths: Sequence[Path | None] = photos.outputs(output, ending) if output else [None] * len(photos.files)
    waiting = [PhotoResult(photo, path) for photo, path in zip(photos.files, paths, strict=True)]
    result = PredictResult(view, np.zeros(len(predictor.classes)), predictor.classes.classes)
    result.skipped, result.output = photos.skipped, output
    look = Look(how.opacity, how.palette, how.legend)
    drawing = Drawing(view, look, labels, shown=on_photo is not None)
    start = perf_counter()
    for one in progress(segmented(waiting, drawing, replicas), "segmenting", total=len(waiting)):
        if one.error is not None and len(waiting) == 1:
            raise one.error
        result.add(one)
        if on_photo is not None:
            on_photo(one)
    result.seconds = perf_counter() - start
    return result
