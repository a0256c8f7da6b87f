"""Line, tolerant and boundary scores against scikit-image, against drawings worked out by hand, and by their properties."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from skimage import draw, morphology

from prune.metrics.bootstrap import differences, draw_weights, interval, intervals, resample
from prune.metrics.box import bounding_box
from prune.metrics.confusion import ratio
from prune.metrics.crack import CrackSettings, boundary_counts, count_crack
from prune.metrics.crack_scores import crack_scores
from prune.metrics.distance import squared_distance, within
from prune.metrics.protocol import ignored_band
from prune.metrics.thinning import thin

Mask = NDArray[np.bool_]
Array = NDArray[np.float64]
TOLERANCES = (0, 2, 4, 8, 16)
SETTINGS = CrackSettings(tolerances=TOLERANCES, f1_tolerances=(0, 2, 5), boundary_px=2)
S2DS = CrackSettings(tolerances=TOLERANCES, f1_tolerances=(0, 2, 5), boundary_px=2, protocol="s2ds")
RISING = ("lt_iou", "line_precision", "line_recall", "line_f1")
NOTHING = np.zeros((60, 60), dtype=bool)


def rectangle(rows: tuple[int, int], columns: tuple[int, int], size: int = 60) -> Mask:
    """Rows and columns from the first up to, not including, the second."""
    mask = np.zeros((size, size), dtype=bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def vertical(column: int, rows: tuple[int, int] = (10, 50)) -> Mask:
    return rectangle(rows, (column, column + 1))


def drawing(rng: np.random.Generator, size: int = 80, margin: int = 0) -> Mask:
    """A random polyline, thickened by up to 3 px on either side."""
    mask = np.zeros((size, size), dtype=bool)
    corners = rng.integers(margin, size - margin, (rng.integers(2, 5), 2))
    for start, stop in pairwise(corners):
        mask[draw.line(*start, *stop)] = True
    return ndimage.binary_dilation(mask, morphology.disk(rng.integers(0, 4)))


def pairs(count: int, seed: int) -> list[tuple[Mask, Mask]]:
    """Predictions and labels: alike, with pieces missing and pieces too much."""
    rng = np.random.default_rng(seed)
    result = []
    for _ in range(count):
        label = drawing(rng)
        prediction = np.roll(label, rng.integers(-4, 5, 2), axis=(0, 1)) & (rng.random() < 0.8)
        top, left = rng.integers(0, 60, 2)
        prediction[top : top + 20, left : left + 20] = False
        result.append((prediction | drawing(rng) if rng.random() < 0.5 else prediction, label))
    return result


def counts_of(
    prediction: Mask,
    label: Mask,
    known: Mask | None = None,
    scored: Mask | None = None,
    settings: CrackSettings = SETTINGS,
) -> dict[str, float]:
    known = np.ones_like(label) if known is None else known
    scored = known if scored is None else scored
    boundary = boundary_counts(prediction, label, known, settings.boundary_px)
    return count_crack(prediction, label, known, scored, settings) | boundary


def pooled(rows: Sequence[Mapping[str, float]], settings: CrackSettings = SETTINGS) -> dict[str, float]:
    sums = {name: np.array(sum(row[name] for row in rows), float) for name in rows[0]}
    return {name: float(value) for name, value in crack_scores(sums, settings).items()}


def scores_of(prediction: Mask, label: Mask, **options: object) -> dict[str, float]:
    settings = options.get("settings", SETTINGS)
    assert isinstance(settings, CrackSettings)
    return pooled([counts_of(prediction, label, **options)], settings)  # type: ignore[arg-type]


def same(first: Mapping[str, float], second: Mapping[str, float], names: Sequence[str] | None = None) -> bool:
    keys = list(first) if names is None else names
    return np.array_equal([first[key] for key in keys], [second[key] for key in keys], equal_nan=True)


def masks_to_thin() -> dict[str, list[Mask]]:
    rng = np.random.default_rng(1)
    noise = [rng.random(tuple(rng.integers(2, 40, 2))) < d for d in (0.05, 0.2, 0.4, 0.6, 0.8, 0.95) for _ in range(30)]
    fields = [ndimage.gaussian_filter(rng.standard_normal((70, 60)), s) for s in (1, 1.5, 2, 3, 5) for _ in range(4)]
    blobs = [field > quantile * field.std() for field in fields for quantile in (-0.5, 0, 0.8)]
    shapes = [(1, 1), (1, 9), (9, 1), (2, 2), (2, 7), (17, 18), (33, 20)]
    plain = [np.full(shape, value) for shape in shapes for value in (False, True)]
    plain += [rng.random(shape) < 0.7 for shape in [(1, 30), (30, 1), (2, 30), (3, 30)] for _ in range(5)]
    strokes = [drawing(rng) for _ in range(20)] + [rectangle((0, 60), (c, c + w)) for c, w in ((0, 5), (54, 6), (8, 4))]
    return {"noise": noise, "blobs": blobs, "plain": plain, "strokes": strokes}


@pytest.mark.parametrize(("kind", "masks"), masks_to_thin().items(), ids=masks_to_thin())
def test_thinning_equals_scikit_image_pixel_for_pixel(kind: str, masks: list[Mask]) -> None:
    for number, mask in enumerate(masks):
        before = mask.copy()
        assert np.array_equal(thin(mask), morphology.thin(mask)), f"{kind} {number}"
        assert np.array_equal(mask, before)


def test_the_order_in_memory_does_not_matter() -> None:
    mask = rectangle((10, 50), (20, 27))
    expected = morphology.thin(mask)
    assert np.array_equal(thin(np.asfortranarray(mask)), expected) and np.array_equal(
        thin(mask.T), morphology.thin(mask.T)
    )
    assert np.array_equal(thin(np.repeat(mask, 2, axis=1)[:, ::2]), expected)
    assert np.array_equal(within(np.asfortranarray(mask), 3), within(mask, 3))


@pytest.mark.parametrize("radius", [0, 1, 2, 4, 8, 16])
def test_within_equals_dilation_by_a_disk(radius: int) -> None:
    rng = np.random.default_rng(2)
    shapes = [(40, 50), (7, 45), (45, 7), (5, 5), (1, 30), (30, 1), (1, 1)]
    for shape in shapes:
        for density in (0.0, 0.005, 0.05, 0.5, 1.0):
            mask = rng.random(shape) < density
            expected = ndimage.binary_dilation(mask, morphology.disk(radius))
            assert np.array_equal(within(mask, radius), expected), (shape, density)


@pytest.mark.parametrize("radius", [0, 1, 3, 10, 11, 20])
def test_squared_distance_is_exact_up_to_the_radius(radius: int) -> None:
    mask = np.random.default_rng(3).random((45, 38)) < 0.004
    found = squared_distance(mask, radius)
    expected = np.rint(ndimage.distance_transform_edt(~mask) ** 2)
    near = expected <= radius**2
    assert np.array_equal(found[near], expected[near]) and (found[~near] > radius**2).all()


def published_counts(prediction: Mask, label: Mask, tolerance: int) -> tuple[int, int, int]:
    """TP, FP, FN of ltIoU as Benz & Rodehorst 2022 describe it."""
    predicted, labeled = morphology.thin(prediction), morphology.thin(label)
    disk = morphology.disk(tolerance)
    wide_prediction, wide_label = (morphology.dilation(line, disk, mode="min") for line in (predicted, labeled))
    hits = labeled & wide_prediction
    return int(hits.sum()), int((predicted & ~wide_label).sum()), int((labeled & ~hits).sum())


def test_line_scores_equal_the_published_procedure() -> None:
    drawings = pairs(20, seed=4)
    scores = pooled([counts_of(*pair) for pair in drawings])
    for tolerance in TOLERANCES:
        each = [published_counts(*pair, tolerance) for pair in drawings]
        hits, false, missed = np.sum(each, axis=0)
        assert scores[f"lt_iou@{tolerance}"] == hits / (hits + false + missed)
        assert scores[f"line_precision@{tolerance}"] == hits / (hits + false)
        assert scores[f"line_recall@{tolerance}"] == hits / (hits + missed)
        assert scores[f"line_f1@{tolerance}"] == 2 * hits / (2 * hits + false + missed)
        for (prediction, label), (hits, false, missed) in zip(drawings, each, strict=True):
            assert scores_of(prediction, label)[f"lt_iou@{tolerance}"] == hits / (hits + false + missed)
    assert scores["cl_iou_4"] == scores["lt_iou@4"]


def test_parallel_lines_match_from_their_distance_on() -> None:
    scores = scores_of(vertical(23), vertical(20))
    assert [scores[f"lt_iou@{t}"] for t in TOLERANCES] == [0, 0, 1, 1, 1]
    assert [scores[f"line_f1@{t}"] for t in TOLERANCES] == [0, 0, 1, 1, 1]
    exactly = CrackSettings(tolerances=(2, 3))
    scores = scores_of(vertical(23), vertical(20), settings=exactly)
    assert (scores["lt_iou@2"], scores["lt_iou@3"]) == (0, 1)


def test_half_of_a_line_missing_is_half_the_score_and_the_tolerance() -> None:
    scores = scores_of(vertical(20, (10, 30)), vertical(20))
    for tolerance in TOLERANCES:
        assert scores[f"lt_iou@{tolerance}"] == scores[f"line_recall@{tolerance}"] == (20 + tolerance) / 40
        assert scores[f"line_precision@{tolerance}"] == 1
    assert scores["cl_dice"] == pytest.approx(2 / 3) and scores["recall"] == 0.5 and scores["precision"] == 1


def test_a_false_second_line_counts_in_full() -> None:
    scores = scores_of(vertical(20) | vertical(40), vertical(20))
    for tolerance in TOLERANCES:
        assert scores[f"lt_iou@{tolerance}"] == scores[f"line_precision@{tolerance}"] == 0.5
        assert scores[f"line_recall@{tolerance}"] == 1
        assert scores[f"line_f1@{tolerance}"] == pytest.approx(2 / 3)
    assert scores["iou"] == 0.5 and scores["cl_dice"] == pytest.approx(2 / 3)
    assert scores["f1_tolerant@5"] == pytest.approx(2 / 3) and scores["precision_tolerant@5"] == 0.5


def test_tolerant_f1_forgives_width_up_to_its_tolerance() -> None:
    narrow, wide = rectangle((0, 60), (19, 22)), rectangle((0, 60), (16, 25))
    scores = scores_of(wide, narrow)
    assert scores["precision_tolerant@0"] == pytest.approx(3 / 9) and scores["recall_tolerant@0"] == 1
    assert scores["precision_tolerant@2"] == pytest.approx(7 / 9) and scores["recall_tolerant@2"] == 1
    assert scores["f1_tolerant@0"] == pytest.approx(scores["f1"]) == pytest.approx(0.5)
    assert scores["f1_tolerant@2"] == pytest.approx(0.875) and scores["f1_tolerant@5"] == 1
    turned = scores_of(narrow, wide)
    assert turned["precision_tolerant@2"] == 1 and turned["recall_tolerant@2"] == pytest.approx(7 / 9)
    assert turned["f1_tolerant@2"] == pytest.approx(0.875)


def test_cl_dice_asks_whether_lines_lie_within_the_other_mask() -> None:
    label = rectangle((10, 50), (19, 22))
    assert scores_of(vertical(20), label)["cl_dice"] == 1
    assert scores_of(rectangle((10, 30), (18, 23)), vertical(20))["cl_dice"] == pytest.approx(2 / 3)
    assert scores_of(vertical(21), label)["cl_dice"] == 0
    assert scores_of(vertical(30), label)["cl_dice"] == 0
    assert scores_of(rectangle((10, 50), (18, 23)), label)["cl_dice"] == 1
    beside = scores_of(rectangle((10, 50), (20, 23)), label)
    assert beside["cl_dice"] == 1 and beside["lt_iou@0"] == 0 and beside["lt_iou@2"] == 1


def test_boundary_scores_of_shifted_squares_are_those_worked_out_by_hand() -> None:
    label = rectangle((10, 20), (10, 20))
    same_place, near, far = (scores_of(rectangle((10, 20), (10 + d, 20 + d)), label) for d in (0, 1, 5))
    assert same_place["boundary_f1"] == 1 and same_place["boundary_iou"] == 1
    # 1 px: bands of 64 px share the common 9 x 10 px but for the 7 x 6 px inside either band.
    assert near["boundary_f1"] == 1 and near["boundary_iou"] == 48 / 80
    # 5 px: of 36 px of boundary 7 at the top, 7 at the bottom, 2 + 2 of the inner side are near; bands share 50 - 30 px.
    assert far["boundary_f1"] == 0.5 and far["boundary_iou"] == 20 / 108


def test_the_border_of_the_image_is_no_boundary() -> None:
    counts = counts_of(rectangle((0, 60), (0, 30)), rectangle((0, 60), (0, 31)))
    assert counts["boundary_label"] == counts["boundary_predicted"] == 60
    assert counts["band_both"] == 60 and counts["band_either"] == 180


def test_a_higher_tolerance_never_lowers_a_score() -> None:
    settings = CrackSettings(tolerances=tuple(range(12)), f1_tolerances=tuple(range(12)))
    for prediction, label in pairs(8, seed=5):
        scores = scores_of(prediction, label, settings=settings)
        for name in (*RISING, "f1_tolerant"):
            series = np.nan_to_num([scores[f"{name}@{t}"] for t in range(12)])
            assert (np.diff(series) >= -1e-12).all(), name


@pytest.mark.parametrize(("shift", "tolerance"), [((0, 2), 2), ((3, -2), 4), ((-4, 0), 4), ((5, 6), 8), ((9, -13), 16)])
def test_a_crack_shifted_by_no_more_than_the_tolerance_is_found(shift: tuple[int, int], tolerance: int) -> None:
    rng = np.random.default_rng(6)
    assert np.hypot(*shift) <= tolerance
    for _ in range(4):
        label = drawing(rng, margin=20)
        prediction = np.roll(label, shift, axis=(0, 1))
        scores = scores_of(prediction, label)
        assert scores[f"lt_iou@{tolerance}"] == scores[f"line_f1@{tolerance}"] == 1
        assert scores["lt_iou@0"] < 1


def test_counts_add_up_in_any_order_and_grouping() -> None:
    rows = [counts_of(*pair) for pair in pairs(7, seed=7)]
    whole = pooled(rows)
    names = [n for n in whole if n.startswith((*RISING, "iou", "f1", "cl_", "boundary", "precision", "recall"))]
    assert same(whole, pooled(rows[::-1]), names)
    groups = [{k: sum(row[k] for row in part) for k in rows[0]} for part in (rows[:2], rows[2:3], rows[3:])]
    assert same(whole, pooled(groups), names)
    others = [name for name in whole if name not in names]
    for again in (pooled(rows[::-1]), pooled(groups)):
        assert np.allclose([whole[n] for n in others], [again[n] for n in others], rtol=1e-9, equal_nan=True)


def test_scores_of_many_images_at_once_equal_those_of_each() -> None:
    rows = [counts_of(*pair) for pair in [*pairs(6, seed=8), (NOTHING, NOTHING), (vertical(9), NOTHING)]]
    together = crack_scores({name: np.array([row[name] for row in rows], float) for name in rows[0]}, SETTINGS)
    for index, row in enumerate(rows):
        alone = pooled([row])
        assert same({name: float(values[index]) for name, values in together.items()}, alone)
        assert set(alone) == set(together)


NAMES = (
    "lt_iou@0",
    "lt_iou@4",
    "line_f1@4",
    "f1_tolerant@0",
    "f1_tolerant@5",
    "cl_dice",
    "boundary_f1",
    "boundary_iou",
)


def test_no_crack_anywhere_has_no_score() -> None:
    scores = scores_of(NOTHING, NOTHING)
    assert np.isnan([scores[name] for name in (*NAMES, "iou", "f1", "length_px.relative_error")]).all()
    assert scores["false_alarm"] == 0 and scores["length_px"] == 0 and scores["length_px.absolute_error"] == 0
    assert np.isnan(scores["width_px"]) and np.isnan(scores["width_px.absolute_error"])


def test_a_crack_only_predicted_scores_zero() -> None:
    scores = scores_of(vertical(20), NOTHING)
    assert [scores[name] for name in NAMES] == [0] * len(NAMES) and scores["iou"] == 0
    assert np.isnan(scores["line_recall@4"]) and scores["line_precision@4"] == 0
    assert scores["false_alarm"] == 1 and np.isnan(scores["width_px.absolute_error"])


def test_a_crack_only_labeled_scores_zero() -> None:
    scores = scores_of(NOTHING, vertical(20))
    assert [scores[name] for name in NAMES] == [0] * len(NAMES) and scores["iou"] == 0
    assert np.isnan(scores["line_precision@4"]) and scores["line_recall@4"] == 0
    assert scores["length_px.relative_error"] == 1 and scores["length_px.bias"] == -1
    assert np.isnan(scores["width_px.absolute_error"]) and np.isnan(scores["width_px"])
    assert np.isnan(scores["orientation_error_deg"]) and np.isnan(scores["false_alarm"])


@pytest.mark.parametrize(("predicted", "labeled", "score"), [(1, 1, 1.0), (1, 0, 0.0), (0, 1, 0.0), (0, 0, np.nan)])
def test_an_image_of_one_pixel_can_be_scored(predicted: int, labeled: int, score: float) -> None:
    scores = scores_of(np.full((1, 1), bool(predicted)), np.full((1, 1), bool(labeled)))
    expected = [score] * 4
    assert np.array_equal(
        [scores[n] for n in ("lt_iou@0", "lt_iou@16", "f1_tolerant@2", "cl_dice")], expected, equal_nan=True
    )


def test_the_bounding_box_holds_the_mask_and_its_margin() -> None:
    assert bounding_box(rectangle((10, 20), (3, 58)), 5) == (slice(5, 25), slice(0, 63))
    assert NOTHING[bounding_box(NOTHING, 5)].size == 0


LABEL = vertical(20)
UNKNOWN = rectangle((0, 60), (40, 60))
LINE_NAMES = (*(f"{name}@{t}" for name in RISING for t in TOLERANCES), "cl_dice")
PIXEL_NAMES = ("iou", "f1", "f1_tolerant@0", "f1_tolerant@2", "f1_tolerant@5", "boundary_f1", "boundary_iou")


def test_predictions_where_nothing_is_labeled_are_neither_hits_nor_false() -> None:
    clean = scores_of(vertical(22), LABEL, known=~UNKNOWN)
    for extra in (vertical(50), rectangle((5, 30), (45, 55)), UNKNOWN & (np.indices((60, 60)).sum(axis=0) % 7 < 3)):
        scores = scores_of(vertical(22) | extra, LABEL, known=~UNKNOWN)
        assert same(scores, clean, [*LINE_NAMES, *PIXEL_NAMES, "false_alarm.px_per_megapixel"])
        assert same(scores, clean, ["length_px", "width_px", "area_px", "components"])
    alone = scores_of(vertical(50), NOTHING, known=~UNKNOWN)
    assert alone["false_alarm"] == 0 and np.isnan([alone[name] for name in (*LINE_NAMES, *PIXEL_NAMES)]).all()


def test_lines_are_scored_everywhere_under_s2ds() -> None:
    known, prediction = ~UNKNOWN, vertical(20) | vertical(50)
    scores = scores_of(prediction, LABEL, known=known, settings=S2DS)
    assert scores["lt_iou@4"] == 0.5 and scores["line_precision@4"] == 0.5
    assert scores["iou"] == scores["f1_tolerant@2"] == scores["boundary_f1"] == 1
    band = rectangle((0, 60), (30, 35))
    inside = vertical(20) | vertical(32)
    scores = scores_of(inside, LABEL, scored=~band, settings=S2DS)
    assert scores["lt_iou@4"] == 0.5 and scores["iou"] == 1 and scores["f1_tolerant@2"] == 1
    plain = scores_of(inside, LABEL, known=~band)
    assert plain["lt_iou@4"] == 1 and plain["iou"] == 1


def test_the_edge_of_what_is_labeled_is_no_boundary() -> None:
    square = rectangle((10, 30), (10, 30))
    known = ~rectangle((0, 60), (30, 60))
    counts = counts_of(square, square, known=known)
    assert counts["boundary_label"] == counts["boundary_predicted"] == 20 * 20 - 18 * 19
    assert counts["band_both"] == counts["band_either"] == 20 * 20 - 16 * 18


def restated_band(label: NDArray[np.integer], classes: int, crack: int | None) -> Mask:
    areas = label.copy()
    if crack is not None:
        areas[label == crack] = 0
    border = np.zeros(label.shape, dtype=bool)
    for row, column in np.ndindex(label.shape):
        for r, c in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            inside = 0 <= r < label.shape[0] and 0 <= c < label.shape[1]
            if inside and label[row, column] < classes and label[r, c] < classes:
                border[row, column] |= areas[row, column] != areas[r, c]
    band = morphology.dilation(border, morphology.disk(2), mode="min")
    return band if crack is None else band & (label != crack)


def random_label(rng: np.random.Generator, size: int = 48) -> NDArray[np.uint8]:
    label = np.zeros((size, size), dtype=np.uint8)
    for class_id in (1, 2, 4, 5, 255):
        top, left, height, width = (*rng.integers(-5, size, 2), *rng.integers(2, 16, 2))
        label[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)] = class_id
    label[drawing(rng, size)] = 6
    return label


def test_the_ignored_band_equals_its_description() -> None:
    rng = np.random.default_rng(9)
    for crack in (6, None):
        for _ in range(8):
            label = random_label(rng)
            assert np.array_equal(ignored_band(label, 7, crack), restated_band(label, 7, crack))


def test_a_crack_alone_makes_no_band() -> None:
    label = np.where(drawing(np.random.default_rng(10)), 6, 0)
    assert not ignored_band(label, 7, 6).any() and ignored_band(label, 7, None).any()


def test_what_is_not_labeled_makes_no_band() -> None:
    label = np.where(rectangle((10, 30), (10, 30)), 255, 0)
    assert not ignored_band(label, 7, 6).any()
    label[40:50, 40:50] = 7
    assert not ignored_band(label, 7, 6).any() and ignored_band(label, 8, 6).any()


def test_the_band_lies_on_both_sides_of_a_border() -> None:
    label = np.where(rectangle((0, 60), (30, 60)), 3, 0)
    label[25:35] = np.where(label[25:35] == 0, 6, label[25:35])
    band = ignored_band(label, 7, 6)
    assert np.array_equal(np.flatnonzero(band[5]), np.arange(27, 33))
    assert np.array_equal(np.flatnonzero(band[30]), np.arange(30, 33))


def quotient(counts: Mapping[str, Array]) -> dict[str, Array]:
    return {"share": ratio(counts["hit"], counts["all"])}


def table(images: int, seed: int, spread: float = 0.1) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    size = rng.integers(50, 150, images).astype(float)
    return {"hit": size * np.clip(rng.normal(0.6, spread, images), 0, 1), "all": size}


def test_draws_are_whole_images_with_replacement() -> None:
    assert np.array_equal(draw_weights(1, 0, 5), np.ones((5, 1)))
    two = draw_weights(2, 0, 4000)
    assert (two.sum(axis=1) == 2).all() and set(map(tuple, two.tolist())) == {(2, 0), (1, 1), (0, 2)}
    assert (two[:, 0] == 1).mean() == pytest.approx(0.5, abs=0.03)
    weights = draw_weights(9, 3)
    assert weights.shape == (1000, 9) and (weights.sum(axis=1) == 9).all() and (weights % 1 == 0).all()
    assert np.array_equal(weights, draw_weights(9, 3)) and not np.array_equal(weights, draw_weights(9, 4))


def test_resampled_counts_are_sums_over_the_drawn_images() -> None:
    counts = {"a": np.array([1.0, 10.0, 100.0]), "m": np.arange(12.0).reshape(3, 2, 2)}
    total, drawn = resample(counts, 5)
    assert total["a"] == 111 and np.array_equal(total["m"], [[12, 15], [18, 21]])
    for number, weights in enumerate(draw_weights(3, 5)[:50]):
        images = np.repeat(np.arange(3), weights.astype(int))
        assert drawn["a"][number] == counts["a"][images].sum()
        assert np.array_equal(drawn["m"][number], counts["m"][images].sum(axis=0))


def test_intervals_repeat_with_their_seed_and_hold_the_value() -> None:
    counts = table(40, 0)
    first = intervals(counts, quotient, 1)["share"]
    assert first == intervals(counts, quotient, 1)["share"] != intervals(counts, quotient, 2)["share"]
    assert first.value == counts["hit"].sum() / counts["all"].sum()
    assert first.low < first.value < first.high and first.high - first.low == pytest.approx(4 * 0.1 / 40**0.5, rel=0.35)
    constant = intervals({"hit": counts["all"] / 4, "all": counts["all"]}, quotient, 1)["share"]
    assert [constant.low, constant.value, constant.high] == pytest.approx([0.25] * 3)


def test_intervals_shrink_with_more_images() -> None:
    widths = [(i := intervals(table(n, 3), quotient, 0)["share"]).high - i.low for n in (8, 40, 200, 1000)]
    assert widths == sorted(widths, reverse=True) and widths[0] > 4 * widths[-1]


def test_one_image_has_no_interval() -> None:
    counts = table(1, 0)
    for found in (intervals(counts, quotient, 0)["share"], differences(counts, counts, quotient, 0)["share"]):
        assert not np.isnan(found.value) and np.isnan([found.low, found.high]).all()
        assert found.to_json() == {"value": found.value, "low": None, "high": None}


def test_an_interval_needs_half_of_the_draws() -> None:
    draws = np.array([0.2, 0.4, np.nan, np.nan])
    assert 0.2 <= interval(0.3, draws).low <= interval(0.3, draws).high <= 0.4
    assert np.isnan(interval(0.3, np.array([0.2, np.nan, np.nan])).low)
    assert np.isnan(interval(float("nan"), np.array([0.2, 0.3])).high)


def test_a_network_does_not_differ_from_itself() -> None:
    counts = table(12, 4)
    found = differences(counts, counts, quotient, 0)["share"]
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_pairing_narrows_the_interval_of_networks_that_fail_alike() -> None:
    counts = table(30, 5, spread=0.2)
    noise = np.random.default_rng(6).normal(0.05, 0.01, 30)
    better = {"hit": np.clip(counts["hit"] / counts["all"] + noise, 0, 1) * counts["all"], "all": counts["all"]}
    found = differences(better, counts, quotient, 0)["share"]
    expected = (better["hit"].sum() - counts["hit"].sum()) / counts["all"].sum()
    assert found.value == pytest.approx(expected) and 0 < found.low < found.value < found.high
    drawn = [quotient(resample(c, seed)[1])["share"] for c, seed in ((better, 1), (counts, 2))]
    low, high = np.percentile(drawn[0] - drawn[1], [2.5, 97.5])
    assert found.high - found.low < (high - low) / 3
