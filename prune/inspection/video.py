"""Frames of a video file or a camera, upright, one by one; and videos written from pictures. Needs PyAV (extra ``video``)."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prune.errors import UserError, first_line
from prune.files import atomic_path
from prune.progress import say

if TYPE_CHECKING:
    import av

Picture = NDArray[np.uint8]
SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".mts", ".wmv")
MAX_MEGAPIXELS = 200
"""Larger frames are refused, as larger photographs are."""
CONTAINED = {"protocol_whitelist": "file", "format_whitelist": "mov,matroska,avi,mpeg,mpegts,mpegvideo,asf"}
"""What a file may be: no playlist, which could name other files and addresses."""
CODECS = ("libx264", "mpeg4")
"""Of written videos; the first that the installed PyAV has."""
QUALITY = {"libx264": {"crf": "20"}, "mpeg4": {"qscale": "3"}}
"""Options of the codecs: sharp enough for lines one pixel wide."""
SLACK = 1.0
"""Seconds that the pictures of half a minute may end before the file says it does: sound often lasts longer."""
UNKNOWN_RATE = 25.0
"""Frames per second of a video that does not say."""


def is_video(path: str | Path) -> bool:
    """Whether the file's name ends like a video; hidden files are none."""
    return Path(path).suffix.lower() in SUFFIXES and not Path(path).name.startswith(".")


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a video.

    Args:
        number: Of the frame in the video, from 0.
        seconds: When it is shown, from the beginning.
        image: uint8 (H, W, 3), RGB, upright.
    """

    number: int
    seconds: float
    image: Picture = field(repr=False)


class Video:
    """A video file, or a camera, that is read frame by frame; memory does not depend on its length.

    Iterating gives every frame, every n-th, or about ``fps`` a second. A video that breaks off gives the frames until
    then, one line of warning, and ``broken``.

    Args:
        source: A file, or the number of a camera (``/dev/video0`` is 0).
        every: Give every n-th frame.
        fps: Give this many frames a second instead, at most those there are.

    Raises:
        UserError: for a missing file, one without pictures, a camera that cannot be opened, steps below 1, and PyAV missing.
    """

    def __init__(self, source: str | Path | int, *, every: int = 1, fps: float | None = None) -> None:
        if every < 1:
            raise UserError(f"--every: expected at least 1, found {every}")
        if fps is not None and not (fps > 0 and math.isfinite(fps)):
            raise UserError(f"--fps: expected a number above 0, found {fps}")
        self.source, self.broken = source, ""
        self._every, self._fps = every, fps
        self._container = _opened(source)
        if not self._container.streams.video:
            self._container.close()
            raise UserError(f"{source}: expected a video, found a file without pictures")
        self._stream = self._container.streams.video[0]
        codec: Any = self._stream.codec_context  # None where PyAV knows no decoder for it
        if codec is None:
            self._container.close()
            raise UserError(f"{source}: expected a video, found pictures that PyAV cannot decode")
        self._stream.thread_type = "AUTO"
        size = (codec.height or 0, codec.width or 0)
        if size[0] * size[1] > MAX_MEGAPIXELS * 1e6:
            self._container.close()
            raise UserError(f"{source}: {size[0] * size[1] / 1e6:.0f} megapixels, the limit is {MAX_MEGAPIXELS}")

    @property
    def rate(self) -> float:
        """Frames per second of the file."""
        return float(self._stream.average_rate or self._stream.guessed_rate or UNKNOWN_RATE)

    @property
    def count(self) -> int | None:
        """About how many frames iterating gives, as the file says; None = it does not say."""
        frames = self._stream.frames
        if not frames:
            return None
        return -(-frames // self._every) if self._fps is None else math.ceil(frames * min(1, self._fps / self.rate))

    @property
    def given_rate(self) -> float:
        """Frames per second that iterating gives."""
        return self.rate / self._every if self._fps is None else min(self._fps, self.rate)

    def __enter__(self) -> "Video":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        start, last = None, -1
        for number, frame in enumerate(self._decoded()):
            seconds = number / self.rate if frame.time is None else float(frame.time)
            start = seconds if start is None else start
            # A quarter of a frame early counts, since stored times are rounded.
            turn = number // self._every if self._fps is None else int((seconds - start + 0.25 / self.rate) * self._fps)
            if turn > last:
                last = turn
                yield Frame(number, seconds - start, _upright(frame))

    def _decoded(self) -> Iterator["av.VideoFrame"]:
        """The frames as PyAV gives them, up to where the file breaks off."""
        import av

        number, end = 0, 0.0
        try:
            for frame in self._container.decode(self._stream):
                if not frame.is_corrupt:
                    yield frame
                    number, end = number + 1, float(frame.time or 0.0)
        except av.error.FFmpegError as error:
            self._break(number, first_line(error))
            return
        announced, seconds = self._stream.frames, (self._container.duration or 0) / 1e6
        if announced > number + 1:
            self._break(number, f"the file announces {announced}")
        elif not announced and seconds - end > max(SLACK, SLACK * seconds / 30):
            self._break(number, f"{end:.1f} of {seconds:.1f} s are there")

    def _break(self, number: int, why: str) -> None:
        self.broken = f"breaks off after {number} frames: {why}"
        say("WARNING", f"{self.source} {self.broken}")


def _av() -> Any:
    """PyAV, or which extra to install; its own messages are silenced."""
    try:
        import av
        import av.logging
    except ImportError as error:
        raise UserError("av is not installed: pip install prune-crackseg[video]") from error
    av.logging.set_level(None)  # broken files are reported once, by us
    return av


def _opened(source: str | Path | int) -> Any:
    av = _av()
    if isinstance(source, int):
        try:
            return av.open(f"/dev/video{source}", format="v4l2")
        except (av.error.FFmpegError, ValueError) as error:
            raise UserError(f"camera {source}: expected a camera, found: {first_line(error)}") from error
    if not Path(source).is_file():
        raise UserError(f"{source}: no such file")
    try:
        return av.open(str(source), options=CONTAINED)
    except (av.error.FFmpegError, ValueError) as error:
        found = getattr(error, "strerror", None) or first_line(error)
        raise UserError(f"{source}: expected a readable video, found: {found}") from error


def _upright(frame: "av.VideoFrame") -> Picture:
    """The pixels of a frame, turned as its file says: phones store the rotation beside the picture."""
    image = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))


@contextmanager
def video_writer(path: str | Path, rate: float, size: tuple[int, int]) -> Iterator[Callable[[Picture], None]]:
    """Open a video file for writing; it gets its name when the block succeeds.

    Args:
        path: The file, such as ``overlay.mp4``; its ending chooses the container.
        rate: Frames per second.
        size: Height and width of the pictures in px; of odd ones the last row or column is left out, for the codec
            cannot store it.

    Yields:
        What appends a picture uint8 (H, W, 3), RGB, of that size.

    Raises:
        UserError: when the file cannot be written, for pictures below 2 × 2 px, and when PyAV is missing.
    """
    av = _av()
    height, width = size[0] // 2 * 2, size[1] // 2 * 2
    if min(height, width) < 2:
        raise UserError(f"{path}: expected pictures of at least 2 × 2 px, found {size[0]} × {size[1]}")
    codec = next(name for name in CODECS if name in av.codecs_available)
    with atomic_path(Path(path)) as temporary:
        try:
            container = av.open(str(temporary), "w")
        except ValueError as error:  # no container has this ending
            raise UserError(f"cannot write {path}: expected one of {', '.join(SUFFIXES)}") from error
        with container:
            stream = container.add_stream(codec, rate=Fraction(rate).limit_denominator(1001))
            stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
            stream.options = QUALITY[codec]

            def add(image: Picture) -> None:
                pixels = np.ascontiguousarray(image[:height, :width])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))

            yield add
            container.mux(stream.encode())
