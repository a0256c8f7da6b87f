"""Videos, written here and read again."""

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from prune.errors import UserError
from prune.inspection.video import Video, is_video, video_writer
from prune.progress import shown_or_not

av = pytest.importorskip("av")
SIZE = (48, 64)


def picture(number: int) -> NDArray[np.uint8]:
    """A bright square at the top left, and a gray level that says which frame it is."""
    image = np.full((*SIZE, 3), 8 * number, np.uint8)
    image[:16, :16] = 255
    return image


def written(path: Path, count: int = 20, rate: float = 10) -> Path:
    with video_writer(path, rate, SIZE) as add:
        for number in range(count):
            add(picture(number))
    return path


def level(image: NDArray[np.uint8]) -> int:
    """The number of the frame that shows this picture."""
    return round(float(image[24:, 24:].mean()) / 8)


def test_every_frame_comes_back_in_order(tmp_path: Path) -> None:
    with Video(written(tmp_path / "a.mp4")) as video:
        frames = list(video)
        assert (video.rate, video.count, video.broken) == (10, 20, "")
    assert [frame.number for frame in frames] == list(range(20)) == [level(frame.image) for frame in frames]
    assert [frame.seconds for frame in frames] == pytest.approx(np.arange(20) / 10)
    assert frames[3].image.shape == (*SIZE, 3) and frames[3].image.dtype == np.uint8
    assert frames[3].image[4, 4].min() > 230


@pytest.mark.parametrize(
    ("how", "numbers", "rate"),
    [
        ({"every": 7}, [0, 7, 14], 10 / 7),
        ({"fps": 2.0}, [0, 5, 10, 15], 2),
        ({"fps": 4.0}, [0, 3, 5, 8, 10, 13, 15, 18], 4),
        ({"fps": 10.0}, list(range(20)), 10),
        ({"fps": 60.0}, list(range(20)), 10),
    ],
)
def test_some_frames_only(how: dict[str, float], numbers: list[int], rate: float, tmp_path: Path) -> None:
    with Video(written(tmp_path / "a.mkv"), **how) as video:  # type: ignore[arg-type]
        assert [frame.number for frame in video] == numbers
        assert video.given_rate == pytest.approx(rate)


@pytest.mark.parametrize(("degrees", "corner"), [(0, (0, 0)), (90, (1, 0)), (-90, (0, 1)), (180, (1, 1))])
def test_frames_are_turned_upright(degrees: int, corner: tuple[int, int], tmp_path: Path) -> None:
    """A display rotation of 90° turns counter-clockwise: the top left corner goes to the bottom left."""
    with av.open(str(tmp_path / "turned.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = (*SIZE, "yuv420p")
        stream.set_display_rotation(degrees)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(1))))
        container.mux(stream.encode())
    with Video(tmp_path / "turned.mp4") as video:
        (frame,) = video
    assert frame.image.shape[:2] == (SIZE if degrees in (0, 180) else SIZE[::-1])
    ends = [[frame.image[r, c].min() for c in (4, -4)] for r in (4, -4)]
    assert np.unravel_index(np.argmax(ends), (2, 2)) == corner and np.sort(np.ravel(ends))[2] < 60


def test_a_video_that_breaks_off_gives_the_frames_until_then(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = tmp_path / "whole.mkv"
    with video_writer(whole, 10, SIZE) as add:
        for number in range(60):
            add(np.random.default_rng(number).integers(0, 255, (*SIZE, 3), dtype=np.uint8))
    data = whole.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(data[: len(data) // 2])
    with shown_or_not(True), Video(cut) as video:
        frames = list(video)
    assert 5 < len(frames) < 50 and [frame.number for frame in frames] == list(range(len(frames)))
    assert video.broken.startswith(f"breaks off after {len(frames)} frames: ")
    assert capsys.readouterr().out == f"WARNING  {cut} {video.broken}\n"


def test_odd_sizes_lose_a_row(tmp_path: Path) -> None:
    with video_writer(tmp_path / "odd.mp4", 29.97, (49, 65)) as add:
        add(np.zeros((49, 65, 3), np.uint8))
    with Video(tmp_path / "odd.mp4") as video:
        assert [frame.image.shape for frame in video] == [(48, 64, 3)]
        assert video.rate == pytest.approx(29.97)


def test_a_failed_video_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), video_writer(tmp_path / "a.mp4", 10, SIZE) as add:
        add(picture(0))
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_playlists_are_refused(tmp_path: Path) -> None:
    """A file with the ending of a video could be a list of other files, or of addresses on the internet."""
    written(tmp_path / "a.mp4")
    for name, text in {
        "hls.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{tmp_path}/a.mp4\n#EXT-X-ENDLIST\n",
        "list.mp4": f"ffconcat version 1.0\nfile {tmp_path}/a.mp4\n",
    }.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match=f"{name}: expected a readable video, found: "):
            Video(tmp_path / name)


def test_without_pyav_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path / "a.mp4", 1)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"^av is not installed: pip install prune-crackseg\[video\]"):
        Video(file)


def test_mistakes_are_named(tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("no video")
    with pytest.raises(UserError, match="notes.mp4: expected a readable video, found: "):
        Video(text)
    with pytest.raises(UserError, match="missing.mp4: no such file"):
        Video(tmp_path / "missing.mp4")
    with pytest.raises(UserError, match="camera 97: expected a camera, found: "):
        Video(97)
    with pytest.raises(UserError, match="^every: expected at least 1, found 0"):
        Video(text, every=0)
    with pytest.raises(UserError, match="^fps: expected a number above 0, found -1"):
        Video(text, fps=-1)
    with pytest.raises(UserError, match="cannot write .*a.xyz: expected one of .mp4"):
        with video_writer(tmp_path / "a.xyz", 10, SIZE):
            pass
    assert is_video("A.MP4") and not is_video("a.jpg") and not is_video(".a.mp4")


def test_a_video_of_an_unknown_codec_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path / "a.mp4", 3)
    content = file.read_bytes()
    for codec in (b"avc1", b"mp4v"):
        content = content.replace(codec, b"zzzz")
    file.write_bytes(content)
    with pytest.raises(UserError, match="a.mp4: expected a video, found pictures that PyAV cannot decode"):
        Video(file)
