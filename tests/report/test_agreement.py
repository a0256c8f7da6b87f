from collections.abc import Callable

import numpy as np
import pytest

from prune.api.prediction import Prediction
from prune.data.labels import CRACK, IGNORE_INDEX, S2DS
from prune.report.agreement import COLORS, agreement, agreement_legend, draw_agreement, error_rows, errors
from prune.report.paper import grid
from tests.conftest import refused


def strokes(*columns: int) -> np.ndarray:
    """Vertical lines of one pixel, bool (12, 40)."""
    mask = np.zeros((12, 40), dtype=bool)
    mask[:, list(columns)] = True
    return mask


def test_lines_within_the_tolerance_agree_and_others_do_not() -> None:
    found = agreement(strokes(5, 20), strokes(9, 30), tolerance=4)
    assert [np.unique(found[:, c]).tolist() for c in (5, 9, 20, 30)] == [[1], [1], [2], [3]]
    assert np.count_nonzero(found) == 4 * 12
    strict = agreement(strokes(5, 20), strokes(9, 20), tolerance=0)
    assert [int(strict[0, c]) for c in (5, 9, 20)] == [2, 3, 1]
    assert not agreement(strokes(), strokes()).any()


def test_agreement_is_that_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 17, 23)) < 0.03
    found = agreement(first, second, 3)
    for place in np.ndindex(first.shape):
        near = [bool((np.linalg.norm(np.argwhere(m) - place, axis=1) <= 3).any()) for m in (first, second)]
        both = (first[place] and near[1]) or (second[place] and near[0])
        assert found[place] == (1 if both else 2 if first[place] else 3 if second[place] else 0)


def test_what_is_not_labeled_is_neither_right_nor_wrong() -> None:
    label = np.zeros((12, 40), np.uint8)
    label[:, 10] = 1
    label[:6] = IGNORE_INDEX
    prediction = strokes(10, 30).astype(np.uint8)
    found = errors(prediction, label, 1)
    assert not found[:6].any() and (found[6:, 10] == 1).all() and (found[6:, 30] == 2).all()


def test_the_picture_has_the_colors_over_a_light_gray_photograph() -> None:
    photo = np.full((12, 40, 3), (200, 100, 0), np.uint8)  # of luminance 118.5
    found = agreement(strokes(5, 20), strokes(5, 30))
    drawn = draw_agreement(photo, found)
    assert [tuple(drawn[3, c].tolist()) for c in (5, 20, 30)] == list(COLORS[1:])
    assert (drawn[:, 0] == 166).all()  # 0.65 · 118.5 + 0.35 · 255 = 166.3
    entries = agreement_legend(found, title="Crack")
    assert entries == list(zip(COLORS[1:], ["Crack: found  2.5%", "false alarm  2.5%", "missed  2.5%"], strict=True))
    assert [text for _, text in agreement_legend(found * 0)] == ["found  0%", "false alarm  0%", "missed  0%"]


def test_a_sheet_of_errors_has_a_row_per_photograph_and_one_legend() -> None:
    photo, label = np.full((12, 40, 3), 120, np.uint8), np.zeros((12, 40), np.uint8)
    label[2:4, 5:30], label[:, 33:] = 6, 4
    rows, legends = error_rows([(photo, label, [label, label * 0])], S2DS, 6)
    assert [len(row) for row in rows] == [3]
    texts = [text for legend in legends for _, text in legend]
    assert texts == ["Corrosion", "Crack", "Crack: found", "Crack: false alarm", "Crack: missed"]
    assert (rows[0][0][2, 10] == (255, 0, 200)).all()
    assert (rows[0][1][2, 10] == COLORS[1]).all() and (rows[0][2][2, 10] == COLORS[3]).all()
    plain, explained = grid(rows, ["a", "b", "c"], ["x"]), grid(rows, ["a", "b", "c"], ["x"], legends)
    assert explained.shape[0] > plain.shape[0]
    for color in (COLORS[2], S2DS.colors[4]):
        below = explained[plain.shape[0] - 4 :]
        assert (below == color).all(axis=2).sum() > 50


@pytest.fixture
def see() -> Callable[..., Prediction]:
    """Makes a prediction of cracks in the given columns."""

    def made(*columns: int) -> Prediction:
        return Prediction(np.full((12, 40, 3), 120, np.uint8), strokes(*columns).astype(np.uint8), CRACK, "a.jpg")

    return made


def shown(picture: np.ndarray, color: tuple[int, ...]) -> int:
    return int((picture == color).all(axis=2).sum())


def test_two_networks_are_set_beside_each_other_with_their_difference(see: Callable[..., Prediction]) -> None:
    dense, pruned = see(5, 20), see(5, 35)
    sheet = dense.beside(pruned)
    assert sheet.shape[1] > 3 * 40 and all(shown(sheet, color) > 40 for color in (*COLORS[1:], (255, 0, 200)))
    same = dense.beside(dense)
    assert shown(same, COLORS[1]) > shown(same, COLORS[2])  # of the others only the legend is left
    other = dense.beside(pruned, ("a", "b"), palette="colorblind")
    assert shown(other, (255, 0, 200)) == 0 and not np.array_equal(other, sheet)


def test_a_prediction_is_compared_with_its_label(see: Callable[..., Prediction]) -> None:
    found = see(5, 20)
    label = strokes(5, 35).astype(np.uint8)
    drawn = found.errors(label)
    left = (drawn.shape[1] - 40) // 2
    assert np.array_equal(drawn[:12, left : left + 40], draw_agreement(found.image, errors(found.class_map, label, 1)))
    near = found.errors(strokes(9, 20).astype(np.uint8), tolerance=3)
    assert (
        shown(near[:12], COLORS[3]) == 12 and shown(found.errors(strokes(9, 20).astype(np.uint8))[:12], COLORS[3]) == 0
    )


def test_what_cannot_be_compared_is_refused(see: Callable[..., Prediction]) -> None:
    found = see(5)
    with refused(r"--label: expected the size \(12, 40\), found \(12, 41\)"):
        found.errors(np.zeros((12, 41), np.uint8))
    with pytest.raises(TypeError, match=r"label: expected class ids \(H, W\), found float64"):
        found.errors(np.zeros((12, 40)))
    with refused("--tolerance: expected 0 to 64, found 65"):
        found.errors(found.class_map, tolerance=65)
    with pytest.raises(TypeError, match=r"tolerance: expected a whole number of px, found 0.5 \(float\)"):
        found.errors(found.class_map, tolerance=0.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="other: expected a Prediction, found ndarray"):
        found.beside(found.class_map)  # type: ignore[arg-type]
    with refused("--other: expected the classes Background, Crack, found Background, Control Point"):
        found.beside(Prediction(found.image, found.class_map, S2DS))
    with refused("--class: expected one of Background, Crack, found 'rust'"):
        found.beside(found, class_name="rust")
    with refused("--palette: expected one of standard, colorblind, found 'pink'"):
        found.overlay(palette="pink")
    with refused("--palette: expected one of standard, colorblind, found 'pink'"):
        found.side_by_side(palette="pink")


def test_a_legend_stands_below_an_overlay_and_says_when_nothing_is_found(see: Callable[..., Prediction]) -> None:
    found = see(5, 20)
    plain, explained = found.overlay(), found.overlay(legend=True)
    left = (explained.shape[1] - 40) // 2
    assert plain.shape == (12, 40, 3) and np.array_equal(explained[:12, left : left + 40], plain)
    below = explained[12:]
    assert shown(below, (255, 0, 200)) > 60 and (below[[0, -1]] == 255).all()
    empty = see().overlay(legend=True)
    assert empty.shape[0] > 12 and shown(empty[12:], (255, 0, 200)) == 0 and (empty[12:] < 100).any()
    assert shown(found.overlay(palette="colorblind", legend=True), (240, 228, 66)) > 60
