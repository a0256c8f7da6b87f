"""The frames of a video as photographs of a survey, and a video of their overlays."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from prune.errors import UserError
from prune.inspection.reading import PhotoReader
from prune.inspection.records import Broken, PhotoRecord, Source
from prune.inspection.settings import InspectionSettings
from prune.inspection.steps import Going
from prune.inspection.video import Video, video_writer

DIGITS = 6
"""Of the number of a frame in its name."""


def opened(source: Source, how: InspectionSettings) -> Video:
    """The video of a source, with the frames that the settings ask for.

    Raises:
        UserError: for a file that is no video, and without PyAV.
    """
    return Video(source.file, every=how.every, fps=how.fps)


def frames(source: Source, reader: PhotoReader, how: InspectionSettings) -> Iterator[Going | Broken]:
    """The frames of a video, read and named ``VIDEO/000123`` by their number; at the end what broke it off, if anything did."""
    try:
        with opened(source, how) as video:
            for frame in video:
                name = f"{source.name}/{frame.number:0{DIGITS}d}"
                place = Source(source.file, name, source.shown)
                try:
                    image, shot, seen = reader.of_frame(source, frame.image)
                    shot = replace(shot, notes=(f"at {frame.seconds:.1f} s", *shot.notes))
                    yield Going(place, image, shot, seen)
                except UserError as error:
                    yield Going(place, error=error)
            if video.broken:
                yield source.broken(f"{source.file}: {video.broken}")
    except UserError as error:
        yield source.broken(error.message)


def write_overlay_video(
    source: Source, photos: Sequence[PhotoRecord], how: InspectionSettings, folder: Path
) -> Path | None:
    """Write the overlays of a video's frames as a video and return its path, None where it has no frame.

    Args:
        source: The video.
        photos: All of the survey; those of other files are left out.
        how: Settings it was read with.
        folder: Of the survey.

    Raises:
        UserError: when it cannot be written.
    """
    mine = [folder / photo.files["overlay"] for photo in photos if photo.name.startswith(f"{source.name}/")]
    if not mine:
        return None
    with opened(source, how) as video:
        rate = video.given_rate
    path = folder / "videos" / f"{source.name}.mp4"
    with Image.open(mine[0]) as first, video_writer(path, rate, (first.height, first.width)) as add:
        for file in mine:
            with Image.open(file) as picture:
                add(np.asarray(picture.convert("RGB")))
    return path
