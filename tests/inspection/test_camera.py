"""Pictures of a camera; frames are made here, for no machine of the tests has one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prune.cli import survey
from prune.cli.survey import SurveyOptions, recorded
from prune.data.images import read_image
from prune.errors import UserError
from prune.inspection.camera import record
from prune.inspection.video import Frame


def frames(count: int, stop: type[BaseException] | None = None) -> Iterator[Frame]:
    """Two frames a second whose gray level is their number."""
    for number in range(count):
        yield Frame(number, number / 2, np.full((8, 10, 3), number, np.uint8))
    if stop is not None:
        raise stop


def test_frames_are_saved_until_the_time_is_over(tmp_path: Path) -> None:
    files = record(frames(100), tmp_path / "camera", 3)
    assert [file.name for file in files] == [f"{number:06d}.png" for number in range(6)]
    assert sorted((tmp_path / "camera").iterdir()) == files and (read_image(files[4]) == 4).all()


def test_ctrl_c_ends_the_recording_and_keeps_it(tmp_path: Path) -> None:
    assert len(record(frames(3, KeyboardInterrupt), tmp_path, 60)) == 3
    with pytest.raises(KeyboardInterrupt):
        record(frames(0, KeyboardInterrupt), tmp_path, 60)
    with pytest.raises(UserError, match="^camera: expected pictures of the camera, found none"):
        record(frames(0), tmp_path, 60)


@pytest.mark.parametrize(
    ("options", "how"),
    [
        ({}, {"every": 1, "fps": 1.0}),
        ({"every": 5}, {"every": 5, "fps": None}),
        ({"fps": 3.0}, {"every": 1, "fps": 3.0}),
    ],
)
def test_the_command_records_into_a_folder_of_its_own(
    options: dict[str, Any], how: dict[str, Any], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []

    class Camera:
        def __init__(self, source: int, **settings: Any) -> None:
            opened.extend([source, settings])

        def __enter__(self) -> Iterator[Frame]:
            return frames(4)

        def __exit__(self, *_: object) -> None:
            opened.append("closed")

    monkeypatch.setattr("prune.inspection.video.Video", Camera)
    (folder,) = recorded(SurveyOptions(camera=2, **options))
    assert opened == [2, how, "closed"]
    assert Path(folder).parent == Path("results/camera") and Path(folder).name.startswith("camera2_")
    assert len(list(Path(folder).iterdir())) == 4


def test_without_a_camera_nothing_is_recorded() -> None:
    assert recorded(SurveyOptions(photos=("a",))) == []
    with pytest.raises(UserError, match="^survey: expected photographs, found none"):
        SurveyOptions()


def test_a_camera_that_is_not_there_is_named(here: Path) -> None:
    pytest.importorskip("av")
    with pytest.raises(UserError, match="^camera 97: expected a camera, found: "):
        recorded(SurveyOptions(camera=97))
    assert survey.SurveyOptions(camera=97).seconds == 10 and not list(here.iterdir())
