"""Drawn cracks are what they say they are, and their measures are within the bounds that the documentation states."""

import numpy as np
import pytest

from prune.benchmark.measuring import CONDITIONS, PLACES, SHAPES, SIZE, WIDTHS, Stroke, draw, error_tables, measurements


def test_a_drawn_stroke_covers_its_length_times_its_width() -> None:
    along = np.arange(-30, 30.05, 0.1)
    stroke = Stroke(np.stack([np.zeros_like(along), along], axis=1), np.full(len(along), 5.0))
    for angle in (0.0, 0.4, np.pi / 4):
        covered = draw([stroke], angle, np.array([100.3, 110.6]))
        assert covered.sum() == pytest.approx(60 * 5, rel=0.01) and covered.max() == 1 and covered.shape == (SIZE, SIZE)
    lying = draw([stroke], 0.0, np.array([100.0, 110.0]))
    assert lying[98:103, 85:135].min() == 1 and lying[:97].max() == lying[104:].max() == 0


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("width", [3, 12])
def test_shapes_lie_inside_the_drawing(shape: str, width: int) -> None:
    covered = draw(SHAPES[shape](width), 0.7, np.full(2, SIZE / 2))
    assert (
        covered.sum() > 100 and max(covered[0].max(), covered[-1].max(), covered[:, 0].max(), covered[:, -1].max()) == 0
    )


@pytest.mark.slow
def test_lengths_and_widths_are_within_the_documented_bounds() -> None:
    rows = list(measurements())
    print(error_tables(rows))  # pytest -s shows what docs/measuring.md holds
    assert len(rows) == len(SHAPES) * len(WIDTHS) * PLACES * len(CONDITIONS)
    for shape in SHAPES:
        for width in WIDTHS:
            sharp = [r for r in rows if (r.shape, r.widest, r.condition) == (shape, width, CONDITIONS[0])]
            assert abs(np.mean([r.found_length / r.length for r in sharp]) - 1) < 0.02, (shape, width)
            assert abs(np.mean([r.mask_width - r.width for r in sharp])) < 0.35, (shape, width)
            assert max(abs(r.profile_width - r.width) for r in sharp) < 0.35, (shape, width)
    narrow = [r for r in rows if r.widest in (1.5, 2, 3) and r.found_length > 0.9 * r.length and r.condition.blur]
    errors = [np.mean([abs(getattr(r, f"{m}_width") - r.width) for r in narrow]) for m in ("mask", "profile")]
    assert errors[1] < 0.7 * errors[0]  # the reason why profiles are measured
