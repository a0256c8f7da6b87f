import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from PIL import Image

from prune.data.labels import CRACK, IGNORE_INDEX, S2DS, ClassSet
from prune.report import figures
from prune.report.curves import training_curves
from prune.report.figures import (
    color_mask,
    heat_overlay,
    overlay,
    paint,
    require_display,
    save_image,
    save_mask,
    show,
    side_by_side,
)
from prune.report.paper import RIM, class_pixels, class_shares, grid, legend_of, share_text
from prune.report.png import write_png
from tests.conftest import refused

RNG = np.random.default_rng(0)
SIZES = [(1, 1), (33, 700), (700, 33), (64, 64), (5, 1)]
MAGENTA = (255, 0, 200)


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def class_map(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).choice([0, 1, 4, 6, IGNORE_INDEX], (height, width)).astype(np.uint8)


def test_overlay_blends_the_inside_with_the_opacity_and_the_rim_twice_as_much() -> None:
    photo = np.full((9, 9, 3), (100, 50, 201), dtype=np.uint8)
    labels = np.zeros((9, 9), dtype=np.uint8)
    labels[2:7, 2:7] = 5  # red
    drawn = overlay(photo, labels, S2DS, opacity=0.25)
    inside, rim = (139, 38, 151), (178, 25, 100)  # 0.75 and 0.5 of the photograph, rounded half to even
    assert (drawn[3:6, 3:6] == inside).all()
    assert (drawn[2, 2:7] == rim).all() and (drawn[2:7, 6] == rim).all()
    outside = labels == 0
    assert np.array_equal(drawn[outside], photo[outside])


def test_a_thin_crack_keeps_its_full_color_at_the_default_opacity() -> None:
    photo = np.full((20, 20, 3), 160, dtype=np.uint8)
    labels = np.zeros((20, 20), dtype=np.uint8)
    labels[:, 9:11] = 6
    photo[:, 9:11] = 65  # half white on it would be 160, the gray of the concrete, and white is no color on lime
    drawn = overlay(photo, labels, S2DS)
    assert (drawn[:, 9:11] == MAGENTA).all() and (drawn[:, :9] == 160).all()


def test_the_rim_grows_with_the_image() -> None:
    labels = np.zeros((900, 40), dtype=np.uint8)
    labels[:, 10:30] = 5
    row = overlay(np.zeros((900, 40, 3), dtype=np.uint8), labels, S2DS)[450, :, 0]
    assert row.tolist() == [0] * 10 + [255] * 3 + [128] * 14 + [255] * 3 + [0] * 10


def test_an_image_of_many_strips_is_blended_like_a_plain_loop_says() -> None:
    blocks = np.random.default_rng(2).choice([0, 0, 3, 6, IGNORE_INDEX], (70, 5)).astype(np.uint8)
    labels = blocks.repeat(13, axis=0).repeat(11, axis=1)  # 910 px high: the rim is 3 px wide
    photo = picture(*labels.shape)
    expected = photo.copy()
    for row, column in np.argwhere((labels > 0) & (labels < 7)):
        own = labels[row, column]
        beside = labels[row, max(0, column - 3) : column + 4]
        below = labels[max(0, row - 3) : row + 4, column]
        alpha = 0.6 if (beside != own).any() or (below != own).any() else 0.3
        expected[row, column] = np.rint((1 - alpha) * photo[row, column] + alpha * np.array(S2DS.colors[own]))
    drawn = paint(photo, labels, S2DS, opacity=0.3)
    assert np.abs(drawn.astype(int) - expected).max() <= 1  # float32 may round a half the other way
    assert (drawn != expected).mean() < 0.01


def test_the_colors_of_heat_grow_lighter_from_black() -> None:
    lightness = figures.HEAT @ np.array([0.299, 0.587, 0.114])
    assert figures.HEAT.shape == (256, 3) and lightness[0] == 0 and lightness[-1] > 220
    assert (np.diff(lightness) >= 0).all() and np.diff(lightness).max() < 3


def test_heat_is_laid_over_the_gray_photograph() -> None:
    photo = np.full((1, 3, 3), (200, 100, 0), dtype=np.uint8)  # of luminance 118.5
    drawn = heat_overlay(photo, np.array([[0, 0.25, 1]], dtype=np.float32), opacity=0.5)
    quarter = np.array([80, 15, 110]) * 0.25 + 118.5 * 0.75  # √0.25 · 0.5 of the color
    assert drawn[0, 0].tolist() == [118] * 3 and np.abs(drawn[0, 1] - quarter).max() <= 1.5
    assert np.abs(drawn[0, 2] - (np.array([255, 240, 120]) + 118.5) / 2).max() <= 1


@pytest.mark.parametrize("size", [*SIZES, (600, 3)])
def test_heat_of_any_size_from_the_gray_photograph_to_the_colors_alone(size: tuple[int, int]) -> None:
    photo, heat = picture(*size), np.random.default_rng(3).random(size)
    before = photo.copy()
    gray = np.asarray(Image.fromarray(photo).convert("L")).astype(int)
    bare = heat_overlay(photo, heat, opacity=0)
    assert bare.shape == photo.shape and bare.dtype == np.uint8 and np.abs(bare - gray[..., None]).max() <= 1
    assert (heat_overlay(photo, np.ones(size), opacity=1) == figures.HEAT[-1]).all()
    assert np.array_equal(photo, before)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [np.uint8, np.int64])
def test_opacity_0_is_the_photograph_and_1_the_color_mask(size: tuple[int, int], kind: type) -> None:
    photo = picture(*size)
    labels: np.ndarray = class_map(*size).astype(kind)
    before = photo.copy()
    assert np.array_equal(overlay(photo, labels, S2DS, opacity=0), photo)
    drawn, mask = paint(photo, labels, S2DS, opacity=1), color_mask(labels, S2DS)
    shown = (labels != 0) & (labels != IGNORE_INDEX)
    assert drawn.dtype == np.uint8 and drawn.shape == (*size, 3)
    assert np.array_equal(drawn[shown], mask[shown]) and np.array_equal(drawn[~shown], photo[~shown])
    assert np.array_equal(photo, before)


def test_color_mask_has_the_palette_and_gray_for_ignored() -> None:
    mask = color_mask(np.array([[0, 4, 6, IGNORE_INDEX]], dtype=np.uint8), S2DS)
    assert mask.tolist() == [[[0, 0, 0], [255, 255, 0], [255, 255, 255], [128, 128, 128]]]


def test_shares_leave_ignored_pixels_out_and_put_the_background_last() -> None:
    labels = np.array([[0, 0, 0, 0, 0, 4, 6, 6], [0, 0, IGNORE_INDEX, 255, 255, 255, 255, 255]], dtype=np.uint8)
    pixels = class_pixels(labels, S2DS)
    assert pixels.tolist() == [7, 0, 0, 0, 1, 0, 2]
    assert class_shares(pixels) == [(6, 0.2), (4, 0.1), (0, 0.7)]
    texts = [text for _, text in legend_of(pixels, S2DS, background=True)]
    assert texts == ["Crack  20.0%", "Corrosion  10.0%", "Background  70.0%"]
    assert [text for _, text in legend_of(pixels, S2DS)] == texts[:2]
    assert class_shares(class_pixels(np.full((2, 2), IGNORE_INDEX), S2DS)) == []


def test_share_text_never_rounds_a_find_away() -> None:
    shares = (1e-7, 0.00099, 0.001, 0.1234, 0.99, 0.9991, 1.0)
    texts = ["< 0.1%", "< 0.1%", "0.1%", "12.3%", "99.0%", "> 99.9%", "100.0%"]
    assert [share_text(share) for share in shares] == texts


def find(part: np.ndarray, whole: np.ndarray) -> list[tuple[int, int]]:
    """Every (top, left) in the upper corner of ``whole`` at which ``part`` lies."""
    height, width = part.shape[:2]
    tops, lefts = whole.shape[0] - height + 1, whole.shape[1] - width + 1
    places = [(t, x) for t in range(min(tops, 2)) for x in range(lefts)]
    return [(t, x) for t, x in places if np.array_equal(whole[t : t + height, x : x + width], part)]


@pytest.mark.parametrize("size", [(64, 64), (33, 300), (256, 200)])
def test_side_by_side_holds_both_panels_unscaled_above_a_legend(size: tuple[int, int]) -> None:
    photo, labels = picture(*size), class_map(*size)
    sheet = side_by_side(photo, labels, S2DS)
    (top, left), (mask_top, mask_left) = find(photo, sheet)[0], find(color_mask(labels, S2DS), sheet)[0]
    assert top == mask_top == 0 and mask_left >= left + size[1] + 4
    legend = sheet[size[0] :]
    assert sheet.dtype == np.uint8 and legend.shape[0] >= 20
    for class_id in (1, 4):
        assert (legend == S2DS.colors[class_id]).all(axis=2).any()
    assert not (legend == S2DS.colors[5]).all(axis=2).any()  # not in the class map
    assert (legend[:, [0, -1]] == 255).all() and (legend[[0, -1]] == 255).all()  # nothing is cut off


def test_the_white_swatch_of_a_crack_has_an_outline() -> None:
    legend = side_by_side(picture(64, 64), np.full((64, 64), 6, dtype=np.uint8), S2DS)[64:]
    assert (legend == RIM).all(axis=2).sum() >= 4 * 11


@pytest.mark.parametrize("size", [*SIZES, (2000, 3000)])
def test_side_by_side_draws_any_size(size: tuple[int, int]) -> None:
    sheet = side_by_side(np.zeros((*size, 3), dtype=np.uint8), class_map(*size), S2DS)
    assert sheet.shape[0] > size[0] and sheet.shape[1] > 2 * size[1]
    text = sheet.shape[0] - size[0]
    assert text >= 20 if max(size) < 2000 else text >= 150


def test_side_by_side_without_scored_pixels_has_no_legend() -> None:
    sheet = side_by_side(picture(40, 50), np.full((40, 50), IGNORE_INDEX, dtype=np.uint8), S2DS)
    assert sheet.shape[0] == 40


def test_grid_aligns_columns_and_keeps_the_widest_unscaled() -> None:
    large, small = picture(100, 120), picture(30, 60)
    sheet = grid([[large, large], [small, small]], ["photograph", "label"], ["a", "b"])
    assert sheet.dtype == np.uint8 and sheet.shape[1] > 240
    doubled = small.repeat(2, axis=0).repeat(2, axis=1)
    lefts = []
    for part in (large, doubled):
        windows = np.lib.stride_tricks.sliding_window_view(sheet[..., 0], part.shape[1], axis=1)
        lefts.append(set(np.flatnonzero((windows == part[0, :, 0]).all(axis=2).any(axis=0)).tolist()))
    assert len(lefts[0]) == 2 and lefts[0] == lefts[1]


def test_grid_shrinks_huge_pictures_without_losing_a_crack() -> None:
    huge = np.zeros((1600, 3200, 3), dtype=np.uint8)
    huge[:, 1001] = 255
    sheet = grid([[huge]], [""], ["x"])
    line = sheet[sheet.shape[0] * 3 // 4]
    assert sheet.shape[1] < 1000 and (line == 0).all(axis=1).sum() == 799
    assert (line == 64).all(axis=1).sum() == 1  # a quarter of white: 1 px in 4


def test_grid_refuses_titles_that_do_not_match() -> None:
    with pytest.raises(ValueError, match="1 column titles, but a row of 2 pictures"):
        grid([[picture(9, 9)] * 2], ["one"], ["a"])
    with pytest.raises(ValueError, match="argument"):
        grid([[picture(9, 9)]], ["one"], ["a", "b"])


def test_save_image_is_a_png_and_atomic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = picture(20, 30)
    path = save_image(photo, tmp_path / "new" / "a.png")
    with Image.open(path) as stored:
        assert stored.format == "PNG" and np.array_equal(np.asarray(stored), photo)
    old = path.read_bytes()

    def full(picture: np.ndarray, file: Path) -> None:
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figures, "write_png", full)
    with refused(r"cannot write .*a\.png: No space left on device"):
        save_image(photo, path)
    assert path.read_bytes() == old and len(list(path.parent.iterdir())) == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1, 3), (300, 5, 3), (513, 40), (256, 2, 3)])
def test_a_png_keeps_every_value(shape: tuple[int, ...], tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, shape, dtype=np.uint8)
    write_png(pixels, tmp_path / "a.png")
    write_png(np.asfortranarray(pixels), tmp_path / "b.png")
    for name in ("a.png", "b.png"):
        with Image.open(tmp_path / name) as stored:
            assert stored.mode == ("RGB" if len(shape) == 3 else "L")
            assert np.array_equal(np.asarray(stored), pixels)


@pytest.mark.parametrize("classes", [S2DS, CRACK])
@pytest.mark.parametrize("size", [(1, 1), (20, 33), (300, 8)])
def test_a_mask_holds_ids_and_their_colors(classes: ClassSet, size: tuple[int, int], tmp_path: Path) -> None:
    class_map = RNG.integers(0, len(classes), size, dtype=np.uint8)
    with Image.open(save_mask(class_map, classes, tmp_path / "a.png")) as stored:
        assert np.array_equal(np.asarray(stored), class_map)
        assert np.array_equal(np.asarray(stored.convert("RGB")), classes.colorize(class_map))


@pytest.mark.parametrize(("suffix", "kind"), [(".jpg", "JPEG"), (".webp", "WEBP")])
def test_a_lossy_picture_looks_like_the_original(suffix: str, kind: str, tmp_path: Path) -> None:
    smooth = np.stack(np.broadcast_arrays(*np.ix_(np.arange(64), np.arange(96)), 80), -1).astype(np.uint8)
    with Image.open(save_image(smooth, tmp_path / f"a{suffix}")) as stored:
        assert stored.format == kind and np.abs(np.asarray(stored).astype(int) - smooth).max() <= 12


def test_a_picture_too_large_for_its_format_is_refused(tmp_path: Path) -> None:
    with refused(r"a\.webp: expected at most 16383 px a side, found 16384x1: use --format png"):
        save_image(np.zeros((1, 16384, 3), np.uint8), tmp_path / "a.webp")
    assert not list(tmp_path.iterdir())


MESSAGE = "no display: add --save_figure to write files to results/figures"


def test_show_without_a_display_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with refused(MESSAGE):
        show(picture(4, 4), "x")


@pytest.mark.parametrize("backend", ["agg", "svg", "no such backend"])
def test_a_display_without_a_window_toolkit_says_the_same(monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.setattr(matplotlib, "get_backend", lambda: backend)
    with refused(MESSAGE):
        require_display()


def test_show_draws_the_picture_and_closes_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib import pyplot

    photo, seen = picture(8, 9), []
    monkeypatch.setattr(figures, "require_display", lambda: None)
    pyplot.switch_backend("agg")
    monkeypatch.setattr(pyplot, "show", lambda: seen.append(pyplot.gcf().axes[0].images[0].get_array()))
    show(photo, "a.jpg")
    assert np.array_equal(seen[0], photo) and not pyplot.get_fignums()


def drawn_png(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def test_training_curves_take_numbers_texts_and_blanks(tmp_path: Path) -> None:
    history: list[dict[str, Any]] = [
        {"epoch": 1, "lr": 1e-3, "train_loss": 2.0, "val_loss": None, "val_miou": 0.1, "val_iou_Crack": None},
        {"epoch": "2", "lr": "5e-4", "train_loss": "1.5", "val_loss": "", "val_miou": "0.2", "val_iou_Crack": "0.05"},
    ]
    for number, rows in enumerate((history, history[:1], [])):
        drawn = drawn_png(training_curves(rows, tmp_path / f"{number}.png", title="demo"))
        assert drawn.min() < 100
    assert (drawn_png(tmp_path / "0.png") != drawn_png(tmp_path / "1.png")).any()
