"""Palettes, legends and errors, wherever pictures are made."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import prune
from prune.cli.inference import InferenceOptions
from prune.data.find_split import find_split
from prune.data.labels import CRACK
from prune.inference.settings import PredictSettings
from prune.report.agreement import COLORS, draw_agreement, errors
from prune.report.figures import color_mask, overlay
from tests.api.test_prediction import Threshold
from tests.conftest import refused

MAGENTA, YELLOW = (255, 0, 200), (240, 228, 66)


@pytest.fixture
def hand() -> prune.Model:
    return prune.Model(Threshold())


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """Two photographs with masks of cracks: one found but for a shadow, one without any."""
    for name in ("images", "masks"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for stem, column in (("a", 20), ("b", None)):
        image, mask = np.full((60, 90, 3), 220, np.uint8), np.zeros((60, 90), np.uint8)
        if column:
            image[:, column : column + 3], image[:, 60:64] = 10, 10
            mask[:, column : column + 3], mask[5:20, 40:43] = 255, 255
        Image.fromarray(image).save(tmp_path / "data" / "images" / f"{stem}.png")
        Image.fromarray(mask).save(tmp_path / "data" / "masks" / f"{stem}.png")
    return tmp_path / "data"


def opened(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.array(image.convert("RGB"))


def inside(picture: np.ndarray, height: int = 60, width: int = 90) -> np.ndarray:
    """The photograph's part of a picture with a legend."""
    left = (picture.shape[1] - width) // 2
    return picture[:height, left : left + width]


@pytest.mark.parametrize("photos", [".", "images", "images/a.png"])
def test_errors_compare_photographs_with_their_labels(
    hand: prune.Model, split: Path, tmp_path: Path, photos: str
) -> None:
    result = prune.predict(hand, split / photos, mode="errors", recursive=photos == ".", output=tmp_path / "out")
    a = next(file for file in result.files if file.name == "a_errors.png")
    assert len(result.files) == (1 if photos.endswith("png") else 2)
    data = find_split(split, CRACK)
    image, label = (read(data.pairs[0]) for read in (data.read_image, data.read_label))
    found = errors(hand.predict(image).class_map, label, 1)
    assert set(np.unique(found).tolist()) == {0, 1, 2, 3}
    drawn = opened(a)
    assert np.array_equal(inside(drawn), draw_agreement(image, found)) and len(drawn) > 60
    assert np.array_equal(drawn, hand.predict(image).errors(label))
    assert "class Crack: blue = found, orange = false alarm, yellow = missed" in str(result)


def test_errors_need_labels(hand: prune.Model, split: Path, tmp_path: Path) -> None:
    for mask in (split / "masks").iterdir():
        mask.unlink()
    with refused("--mode errors: expected photographs of a labeled split, found .*images: "):
        prune.predict(hand, split / "images", mode="errors", output=tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


def test_the_palette_colors_pictures_but_not_masks(hand: prune.Model, split: Path, tmp_path: Path) -> None:
    photo, drawn = split / "images" / "a.png", {}
    for palette in ("standard", "colorblind"):
        for mode in ("overlay", "side_by_side", "save_mask"):
            output = tmp_path / palette
            files = prune.predict(hand, photo, mode=mode, palette=palette, legend=False, output=output).files
            drawn[palette, mode] = opened(files[0])
    image = opened(photo)
    ids = hand.predict(image).class_map
    for palette, color in (("standard", MAGENTA), ("colorblind", YELLOW)):
        assert np.array_equal(drawn[palette, "overlay"], overlay(image, ids, CRACK, 0.5, palette))
        assert (drawn[palette, "overlay"][:, [20, 22]] == color).all()  # the rim of the crack
        assert np.array_equal(drawn[palette, "side_by_side"][:, -90:], color_mask(ids, CRACK, palette))
        assert np.array_equal(drawn[palette, "save_mask"], CRACK.colorize(ids))
    with refused("--palette: expected one of standard, colorblind, found 'pink'"):
        prune.predict(hand, photo, palette="pink", output=tmp_path / "out")


def test_a_legend_is_there_unless_it_is_unwanted(hand: prune.Model, split: Path, tmp_path: Path) -> None:
    photo = split / "images" / "a.png"
    for mode in ("overlay", "side_by_side", "errors"):
        sizes = []
        for legend in (True, False):
            files = prune.predict(hand, photo, mode=mode, legend=legend, output=tmp_path / f"{legend}").files
            sizes.append(opened(files[0]).shape[0])
        assert sizes[0] > sizes[1] == 60
    nothing = prune.predict(hand, split / "images" / "b.png", mode="overlay", output=tmp_path / "b").files
    assert len(opened(nothing[0])) > 60 and (opened(nothing[0])[60:] < 100).any()  # "nothing found"


def test_the_contact_sheet_takes_the_palette(split: Path) -> None:
    found = prune.dataset(split)
    for palette, color in (("standard", MAGENTA), ("colorblind", YELLOW)):
        sheet = found.contact_sheet(2, palette=palette)
        others = {MAGENTA, YELLOW} - {color}
        assert (sheet == color).all(axis=2).sum() > 100
        assert not any((sheet == other).all(axis=2).any() for other in others)


def test_the_command_line_has_the_same_options() -> None:
    assert (InferenceOptions.palette, InferenceOptions.legend) == (PredictSettings.palette, PredictSettings.legend)
    with refused("--mode: expected one of side_by_side, overlay, save_mask, probability, gradcam, errors, found 'x'"):
        InferenceOptions(mode="x")


def test_an_evaluation_draws_the_errors_beside_its_workbook(hand: prune.Model, split: Path, tmp_path: Path) -> None:
    pictures = []
    for palette, color in (("standard", MAGENTA), ("colorblind", YELLOW)):
        options = {"figures": 2, "palette": palette, "latency_repeats": 0, "workers": 0, "networks": 1}
        result = prune.evaluate(hand, split, workbook=tmp_path / f"{palette}.xlsx", **options)
        assert result.files[-1] == tmp_path / f"{palette}_errors.png" and "figure" in str(result)
        pictures.append(opened(result.files[-1]))
        assert (pictures[-1] == color).all(axis=2).any()
        assert all((pictures[-1] == kind).all(axis=2).sum() > 50 for kind in COLORS[1:])
    assert not (pictures[0] == pictures[1]).all() and pictures[0].shape[0] > 2 * 60
    plain = prune.evaluate(hand, split, workbook=tmp_path / "plain.xlsx", latency_repeats=0, workers=0)
    assert [file.suffix for file in plain.files] == [".xlsx", ".json"]
