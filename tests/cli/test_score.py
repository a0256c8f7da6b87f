"""Masks of any program scored by the command line: the same code and numbers as test.py, and its mistakes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
import torch
from PIL import Image

from prune.cli import inference, score, test
from prune.data.images import read_image
from prune.data.labels import CRACK, S2DS, ClassSet
from prune.models.checkpoint import load_checkpoint, save_checkpoint
from tests.cli.test_commands import QUICK, error_of, tiny_model
from tests.conftest import draw_label, make_data

RNG = np.random.default_rng(0)


def save(array: np.ndarray, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(file)


def scored(*words: object) -> dict[str, Any]:
    score.main([*(str(word) for word in words), "--force"])
    return json.loads(Path("out.json").read_text())


def crack_line(size: int = 48, column: int = 20, width: int = 2) -> np.ndarray:
    mask = np.zeros((size, size), dtype=np.uint8)
    mask[4:-4, column : column + width] = 1
    return mask


@pytest.fixture
def masks(here: Path) -> Path:
    """Three predictions and labels of crack and background, the second without a crack."""
    for number, shift in enumerate((0, None, 3)):
        label = np.zeros((48, 48), np.uint8) if shift is None else crack_line()
        save(label, here / f"labels/{number}.png")
        save(255 * (label if shift is None else np.roll(label, shift, 1)), here / f"pred/{number}.png")
    return here


def test_a_perfect_mask_scores_one_and_an_empty_one_zero(here: Path) -> None:
    for number in range(2):
        save(crack_line(), here / f"labels/{number}.png")
        save(crack_line() * 255, here / f"good/{number}.png")
        save(crack_line() * 0, here / f"empty/{number}.png")
    crack = scored("good", "labels", "--classes", "crack", "--output", "out.xlsx", "--workers", 0)["crack"]
    for key in ("boundary_f1", "cl_dice", "cl_iou_4"):
        assert crack[key] == {"value": 1, "low": 1, "high": 1}
    assert {t: v["value"] for t, v in crack["lt_iou"].items()} == {"0": 1, "2": 1, "4": 1, "8": 1}
    assert {t: v["value"] for t, v in crack["f1_tolerant"].items()} == {"2": 1, "5": 1}
    assert crack["length_px"]["value"] == crack["length_px"]["label"]["value"] == pytest.approx(80, abs=1)
    assert crack["width_px"]["value"] == pytest.approx(2, abs=0.1) and crack["width_px"]["bias"]["value"] == 0
    assert crack["false_alarm"]["value"] is None and crack["counts"]["crack_free_images"] == 0
    empty = scored("empty", "labels", "--classes", "crack", "--output", "out.xlsx", "--workers", 0)["crack"]
    assert empty["lt_iou"]["8"]["value"] == empty["line_f1"]["8"]["value"] == empty["cl_dice"]["value"] == 0
    assert empty["line_precision"]["8"]["value"] is None and empty["width_px"]["value"] is None
    assert empty["length_px"]["value"] == 0 and empty["length_px"]["relative_error"]["value"] == 1


def test_every_crack_score_has_a_value_and_bounds_and_images_carry_the_same_names(masks: Path) -> None:
    content = scored("pred", "labels", "--classes", "crack", "--output", "out.xlsx")
    crack, rows = content["crack"], content["per_image"]
    assert content["format"] == "prune-evaluation" and content["version"] == 2
    for key in ("lt_iou", "line_f1", "f1_tolerant"):
        assert all(set(score) == {"value", "low", "high"} for score in crack[key].values())
        assert set(rows[0][key]) == set(crack[key])
    for key in ("boundary_f1", "cl_dice", "cl_iou_4", "length_px", "width_px", "false_alarm"):
        assert {"value", "low", "high"} <= crack[key].keys() and key in rows[0]
    assert crack["lt_iou"]["2"]["value"] == pytest.approx(1 / 3) and crack["lt_iou"]["4"]["value"] == 1
    assert crack["lt_iou_per_image"]["2"]["value"] == pytest.approx(1 / 2)
    assert [row["lt_iou"]["2"] for row in rows] == [1, None, 0]
    assert crack["false_alarm"]["value"] == 0 and crack["counts"]["crack_free_images"] == 1
    assert crack["lt_iou"]["2"]["low"] <= 1 / 3 <= crack["lt_iou"]["2"]["high"]
    assert rows[2]["length_px"]["label"] == pytest.approx(rows[2]["length_px"]["value"], rel=0.01)


def test_the_sheets_hold_what_the_json_holds(masks: Path) -> None:
    content = scored("pred", "labels", "--classes", "crack", "--mm_per_pixel", 0.5, "--output", "out.xlsx")
    book = openpyxl.load_workbook("out.xlsx")
    named = [
        "Summary",
        "Per class",
        "Confusion matrix",
        "Line scores",
        "Measurement",
        "False alarms",
        "Per image",
        "Run",
    ]
    assert book.sheetnames == named
    lines, crack = book["Line scores"], content["crack"]
    for row, tolerance in enumerate(("0", "2", "4", "8"), 2):
        found = [lines.cell(row, column).value for column in range(1, 5)]
        assert found == [int(tolerance), *(crack["lt_iou"][tolerance][b] for b in ("value", "low", "high"))]
    assert len(lines._charts) == 1
    measured = book["Measurement"]
    assert measured["A2"].value == "Length (mm)" and measured["B2"].value == crack["length_mm"]["value"]
    assert measured["B9"].value == "Length (mm) predicted"
    assert [measured.cell(row, 1).value for row in (10, 11)] == ["0", "2"]
    assert measured["B10"].value == content["per_image"][0]["length_mm"]["value"]
    alarms = book["False alarms"]
    assert alarms["B2"].value == 0 and alarms["B6"].value == 1
    assert [cell.value for cell in alarms["A"]][-1] == "1"


def test_millimeters_come_from_a_number_or_a_table_and_only_on_request(masks: Path) -> None:
    words = ["pred", "labels", "--classes", "crack", "--output", "out.xlsx", "--workers", 0]
    assert "length_mm" not in scored(*words)["crack"]
    half = scored(*words, "--mm_per_pixel", 0.5)["crack"]
    assert half["length_mm"]["value"] == pytest.approx(half["length_px"]["value"] / 2)
    assert half["width_mm"]["label"]["value"] == pytest.approx(half["width_px"]["label"]["value"] / 2)
    assert half["area_mm2"]["value"] == pytest.approx(half["area_px"]["value"] / 4)
    Path("scale.csv").write_text("image,mm_per_pixel\n0.png,0.5\n1.png,0.25\n2,2\n")
    rows = scored(*words, "--mm_per_pixel", "scale.csv")["per_image"]
    for row, scale in zip(rows, (0.5, 0.25, 2), strict=True):
        assert row["length_mm"]["label"] == pytest.approx(scale * row["length_px"]["label"])


def test_all_codings_of_the_same_masks_score_alike(here: Path) -> None:
    label = np.where(crack_line() == 1, 6, 0).astype(np.uint8)
    label[30:40, 30:40] = 5
    prediction = np.roll(label, 1, 1)
    save(label, here / "split/Labels_grayscale/a.png")
    save(prediction, here / "ids/a.png")
    save(S2DS.colorize(prediction), here / "colors/a_save_mask.png")
    save(255 * (prediction == 6).astype(np.uint8), here / "gray/a.png")
    save((prediction == 6).astype(np.uint8), here / "binary/a.png")
    words = ["--output", "out.xlsx", "--workers", 0]
    contents = [scored(folder, "split", "--classes", "s2ds", *words) for folder in ("ids", "colors")]
    contents += [scored(folder, "split", "--classes", "crack", *words) for folder in ("ids", "gray", "binary")]
    for content in contents:
        assert content["crack"]["lt_iou"] == contents[0]["crack"]["lt_iou"]
        assert content["crack"]["f1_tolerant"] == contents[0]["crack"]["f1_tolerant"]
    assert contents[0]["per_class"][5]["iou"] == pytest.approx(9 / 11) and len(contents[2]["per_class"]) == 2


def spelled(label: np.ndarray, coding: str) -> Image.Image:
    """S2DS ids (H, W) as a picture in one of the ways programs write masks."""
    crack = label == 6
    palette = S2DS.palette.ravel().tolist()
    if coding == "ids":
        return Image.fromarray(label)
    if coding == "colors":
        return Image.fromarray(S2DS.colorize(label))
    if coding in ("palette", "pascal"):
        picture = Image.fromarray(label).convert("P")
        picture.putpalette(palette if coding == "palette" else [0, 0, 0, *range(3, 60)])
        return picture
    if coding == "shuffled":  # what programs that shrink pictures make of colors
        picture = Image.fromarray((6 - label).astype(np.uint8)).convert("P")
        picture.putpalette(S2DS.palette[::-1].ravel().tolist())
        return picture
    if coding == "white_first":
        picture = Image.fromarray((~crack).astype(np.uint8)).convert("P")
        picture.putpalette([255, 255, 255, 0, 0, 0])
        return picture
    levels = {"binary": 1 * crack, "white": 255 * crack, "gray": np.where(crack, 140, 100), "wide": 65535 * crack}
    if coding in levels:
        return Image.fromarray(levels[coding].astype(np.uint16 if coding == "wide" else np.uint8))
    if coding == "bits":
        return Image.fromarray(crack)
    assert coding == "rgb"
    return Image.fromarray(np.dstack([255 * crack.astype(np.uint8)] * 3))


S2DS_CODINGS = ("ids", "colors", "palette", "pascal", "shuffled")
CRACK_CODINGS = ("binary", "white", "gray", "wide", "bits", "rgb", "white_first")


@pytest.fixture
def spellings(here: Path) -> Path:
    """The same predictions and labels in every coding: pred/CODING/N.png and labels/CODING/N.png, the last without crack."""
    for number in range(3):
        label = (6 * crack_line()).astype(np.uint8) if number < 2 else np.zeros((48, 48), np.uint8)
        label[30:40, 30:40], label[2:6, 40:44] = 5, 2
        for side, mask in (("labels", label), ("pred", np.roll(label, number + 1, 1))):
            for coding in (*S2DS_CODINGS, *CRACK_CODINGS):
                file = here / side / coding / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                spelled(mask, coding).save(file)
    return here


def test_any_mix_of_codings_scores_alike(spellings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--output", "out.xlsx", "--workers", 0]
    whole = scored("pred/ids", "labels/ids", *words)
    assert len(whole["per_class"]) == 7 and whole["per_class"][5]["iou"] > 0
    for coding in S2DS_CODINGS:
        assert scored(f"pred/{coding}", "labels/ids", *words)["statistics"] == whole["statistics"], coding
        assert scored("pred/ids", f"labels/{coding}", *words)["statistics"] == whole["statistics"], coding
    crack = scored("pred/ids", "labels/ids", "--classes", "crack", *words)
    assert len(crack["per_class"]) == 2 and crack["crack"]["lt_iou"] == whole["crack"]["lt_iou"]
    for coding in CRACK_CODINGS:
        for sides in (("colors", coding), (coding, "white")):
            found = scored(f"pred/{sides[0]}", f"labels/{sides[1]}", *words)
            assert found["statistics"] == crack["statistics"], sides
    capsys.readouterr()
    scored("pred/gray", "labels/palette", *words)
    said = capsys.readouterr().out.splitlines()[:3]
    expected = ["pred/gray: gray levels above 127 are crack", "3 in labels/palette: ids of s2ds", "Background, Crack"]
    assert [line[9:] for line in said] == expected


def test_one_threshold_for_gray_masks_of_both_sides(spellings: Path) -> None:
    words = ["pred/white", "labels/gray", "--output", "out.xlsx", "--workers", 0]
    assert scored(*words)["per_class"][1]["support"] == 2 * 80
    assert scored(*words, "--mask_threshold", 50)["per_class"][1]["support"] == 3 * 48 * 48
    for number in range(3):
        save(np.array(Image.open(f"labels/white/{number}.png")) // 100, Path(f"two/{number}.png"))
    low = scored("pred/white", "two", "--mask_threshold", 1, *words[2:])
    assert low["statistics"] == scored(*words)["statistics"]


def test_white_is_crack_and_1_is_a_class_where_all_classes_are_asked_for(
    spellings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["labels/ids", "--classes", "s2ds", "--output", "out.xlsx", "--workers", 0]
    white = scored("pred/white", *words)
    assert white["crack"] == scored("pred/ids", *words)["crack"] and white["per_class"][5]["iou"] == 0
    capsys.readouterr()
    assert scored("pred/binary", *words)["per_class"][6]["iou"] == 0
    assert "ids 0 and 1, read as Background and Control Point" in capsys.readouterr().out


def test_ignored_labels_stay_ignored(spellings: Path) -> None:
    for coding, labels in (("ids", "labels/ids"), ("binary", "labels/binary")):
        for number in range(3):
            label = np.array(Image.open(f"{labels}/{number}.png"))
            label[: 2 if number == 0 else 0] = 255
            save(label, Path(f"ignored/{coding}/{number}.png"))
        content = scored(f"pred/{coding}", f"ignored/{coding}", "--output", "out.xlsx", "--workers", 0)
        assert np.sum(content["confusion"]["counts"]) == 46 * 48 + 2 * 48 * 48


def test_a_split_folder_is_read_as_test_py_reads_it(here: Path) -> None:
    """Ids 0 and 1 in Labels_grayscale are background and control points, whatever predictions look like."""
    save(crack_line(), here / "split/Labels_grayscale/a.png")
    save(crack_line() * 255, here / "pred/a.png")
    content = scored("pred", "split", "--classes", "crack", "--output", "out.xlsx", "--workers", 0)
    assert content["per_class"][1]["support"] == 0 and content["crack"]["false_alarm"]["value"] == 1


def test_masks_of_several_codings_in_one_folder_are_refused(
    spellings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def error(one: str, two: str, side: str = "pred") -> str:
        Image.open(f"{side}/{one}/0.png").save("mixed/0.png")
        Image.open(f"{side}/{one}/2.png").save("mixed/2.png")
        Image.open(f"{side}/{two}/1.png").save("mixed/1.png")
        folders = ["mixed", "labels/ids"] if side == "pred" else ["pred/ids", "mixed"]
        return error_of(score.main, [*folders, "--workers", 0], capsys)

    Path("mixed").mkdir()
    found = "mixed: expected masks of one coding, found {} in {}.png and {} in {}.png"
    assert found.format("ids of s2ds", 0, "black and white", 1) in error("ids", "white")
    assert found.format("ids 0 and 1", 1, "black and white", 0) in error("white", "binary", "labels")
    assert found.format("colors of s2ds", 0, "ids of s2ds", 1) in error("colors", "ids")
    assert found.format("ids of s2ds", 1, "gray levels", 0) in error("gray", "ids")
    assert found.format("ids 0 and 1", 0, "gray levels", 1) in error("binary", "gray", "labels")
    assert found.format("colors of s2ds", 1, "gray levels", 0) in error("gray", "colors")


def test_empty_masks_go_with_every_coding(spellings: Path) -> None:
    for number in range(3):
        save(np.zeros((48, 48), np.uint8), Path(f"empty/{number}.png"))
    for coding in ("ids", "colors", "white", "binary"):
        content = scored("empty", f"labels/{coding}", "--output", "out.xlsx", "--workers", 0)
        assert len(content["per_class"]) == (7 if coding in S2DS_CODINGS else 2)
        assert content["crack"]["iou"]["value"] == 0 and content["crack"]["lt_iou"]["4"]["value"] == 0


def predicts_everything(file: Path, photograph: Path) -> None:
    """Shift the logits of a network so that each of its classes is predicted somewhere on a photograph."""
    network = load_checkpoint(file)
    image = torch.from_numpy(network.preprocessing.normalize(read_image(photograph)))
    last = [
        layer for layer in network.model.get_submodule("classifier").modules() if isinstance(layer, torch.nn.Conv2d)
    ][-1]
    with torch.no_grad():
        logits = network.model.eval()(image)["out"][0].flatten(1)
        last.weight /= logits.std(1)[:, None, None, None]
        last.bias.copy_((last.bias - logits.mean(1)) / logits.std(1))
    save_checkpoint(network, file)


@pytest.mark.parametrize("classes", [S2DS, CRACK])
def test_scoring_saved_masks_gives_the_numbers_of_test_py(data: Path, here: Path, classes: ClassSet) -> None:
    predicts_everything(tiny_model(classes=classes), data / "test/Images/000.png")
    test.main([str(data / "test"), *QUICK])
    words = ["--image", str(data / "test/Images"), "--mode", "save_mask", "--save_figure", "--output_dir", "masks"]
    inference.main(words)
    ours = json.loads(Path("results/metrics/tiny.json").read_text())
    assert np.all(np.sum(ours["confusion"]["counts"], 0) > 0)
    theirs = scored("masks", data / "test", "--output", "out.xlsx")
    assert theirs["statistics"] == ours["statistics"] and theirs["crack"] == ours["crack"]
    assert theirs["run"]["data"]["labels"] == ours["run"]["data"]["labels"]


@pytest.mark.parametrize("kind", ["npy", "png"])
def test_calibration_of_stored_probabilities(masks: Path, kind: str) -> None:
    for number in range(3):
        label = np.array(Image.open(f"labels/{number}.png"))
        probability = np.where(label == 1, 0.8, 0.1)
        Path("p").mkdir(exist_ok=True)
        if kind == "npy":
            np.save(f"p/{number}.npy", probability)
        else:
            save(np.round(probability * 65535).astype(np.uint16), Path(f"p/{number}.png"))
    words = ["pred", "labels", "--classes", "crack", "--output", "out.xlsx", "--workers", 0]
    content = scored(*words, "--probabilities", "p")
    share = np.mean([np.array(Image.open(f"labels/{n}.png")).mean() for n in range(3)])
    assert content["crack"]["ece"]["value"] == pytest.approx(0.2 * share + 0.1 * (1 - share), abs=1e-4)
    bins = content["calibration"]["crack"]
    assert [row["frequency"] for row in bins if row["pixels"]] == [0, 1]
    assert Path("out_reliability.png").exists() and "Calibration" in openpyxl.load_workbook("out.xlsx").sheetnames


def test_a_set_without_cracks_and_one_pixel_images_and_mixed_sizes(here: Path) -> None:
    for number, shape in enumerate(((1, 1), (5, 9), (30, 20))):
        save(np.zeros(shape, np.uint8), here / f"labels/{number}.png")
        save(np.zeros(shape, np.uint8), here / f"pred/{number}.png")
    content = scored("pred", "labels", "--output", "out.xlsx", "--workers", 0)
    crack = content["crack"]
    assert crack["lt_iou"]["4"] == {"value": None, "low": None, "high": None} and crack["iou"]["value"] is None
    assert crack["false_alarm"]["value"] == 0 and crack["length_px"]["relative_error"]["value"] is None
    assert content["summary"]["miou"] == 1 and content["per_class"][6]["iou"] is None
    save(np.full((1, 1), 6, np.uint8), here / "labels/0.png")
    assert scored("pred", "labels", "--output", "out.xlsx", "--workers", 0)["crack"]["lt_iou"]["4"]["value"] == 0


def test_mistakes_in_scoring(masks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["pred", "labels", "--classes", "crack", "--output", "out.xlsx", "--workers", 0]

    def error(*more: object) -> str:
        return error_of(score.main, [*words, *more], capsys)

    assert "expected two folders" in error_of(score.main, ["pred"], capsys)
    assert "folder nowhere not found" in error_of(score.main, ["nowhere", "labels"], capsys)
    Path("none").mkdir()
    assert "none: expected image files, found none" in error_of(score.main, ["none", "labels"], capsys)
    Path("scale.csv").write_text("image,mm_per_pixel\n0,0.5\n2,0.5\n")
    assert "scale.csv: no row for the image 1" in error("--mm_per_pixel", "scale.csv")
    Path("scale.csv").write_text("image,mm_per_pixel\n0,0.5\n1,0\n2,0.5\n")
    assert "scale.csv, image 1: expected millimeters per pixel above 0, found 0" in error("--mm_per_pixel", "scale.csv")
    Path("scale.csv").write_text("name,mm\n0,0.5\n")
    assert "expected the columns image,mm_per_pixel, found name,mm" in error("--mm_per_pixel", "scale.csv")
    Path("p").mkdir()
    np.save("p/0.npy", np.full((48, 48), 1.5))
    assert "p: no probabilities for the image 1" in error("--probabilities", "p")
    for number, wrong in ((1, np.zeros((9, 9))), (2, np.zeros((48, 48)))):
        np.save(f"p/{number}.npy", wrong)
    assert "0.npy: expected floats of 0 to 1" in error("--probabilities", "p")
    np.save("p/0.npy", np.zeros((48, 48)))
    assert "1.npy: expected the size of its label, (48, 48), found (9, 9)" in error("--probabilities", "p")
    Path("pred/1.png").rename("pred/9.png")
    assert "1.png: no prediction with the same stem in pred" in error()
    save(np.zeros((5, 48), np.uint8), Path("pred/1.png"))
    assert "pred/1.png: expected the size of its label, 48x48, found 48x5" in error()
    Path("pred/1.png").write_text("no picture")
    assert "pred/1.png: expected a readable image" in error()
    save(np.full((48, 48), 9, np.uint8), Path("pred/1.png"))
    save(crack_line() * 9, Path("pred/0.png"))
    save(crack_line() * 9, Path("pred/2.png"))
    found = "pred: expected masks with crack above 127, found no level above 9: set --mask_threshold below 9"
    assert found in error()
    for number in range(3):
        save(crack_line() * (7 if number == 1 else 6), Path(f"pred/{number}.png"))
    assert "pred/1.png: expected ids 0 to 1, found ignored pixels in a prediction" in error()
    assert "expected ids 0 to 6, found ignored" in error("--classes", "s2ds")
    assert not Path("out.xlsx").exists() and not Path("out.json").exists()


def test_pooled_scores_depend_on_neither_workers_nor_names(here: Path) -> None:
    root = make_data(here / "set", (1, 1, 5), 48)
    for number in range(5):
        save(draw_label(48, RNG), here / f"pred/{number:03d}.png")
    words = ["pred", root / "test", "--output", "out.xlsx"]
    one, two = (scored(*words, "--workers", workers) for workers in (0, 2))
    assert one["crack"] == two["crack"] and one["per_image"] == two["per_image"]
    for number in range(5):  # the same pairs in the reverse order
        for folder in (here / "pred", root / "test/Labels_grayscale"):
            (folder / f"{number:03d}.png").rename(folder / f"x{9 - number}.png")
    reverse = scored("pred", root / "test/Labels_grayscale", "--output", "out.xlsx", "--workers", 0)
    for key in ("lt_iou", "f1_tolerant"):
        pairs = zip(one["crack"][key].values(), reverse["crack"][key].values(), strict=True)
        assert all(a["value"] == b["value"] for a, b in pairs)
    assert reverse["confusion"] == one["confusion"]
