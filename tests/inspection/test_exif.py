"""What photographs say about themselves."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from prune.errors import UserError
from prune.inspection.exif import PhotoFacts, read_exif

FOCAL, FOCAL_35, DENSITY, UNIT, WIDTH, HEIGHT = 0x920A, 0xA405, 0xA20E, 0xA210, 0xA002, 0xA003
CAMERA = {FOCAL: 24.0, FOCAL_35: 36, DENSITY: 2500.0, UNIT: 3, WIDTH: 400, HEIGHT: 300, 0x9003: "2024:05:06 07:08:09"}
"""2500 px per cm: pixels of 4 µm."""
DRESDEN = {1: "N", 2: (51.0, 2.0, 30.0), 3: "E", 4: (13.0, 44.0, 24.0), 5: b"\x00", 6: 113.5}


def photograph(
    path: Path,
    taken: Mapping[int, Any],
    gps: Mapping[int, Any],
    top: Mapping[int, Any] | None = None,
    size: tuple[int, int] = (400, 300),
) -> Path:
    exif = Image.Exif()
    exif.update(top or {})
    exif.get_ifd(0x8769).update(taken)
    exif.get_ifd(0x8825).update(gps)
    Image.new("RGB", size).save(path, exif=exif)
    return path


def test_everything_is_read(tmp_path: Path) -> None:
    top = {0x010F: "Canon\0", 0x0110: "Canon EOS R5", 0x0112: 6}
    facts = read_exif(photograph(tmp_path / "a.jpg", CAMERA, DRESDEN, top))
    assert (facts.width, facts.height, facts.orientation, facts.camera) == (400, 300, 6, "Canon EOS R5")
    assert (facts.focal_mm, facts.focal_35_mm, facts.camera_size) == (24, 36, (400, 300))
    assert facts.pitch_mm == pytest.approx(0.004) and facts.pixel_angle == pytest.approx(0.004 / 24)
    assert facts.position == pytest.approx((51 + 2.5 / 60, 13.74)) and facts.altitude_m == 113.5
    assert facts.time == datetime(2024, 5, 6, 7, 8, 9) and facts.missing == ()


def test_nothing_is_made_up(tmp_path: Path) -> None:
    Image.new("L", (30, 20)).save(tmp_path / "a.png")
    facts = read_exif(tmp_path / "a.png")
    assert facts == PhotoFacts(30, 20) and facts.pixel_angle is None and facts.position is None
    assert facts.missing == ("focal length and sensor size", "GPS position")


def test_the_south_and_west_are_negative_and_below_the_sea_too(tmp_path: Path) -> None:
    gps = {1: "S", 2: (33.0, 30.0, 0.0), 3: "W", 4: (70.0, 0.0, 36.0), 5: b"\x01", 6: 12.0}
    facts = read_exif(photograph(tmp_path / "a.jpg", {}, gps))
    assert facts.position == pytest.approx((-33.5, -70.01)) and facts.altitude_m == -12


@pytest.mark.parametrize(
    ("taken", "angle"),
    [
        ({DENSITY: 254.0, UNIT: 2, FOCAL: 50.0}, 0.1 / 50),  # per inch
        ({DENSITY: 254.0, FOCAL: 50.0}, 0.1 / 50),  # inch is the unit when none is named
        ({DENSITY: 20.0, UNIT: 4, FOCAL: 50.0}, 0.05 / 50),  # per mm
        ({DENSITY: 20.0, UNIT: 1, FOCAL: 50.0}, None),  # no unit
        ({DENSITY: 0.0, UNIT: 2, FOCAL: 50.0}, None),
        ({DENSITY: 254.0, UNIT: 2}, None),
        ({FOCAL_35: 36}, 43.2666153 / (36 * 500)),  # the diagonal of 400 × 300 is 500
        ({FOCAL_35: 36, WIDTH: 4000, HEIGHT: 3000}, 43.2666153 / (36 * 500)),  # shrunk ten times
        ({FOCAL_35: 36, WIDTH: 800, HEIGHT: 300}, 43.2666153 / (36 * 854.4004)),  # cropped
        ({FOCAL_35: 36, WIDTH: 3000, HEIGHT: 4000}, 43.2666153 / (36 * 500)),  # shrunk and turned
        ({FOCAL_35: 0}, None),
        ({**CAMERA, WIDTH: 4000, HEIGHT: 3000}, 0.04 / 24),  # ten pixels of the sensor in one
        ({**CAMERA, WIDTH: 800, HEIGHT: 300}, 0.004 / 24),  # cropped: its pixels are those of the sensor
    ],
)
def test_the_angle_of_a_pixel(taken: dict[int, Any], angle: float | None, tmp_path: Path) -> None:
    facts = read_exif(photograph(tmp_path / "a.jpg", taken, {}))
    assert facts.pixel_angle == (None if angle is None else pytest.approx(angle))


@pytest.mark.parametrize(
    "gps",
    [
        {2: (51.0, 2.0, 30.0), 4: (13.0, 0.0, 0.0)},  # no letters
        {1: "N", 2: (91.0, 0.0, 0.0), 3: "E", 4: (13.0, 0.0, 0.0)},
        {1: "N", 2: (51.0, 0.0, 0.0)},
        {1: "N", 2: 51.0, 3: "E", 4: 13.0},
    ],
)
def test_positions_that_are_no_place_are_missing(gps: dict[int, Any], tmp_path: Path) -> None:
    assert read_exif(photograph(tmp_path / "a.jpg", {}, gps)).position is None


def test_damaged_entries_are_missing(tmp_path: Path) -> None:
    taken = {0x9003: "yesterday", FOCAL: 0.0, WIDTH: 0, HEIGHT: 0}
    facts = read_exif(photograph(tmp_path / "a.jpg", taken, {}, {0x0112: 9, 0x0132: "2020:01:02 03:04:05"}))
    assert (facts.focal_mm, facts.camera_size, facts.orientation) == (None, None, 1)
    assert facts.time == datetime(2020, 1, 2, 3, 4, 5)
    data = bytearray(photograph(tmp_path / "b.jpg", CAMERA, DRESDEN).read_bytes())
    start = data.index(b"Exif\0\0") + 14
    data[start : start + 60] = bytes(range(60))
    (tmp_path / "b.jpg").write_bytes(data)
    assert read_exif(tmp_path / "b.jpg").width == 400


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no image")
    with pytest.raises(UserError, match="a.jpg: expected a readable image, found: "):
        read_exif(tmp_path / "a.jpg")
