"""Widths of standards are compared only where the scale and the resolution allow it."""

from dataclasses import replace

import pytest

from prune.inspection.records import CrackRecord, PhotoRecord, Shot, simplified
from prune.inspection.width_limits import LIMITS, wider_than
from prune.inspection.wording import Units, counted, signed

CRACK = CrackRecord(1, 100.0, 2.0, 3.0, 4.0, (0, 0), 0.0, 1.0, 200, (0, 0, 2, 100), 1, 0.9, ())
PHOTO = PhotoRecord("a", "a.jpg", 640, 480, Shot(0.1), (CRACK,), (), None, {})


def counts(photo: PhotoRecord, crack: CrackRecord) -> dict[float, tuple[int, int]]:
    return {one.limit.mm: (one.cracks, one.unresolved) for one in wider_than([(photo, crack)])}


def test_a_crack_is_wider_than_the_limits_below_its_95_percent() -> None:
    found = counts(PHOTO, CRACK)  # 0.3 mm
    assert found[0.2] == (1, 0) and found[0.41] == (0, 0) and len(wider_than([])) == len(LIMITS)
    assert wider_than([(PHOTO, CRACK)])[0].length_mm == pytest.approx(10)


def test_what_is_not_resolved_cannot_be_told() -> None:
    coarse, thin = replace(PHOTO, shot=Shot(0.25)), replace(CRACK, width_p95_px=0.8)
    assert counts(coarse, thin)[0.2] == (0, 1) and counts(coarse, thin)[0.3] == (0, 0)


def test_without_a_scale_nothing_is_compared() -> None:
    assert set(counts(replace(PHOTO, shot=Shot()), CRACK).values()) == {(0, 0)}


def test_numbers_are_written_with_the_unit_they_have() -> None:
    assert (Units().unit, Units(0.5).unit, Units(0.25).limit) == ("px", "mm", "0.25 mm")
    assert Units(0.5).length(123.4) == "61.7" and Units().width(0.7) == "< 1" and Units(0.02).width(0.7) == "< 0.02"
    assert Units().width(None) == Units().length(float("nan")) == "–" and Units().with_unit("–") == "–"
    assert Units().area(1200) == "1,200 px" and Units(0.5).area(1200) == "300 mm²" and Units(10).area(1200) == "0.12 m²"


def test_differences_have_a_sign_and_things_a_number() -> None:
    assert [signed(value) for value in (1.234, -1.234, 1e-13, -1e-13, -123.4)] == [
        "+1.23",
        "-1.23",
        "0.00",
        "0.00",
        "-123",
    ]
    assert (counted(1, "crack"), counted(0, "crack"), counted(1200, "crack")) == ("1 crack", "0 cracks", "1,200 cracks")


def test_lines_keep_only_the_points_they_need() -> None:
    import numpy as np

    corner = np.array([*((0, x) for x in range(10)), *((y, 9) for y in range(1, 8))])
    assert simplified(corner) == ((0, 0), (0, 9), (7, 9))
    assert simplified(np.array([[3, 4]])) == ((3, 4),)
    stairs = np.stack([np.arange(20), np.arange(20) // 2], axis=1)
    assert simplified(stairs) == ((0, 0), (19, 9))
