"""``prune.load`` and ``prune.predict``: photographs and arrays in, objects to look at, measure and write out."""

import inspect
import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import prune
from prune.api.predict import PredictResult
from prune.api.prediction import Prediction
from prune.data.labels import CRACK, S2DS, ClassSet
from prune.inference.predictor import Card, Predictor
from prune.report.figures import overlay, side_by_side
from tests.conftest import SLOW_RUNTIMES, Exports, refused

RNG = np.random.default_rng(0)


class Threshold(Predictor):
    """A network by hand: dark pixels are cracks."""

    def __init__(self, classes: ClassSet = CRACK) -> None:
        self.card = Card("hand", Path("hand.onnx"), classes, architecture="by <hand>", history=("drawn",))

    def run(self, batch: np.ndarray) -> np.ndarray:
        dark = np.where(batch[:, :1] < 0, 4.0, -4.0).astype(np.float32)
        return np.concatenate([-dark, dark], axis=1)


def line() -> np.ndarray:
    """A light photograph with a horizontal dark line of 5 px from border to border."""
    image = np.full((40, 100, 3), 220, np.uint8)
    image[18:23] = 10
    return image


@pytest.fixture
def hand() -> prune.Model:
    return prune.Model(Threshold())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Exports:
    """The microscopic network as a checkpoint and as exports."""
    return Exports(tmp_path_factory.mktemp("files"), S2DS)


def test_a_prediction_is_looked_at_measured_and_written(hand: prune.Model, tmp_path: Path) -> None:
    image = line()
    found = hand.predict(image)
    expected = (image[..., 0] < 100).astype(np.uint8)
    assert np.array_equal(found.class_map, expected) and found.class_map.dtype == np.uint8
    assert np.array_equal(found.image, image) and found.classes == ("Background", "Crack")
    assert found.shares == {"Background": 0.875, "Crack": 0.125} and "100x40 px" in str(found)
    probability = found.probability("crack")
    assert probability.dtype == np.float32 and probability.shape == (40, 100)
    assert np.array_equal(probability > 0.5, expected == 1)
    assert np.allclose(probability + found.probability("Background"), 1)
    assert np.array_equal(found.overlay(0.3), overlay(image, expected, CRACK, 0.3))
    assert np.array_equal(found.side_by_side(), side_by_side(image, expected, CRACK))
    shown = np.array(Image.open(io.BytesIO(found._repr_png_())))
    assert np.array_equal(shown, found.overlay(legend=True)) and len(shown) > 40
    wide = (shown.shape[1] - 100) // 2
    assert np.array_equal(shown[:40, wide : wide + 100], found.overlay())
    mask = Image.open(found.to_png(str(tmp_path / "new" / "mask.png")))
    assert mask.mode == "P" and np.array_equal(np.asarray(mask), expected)


def test_a_line_of_known_length_and_width_is_measured(hand: prune.Model) -> None:
    measured = hand.predict(line()).measure(mm_per_pixel=0.5)
    assert measured.class_name == "Crack" and measured.components == 1
    assert measured.length_px == pytest.approx(100, abs=2) and measured.width_mean_px == pytest.approx(5, abs=0.3)
    assert measured.width_max_px >= measured.width_mean_px and measured.orientation % 180 == pytest.approx(0, abs=0.1)
    assert (measured.area_px, measured.area_share) == (500, 0.125)
    assert measured.length_mm == 0.5 * measured.length_px and measured.width_mean_mm == 0.5 * measured.width_mean_px
    assert measured.width_max_mm == 0.5 * measured.width_max_px and " mm" in str(measured)
    without = hand.predict(line()).measure()
    assert without.length_mm is without.width_mean_mm is without.width_max_mm is None and " px" in str(without)
    nothing = hand.predict(np.full((9, 9), 255, np.uint8)).measure()
    assert nothing.length_px == 0 and np.isnan(nothing.width_mean_px) and str(nothing) == "Crack: none found"
    assert nothing._repr_html_() == "<p>Crack: none found</p>"


def test_gray_arrays_views_and_lists_are_taken(hand: prune.Model, tmp_path: Path) -> None:
    image = line()
    Image.fromarray(image).save(tmp_path / "a.png")
    whole = hand.predict(image).class_map
    assert np.array_equal(hand.predict(image[..., 0]).class_map, whole)
    assert np.array_equal(hand.predict(image[:, ::-1]).class_map, whole)
    found = hand.predict([tmp_path / "a.png", image, str(tmp_path / "a.png")])
    assert [one.name for one in found] == ["a.png", "", "a.png"]
    assert all(np.array_equal(one.class_map, whole) for one in found)
    assert hand.predict([]) == []
    same = prune.predict(hand, tmp_path / "a.png")
    assert isinstance(same, Prediction) and np.array_equal(same.class_map, whole)
    both = prune.predict(hand, [image, image])
    assert isinstance(both, list) and len(both) == 2


@pytest.mark.parametrize(
    ("photo", "kind", "message"),
    [
        (line().astype(np.float32), TypeError, "photos: expected pixels uint8, 0 to 255, found float32"),
        (line()[..., :2], prune.UserError, r"photos: expected pixels \(H, W, 3\), RGB, .* found \(40, 100, 2\)"),
        (np.zeros((3, 40, 100), np.uint8), prune.UserError, r"found \(3, 40, 100\)"),
        (np.zeros((1, 40, 100, 3), np.uint8), prune.UserError, r"found \(1, 40, 100, 3\)"),
        (np.zeros((0, 9, 3), np.uint8), prune.UserError, r"found \(0, 9, 3\)"),
        (3, TypeError, "photos: expected a path or an array of pixels, found int"),
        (None, TypeError, "found NoneType"),
        (torch.zeros(3, 9, 9), TypeError, "found Tensor"),
        ("nowhere.jpg", prune.UserError, "^photos: nowhere.jpg not found"),
        (".", prune.UserError, "^photos: expected photographs, found the folder .: see prune.predict"),
        ([line(), 1.5], TypeError, r"photos\[1\]: expected a path or an array of pixels, found float"),
    ],
)
def test_other_photographs_are_refused(hand: prune.Model, photo: object, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        hand.predict(photo)  # type: ignore[call-overload]


def test_misuse_of_a_prediction_is_named(hand: prune.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = hand.predict(line())
    with pytest.raises(prune.UserError, match="^class: expected one of Background, Crack, found 'rust'"):
        found.probability("rust")
    with pytest.raises(TypeError, match="class: expected the name of a class, found 1"):
        found.measure(class_name=1)  # type: ignore[arg-type]
    for scale in (0, -1.0, float("nan"), float("inf")):
        with pytest.raises(prune.UserError, match="^mm_per_pixel: expected a number above 0"):
            found.measure(scale)
    for wrong in ("0.2", True):
        with pytest.raises(TypeError, match="mm_per_pixel: expected a number"):
            found.measure(wrong)  # type: ignore[arg-type]
    with pytest.raises(prune.UserError, match="^opacity: expected 0 to 1, found 2"):
        found.overlay(2)
    with pytest.raises(TypeError, match="opacity: expected a number"):
        found.overlay("half")  # type: ignore[arg-type]
    with pytest.raises(prune.UserError, match=r"^path: expected a file that ends in \.png"):
        found.to_png(tmp_path / "a.jpg")
    with pytest.raises(TypeError, match="path: expected a path, found int"):
        found.to_png(3)  # type: ignore[arg-type]
    with pytest.raises(prune.UserError, match="without its network"):
        Prediction(line(), found.class_map, CRACK).probability("crack")
    monkeypatch.setitem(sys.modules, "prune.metrics.measurement", None)
    with pytest.raises(prune.UserError, match="needs SciPy, which is not installed: pip install"):
        found.measure()


@pytest.mark.parametrize("runtime", ["pytorch", "onnx", *SLOW_RUNTIMES])
def test_every_file_is_loaded_and_sees_the_same(files: Exports, runtime: str) -> None:
    image = RNG.integers(0, 256, (64, 96, 3), dtype=np.uint8)
    model = prune.load(str(files[runtime]), device="cpu", threads=1)
    assert model.card.runtime == runtime and model.classes == S2DS
    expected = prune.load(files["pytorch"], device="cpu", threads=1).predict(image).probability("crack")
    assert np.allclose(model.predict(image).probability("crack"), expected, atol=1e-3)
    page = model._repr_html_()
    assert "<td>0.01 M</td>" in page and "0.01 M parameters" in str(model)
    assert "unet" in page and "Efflorescence" in page and runtime in page and runtime in str(model)


@pytest.mark.slow
def test_class_ids_have_no_probability(files: Exports) -> None:
    found = prune.load(files["ids"]).predict(line())
    assert found.class_map.shape == (40, 100)
    with pytest.raises(prune.UserError, match="expected a network that gives logits, found class ids"):
        found.probability("crack")


def test_misuse_of_load_is_named(files: Exports, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"load\(\) has no argument 'treads', did you mean threads"):
        prune.load(files["onnx"], treads=1)
    with pytest.raises(TypeError, match="threads: expected int, found 'two'"):
        prune.load(files["onnx"], threads="two")
    with pytest.raises(TypeError, match="file: expected a path, found Model"):
        prune.load(prune.Model(Threshold()))  # type: ignore[arg-type]
    with refused("--device: expected auto, cpu, cuda or cuda:N, found 'gpu'"):
        prune.load(files["pytorch"], device="gpu")
    with refused("--threads: expected at least 0, found -1"):
        prune.load(files["onnx"], threads=-1)
    with refused("--file: expected a file, found none called nowhere.onnx"):
        prune.load("nowhere.onnx")
    with refused("--classes: expected s2ds, crack"):
        prune.load(files["onnx"], classes="rust")


def test_the_card_of_a_model_shows_text_as_text(hand: prune.Model) -> None:
    assert "by &lt;hand&gt;" in hand._repr_html_() and "drawn" in hand._repr_html_()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photographs of equal names in a folder and its subfolders, beside other files."""
    for name in ("a.png", "a.jpg", "a_png.png", "sub/a.png", "sub/deep/a.png", ".hidden/a.png"):
        file = tmp_path / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(line()).save(file)
    for name in ("notes.txt", "sub/table.csv", ".DS_Store"):
        (tmp_path / "photos" / name).write_text("x")
    return tmp_path / "photos"


def test_a_folder_gives_shares_and_nothing_is_written(hand: prune.Model, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    result = prune.predict(hand, folder)
    assert isinstance(result, PredictResult)
    assert (result.images, result.files, result.broken, result.absent) == (3, [], [], [])
    assert result.shares["Crack"] == pytest.approx(0.125, abs=0.01) and set(result.share_of_photo) == {
        folder / "a.jpg",
        folder / "a.png",
        folder / "a_png.png",
    }
    assert [file.name for file in result.skipped] == ["notes.txt"] and sorted(folder.rglob("*")) == before
    assert "skipped  1 file that is no photograph: notes.txt" in str(result) and "Crack" in result._repr_html_()


def test_subfolders_are_read_and_nothing_is_overwritten(hand: prune.Model, folder: Path, tmp_path: Path) -> None:
    names = ["a_jpg_overlay.png", "a_png_overlay.png", "a_png_2_overlay.png", "sub/a_overlay.png"]
    names.append("sub/deep/a_overlay.png")
    output = folder / "results"  # inside what is read: the second run must not take its own pictures
    for _ in range(2):
        result = prune.predict(hand, folder, mode="overlay", legend=False, recursive=True, output=output)
        assert [str(file.relative_to(output)) for file in result.files] == names
        assert sorted(map(str, result.skipped)) == [str(folder / "notes.txt"), str(folder / "sub/table.csv")]
    for file in result.files:
        assert np.array_equal(np.asarray(Image.open(file)).shape, (40, 100, 3))


def test_a_list_of_files_from_several_folders(hand: prune.Model, folder: Path, tmp_path: Path) -> None:
    some = [folder / "a.png", folder / "sub/a.png", folder / "a.png"]
    result = prune.predict(hand, some, mode="save_mask", output=str(tmp_path / "out"))
    assert [str(file.relative_to(tmp_path / "out")) for file in result.files] == [
        "a_save_mask.png",
        "sub/a_save_mask.png",
    ]
    one = prune.predict(hand, some[0], mode="overlay", output=tmp_path / "out", format="jpg")
    assert [file.name for file in one.files] == ["a_overlay.jpg"] and one.images == 1


def test_each_photograph_is_handed_on_in_order(hand: prune.Model, folder: Path) -> None:
    seen: list[tuple[str, tuple[int, ...]]] = []

    def note(one: object) -> None:
        seen.append((one.photo.name, one.picture.shape))  # type: ignore[attr-defined]

    result = prune.predict(hand, folder, mode="overlay", legend=False, output=None, on_photo=note)
    assert seen == [(name, (40, 100, 3)) for name in ("a.jpg", "a.png", "a_png.png")] and result.images == 3
    assert hand.predictor.stopped is None  # a large photograph can still be cut into tiles


def test_damaged_photographs_are_named(hand: prune.Model, folder: Path) -> None:
    (folder / "b.png").write_text("no picture")
    result = prune.predict(hand, folder)
    assert isinstance(result, PredictResult)
    assert result.images == 3 and len(result.broken) == 1 and "b.png: expected a readable image" in result.broken[0]
    with refused("b.png: expected a readable image"):
        prune.predict(hand, folder / "b.png")


def test_misuse_of_predict_is_named(hand: prune.Model, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"predict\(\) has no argument 'recursiv', did you mean recursive"):
        prune.predict(hand, folder, recursiv=True)
    with pytest.raises(TypeError, match="output: expected a folder, found int"):
        prune.predict(hand, folder, output=3)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="photos: expected files or a folder to make pictures of, found ndarray"):
        prune.predict(hand, line(), output=tmp_path)
    with pytest.raises(TypeError, match=r"photos\[0\]: expected a path to write pictures of, found ndarray"):
        prune.predict(hand, [line()], output=tmp_path)
    with pytest.raises(TypeError, match="model: expected a path, a Model or a torch.nn.Module, found int"):
        prune.predict(3, folder)
    with refused("--mode: expected one of side_by_side"):
        prune.predict(hand, folder, mode="x")
    with refused("--opacity: expected 0 to 1, found 1.5"):
        prune.predict(hand, folder, opacity=1.5)
    with refused("--class: expected one of Background, Crack, found 'rust'"):
        prune.predict(hand, folder, class_name="rust")
    with refused("--photos: nowhere not found"):
        prune.predict(hand, "nowhere", output=tmp_path)
    with refused("--photos: expected at least one photograph, found an empty list"):
        prune.predict(hand, [], output=tmp_path)
    with refused(r"--photos\[0\]: nowhere not found"):
        prune.predict(hand, ["nowhere"], output=tmp_path)
    (tmp_path / "above").mkdir()
    folder.rename(tmp_path / "above" / "photos")
    with refused("--photos: no image files in .*above, but some in its subfolders: add --recursive"):
        prune.predict(hand, tmp_path / "above")


def test_help_lists_the_options_with_the_defaults_of_the_command_line() -> None:
    taken = inspect.signature(prune.predict).parameters
    assert [taken[name].default for name in ("mode", "output", "opacity", "format", "recursive")] == [
        *("side_by_side", None, 0.5, "png", False)
    ]
    taken = inspect.signature(prune.load).parameters
    assert [taken[name].default for name in ("device", "threads", "classes", "trust_pickle", "factory")] == [
        *("auto", 0, None, False, None)
    ]


def test_somebodys_module_predicts(folder: Path) -> None:
    module = nn.Conv2d(3, 2, 1)
    found = prune.predict(module, folder / "a.png")
    assert isinstance(found, Prediction) and found.class_map.shape == (40, 100)
