"""``prune.survey``: photographs in, a report one can hand in out."""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prune.api.crack_errors import read_errors, stored_errors
from prune.api.inputs import AnyModel, class_set, opened_model
from prune.api.measures import checked_scale
from prune.api.model import Model
from prune.api.photo_files import PhotoFiles, find_photos, photo_list
from prune.data.images import MAX_MEGAPIXELS
from prune.data.labels import ClassSet
from prune.errors import UserError
from prune.files import RESULTS, require_plain_name, short_name
from prune.inspection.findings import About
from prune.inspection.known_errors import KnownErrors
from prune.inspection.orthophoto import is_orthophoto
from prune.inspection.reading import PhotoReader
from prune.inspection.records import Source
from prune.inspection.scale import ScaleReader
from prune.inspection.scale_settings import ScaleSettings
from prune.inspection.settings import InspectionSettings
from prune.inspection.store import Store, digest_of
from prune.inspection.survey import Job, OnPhoto, make_survey
from prune.inspection.survey_result import SurveyResult
from prune.inspection.video import is_video
from prune.options import fields_of, settings_from, with_settings
from prune.progress import say

SURVEYS = RESULTS / "surveys"
Photos = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
PATTERN = "*?["
"""Characters that make a path a pattern."""


@with_settings(InspectionSettings)
def survey(
    photos: Photos,
    model: AnyModel = "crack",
    *,
    name: str | None = None,
    output: str | os.PathLike[str] | None = None,
    errors: str | os.PathLike[str] | None = None,
    classes: str | Sequence[str] | ClassSet | None = None,
    compare: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    force: bool = False,
    on_photo: OnPhoto | None = None,
    **settings: Any,
) -> SurveyResult:
    """Find and measure the defects in photographs of a structure, and write a report with tables, masks and polygons.

    A survey that was stopped continues where it was when it is called with the same arguments again; photographs that are
    done and unchanged are not done again. A broken file does not stop the others.

    Args:
        photos: Files, folders and patterns such as ``"bridge/*.jpg"``; videos too, whose frames are surveyed.
        model: A model, a checkpoint or an export; ``crack`` is the network included in the package.
        name: Of the survey; None = by the first of ``photos``.
        output: Folder to write into; None = ``results/surveys/NAME``.
        errors: The .json file of an evaluation made with ``crack_errors``; None = what is stored with the network.
        classes: What the outputs of an export made by another tool mean.
        compare: An earlier survey of the same place, its folder or its name in ``results/surveys``: photographs of the
            same name, or taken at most 10 m apart, are laid over each other, and the growth of every crack is reported.
        root: Folder that reports name files relative to; None = files are named by their paths.
        force: Replace a survey of the same name made with other settings.
        on_photo: Called with the record of every photograph when it is done.
        **settings: The scale from one of ``mm_per_pixel`` (a number, or a CSV file with the columns image,mm_per_pixel),
            ``distance_m``, ``points``, ``square_mm`` and ``target_mm`` (see
            ``prune.inspection.scale_settings.ScaleSettings``), without which lengths and widths stay in px; ``min_length``
            and ``width`` (see ``prune.inspection.cracks``), ``recursive``, ``palette``, ``report_pictures``, ``pdf``,
            ``networks`` and ``threads``.

    Returns:
        What was found, and the files.

    Raises:
        TypeError: for an unknown argument or one of another type.
        UserError: when no photograph is found or can be read, and for anything else the user can fix. Files that cannot
            be read beside others are in ``broken``.
    """
    if isinstance(settings.get("mm_per_pixel"), (int, float)):
        settings["mm_per_pixel"] = str(checked_scale(settings["mm_per_pixel"]))
    how = settings_from(InspectionSettings, "survey", settings)
    files = sources_of(found_files(photos, how.recursive), root)
    title = name or short_name(_title(photos).lstrip(".") or "survey")
    folder = Path(output) if output is not None else SURVEYS / title
    _require_name(title, folder)
    opened = _opened(model, classes, how.threads)
    known = read_errors(errors) if errors is not None else stored_errors(opened.card)
    facts = _facts(_shown(photos, root), opened, how, known)
    job = _job(files, how, Store(folder, facts), about_survey(title, opened, how, known, facts))
    earlier = None if compare is None else _earlier(compare, folder)
    job = replace(job, threads=how.threads or opened.threads, compare=earlier)
    say("model", opened.card.file)
    for kind, found in (("photos", job.sources), ("videos", job.videos), ("maps", job.maps)):
        if found:
            say(kind, f"{len(found)}, first {found[0].file}")
    return make_survey(job, opened.predictor, force=force, on_photo=on_photo)


def _opened(model: AnyModel, classes: str | Sequence[str] | ClassSet | None, threads: int) -> Model:
    """The network that is meant."""
    if isinstance(model, Model):
        return model
    named = isinstance(model, (str, os.PathLike)) and threads
    options: dict[str, Any] = {"threads": threads} if named else {}
    return opened_model("model", model, classes=class_set(classes), **options)


def _facts(photos: list[str], model: Model, how: InspectionSettings, known: KnownErrors | None) -> dict[str, Any]:
    """Everything that the measurements of a survey depend on, by name."""
    scale = {name: value and _told(value) for name, value in fields_of(ScaleSettings, how).items()}
    errors = known and f"{known.data} ({_short_digest(json.dumps(known.to_json()))})"
    facts = {
        "photographs": photos,
        **scale,
        "model": network_digest(model),
        "width": how.width,
        "min_length": how.min_length,
        "palette": how.palette,
        "every": how.every if how.every > 1 else None,
        "fps": how.fps,
        "errors": errors,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _job(files: Sequence[Source], how: InspectionSettings, store: Store, about: About) -> Job:
    """What is to be surveyed, by the kind of the files."""
    kinds = [_kind(source.file) for source in files]
    photos, videos, maps = (
        [source for source, kind in zip(files, kinds, strict=True) if kind == wanted]
        for wanted in ("photograph", "video", "orthophoto")
    )
    scales = ScaleReader(ScaleSettings(**fields_of(ScaleSettings, how)), [source.file.stem for source in files])
    return Job(photos, videos, maps, PhotoReader(scales), store, lambda begun: replace(about, begun=begun), how)


def found_files(photos: object, recursive: bool) -> PhotoFiles:
    """The photographs and videos that files, folders and patterns mean, each once, in their order.

    Raises:
        TypeError: for anything but paths.
        UserError: for a path that is not there, and when there are none.
    """
    several = isinstance(photos, Sequence) and not isinstance(photos, str)
    named: list[Any] = list(photos) if several and isinstance(photos, Sequence) else [photos]
    if not named:
        raise UserError("--photos: expected files, folders or patterns, found none")
    found: list[PhotoFiles] = []
    for one in named:
        if not isinstance(one, (str, os.PathLike)):
            raise TypeError(f"photos: expected paths, found {type(one).__name__}")
        path = Path(one)
        if not path.exists() and any(character in str(one) for character in PATTERN):
            every = glob.glob(str(one), recursive=True)  # noqa: PTH207, the pattern may be absolute
            matches = sorted(file for file in every if Path(file).is_file())
            if not matches:
                raise UserError(f"--photos: no file fits {one}")
            found.append(photo_list(matches))
        else:
            found.append(_in_folder(path, recursive))
    return found[0] if len(found) == 1 else photo_list([file for part in found for file in part.files])


def _in_folder(path: Path, recursive: bool) -> PhotoFiles:
    """A file, or the photographs and then the videos of a folder."""
    inside = path.rglob("*") if recursive else path.iterdir() if path.is_dir() else ()
    videos = sorted(file for file in inside if is_video(file) and file.is_file())
    try:
        photos = find_photos(path, recursive=recursive, argument="photos")
    except UserError:
        if not videos:
            raise
        return PhotoFiles(tuple(videos), path)
    return PhotoFiles((*photos.files, *videos), photos.root)


def _earlier(compare: str | os.PathLike[str], folder: Path) -> Path:
    """The folder of an earlier survey.

    Raises:
        UserError: for one that is not there, and for this survey itself.
    """
    folders = [path for path in (Path(compare), SURVEYS / compare) if path.is_dir()]
    # A folder of photographs often has the name of its survey: the one that holds a survey is meant.
    path = next((path for path in folders if (path / "survey.json").is_file()), folders[0] if folders else None)
    if path is None:
        raise UserError(
            f"--compare: expected the folder of a survey or its name in {SURVEYS}, found none called {compare}"
        )
    if path.resolve() == folder.resolve():
        raise UserError(f"--compare: expected another survey than {folder} itself")
    return path


def _kind(file: Path) -> str:
    """What a file is taken for, by its name and header."""
    if is_video(file):
        return "video"
    return "orthophoto" if is_orthophoto(file, MAX_MEGAPIXELS) else "photograph"


def sources_of(files: PhotoFiles, root: str | os.PathLike[str] | None = None) -> list[Source]:
    """The files with their unique names within the survey, and their paths as seen from a folder."""
    pairs = zip(files.files, files.outputs(Path(), ""), strict=True)
    if root is None:
        return [Source(file, name.as_posix()) for file, name in pairs]
    return [Source(file, name.as_posix(), Path(os.path.relpath(file, root)).as_posix()) for file, name in pairs]


def _told(value: object) -> str:
    """A setting of the scale as text; of a table its name and what it holds, so that a changed one is another setting."""
    file = Path(str(value))
    return f"{value} ({digest_of(file)[:8]})" if file.is_file() else str(value)


def _shown(photos: object, root: str | os.PathLike[str] | None = None) -> list[str]:
    """What was named, as text; as seen from ``root``."""
    several = isinstance(photos, Sequence) and not isinstance(photos, str)
    named = list(map(str, photos)) if several and isinstance(photos, Sequence) else [str(photos)]
    return named if root is None else [Path(os.path.relpath(name, root)).as_posix() for name in named]


def _title(photos: object) -> str:
    """A name for a survey without one: that of its first folder or file."""
    path = Path(_shown(photos)[0])
    while any(character in path.name for character in PATTERN):
        path = path.parent
    name = path.name or path.resolve().name
    return name if path.is_dir() else Path(name).stem or "survey"


def _require_name(name: object, folder: Path) -> None:
    """Raise ``UserError`` for a name that is no folder's name."""
    if not isinstance(name, str):
        raise TypeError(f"name: expected text, found {type(name).__name__}")
    require_plain_name("--name", name)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: expected a folder, found a file: choose another name (--name)")


def _short_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def network_digest(model: Model) -> str:
    """What tells a network from others: SHA-256 of its files, or of its weights where it lies in memory."""
    file = model.card.file
    if file.is_file():
        parts = [file, *(part for part in [file.with_suffix(".bin")] if file.suffix in (".xml", ".param"))]
        return "-".join(digest_of(part)[:16] for part in parts)
    found, network = hashlib.sha256(str(model).encode()), getattr(model.predictor, "network", None)
    for name, tensor in sorted(network.model.state_dict().items()) if network is not None else ():
        found.update(name.encode() + tensor.detach().cpu().numpy().tobytes())
    return found.hexdigest()[:16]


def about_survey(
    title: str, model: Model, how: InspectionSettings, errors: KnownErrors | None, facts: dict[str, Any]
) -> About:
    """How the survey is made, without its date."""
    card, classes = model.card, model.classes
    number = classes.index("crack") or 1
    settings = {name: ", ".join(value) if isinstance(value, list) else str(value) for name, value in facts.items()}
    notes = {
        heading: lines for heading, lines in card.notes.items() if heading in ("data", "known failures", "license")
    }
    network = f"{card.name} ({card.architecture}, {card.runtime} {card.precision})"
    return About(title, "", network, classes.classes[number], classes, settings, errors, how.min_length, notes)
