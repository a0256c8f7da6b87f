"""Pictures of a camera, saved as photographs to be surveyed."""

from collections.abc import Iterable
from pathlib import Path

from prune.errors import UserError
from prune.inspection.video import Frame
from prune.progress import progress, say
from prune.report.figures import save_image

DIGITS = 6
"""Of the number of a picture in its name."""


def record(frames: Iterable[Frame], folder: Path, seconds: float) -> list[Path]:
    """Save frames as PNG files until the time is over, the camera ends, or Ctrl-C is pressed.

    Args:
        frames: Of a camera, see ``prune.inspection.video.Video``.
        folder: Where to; the names are the numbers of the frames.
        seconds: How long, by the times of the frames.

    Returns:
        The files, at least one.

    Raises:
        UserError: when there is none, and when a file cannot be written.
    """
    files: list[Path] = []
    try:
        for frame in progress(frames, "recording", "frame"):
            if frame.seconds >= seconds:
                break
            files.append(save_image(frame.image, folder / f"{frame.number:0{DIGITS}d}.png"))
    except KeyboardInterrupt:
        if not files:
            raise
        say("camera", "stopped, what was recorded is surveyed")
    if not files:
        raise UserError("--camera: expected pictures of the camera, found none")
    return files
