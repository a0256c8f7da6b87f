"""The command lines as users type them: the whole journey, and one clear line for every mistake."""

import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openpyxl
import pytest
import torch
from PIL import Image
from torch import nn

from prune.cli import defaults, export, inference, inspect, prepare, prune, synthesize, test, train
from prune.data.find_split import find_split
from prune.data.labels import CRACK, S2DS, ClassSet
from prune.errors import run
from prune.files import visible
from prune.inference import predictor as predict
from prune.inference.torch import TorchPredictor
from prune.models import build_model
from prune.models.checkpoint import Network, load_checkpoint, save_checkpoint
from tests.conftest import TINY, command, draw_label, make_data, write_pair

RNG = np.random.default_rng(0)
QUICK = ["--latency_repeats", "0"]


SHORT = ("--finetune_epochs", "1", "--crop_size", "64", "--batch_size", "4", "--workers", "0")
"""Flags of a study that takes seconds."""


def tiny_model(name: str = "tiny", classes: ClassSet = S2DS) -> Path:
    torch.manual_seed(0)
    network = Network(build_model("deeplabv3_tiny", len(classes)), "deeplabv3_tiny", classes)
    return save_checkpoint(network, Path(f"results/models/{name}.pth"))


def error_of(main: Callable[[list[str]], None], words: list[object], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail with exit code 2 and exactly one line on stderr; returns the line."""
    try:
        code = run(lambda: main([str(w) for w in words]))
    except SystemExit as stop:
        code = int(stop.code or 0)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert code == 2 and len(lines) == 1
    return lines[0]


@pytest.mark.slow
def test_the_whole_journey(data: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "data").mkdir()
    (here / "data/S2DS").symlink_to(data)

    def script(*words: object) -> str:
        finished = command(*words, cwd=here)
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    script("train.py", *TINY, "--epochs", 2, "--weights", "none")
    said = script("torchvision_pruning.py", "--pruning_ratio", 50, "--importance_type", "Taylor", "--latency_size", 64)
    assert "parameters M" in said and "-7" in said and "share" not in said
    tune = [str(data / "train"), str(data / "val"), "tuned", "--pruned_model", "dense_taylor_50", *TINY]
    train.main([*tune, "--epochs", "1"])
    script("test.py", "--use_pruned", "--latency_size", 64)
    overlay = ["--mode", "overlay", "--legend", "False"]
    script("inference.py", "--image", data / "test/Images", *overlay, "--save_figure", "True")
    capsys.readouterr()
    inspect.main(["tuned"])
    card = capsys.readouterr().out
    assert "prune: Taylor 50% of channels, local, 1 step(s)" in card and "fine-tune: on" in card
    content = json.loads(Path("results/metrics/tuned.json").read_text())
    assert {"summary", "per_class", "confusion", "crack", "per_image", "run"} <= content.keys()
    assert {"class", "iou", "precision", "recall", "f1", "support", "boundary_f1"} <= content["per_class"][0].keys()
    assert content["summary"]["latency_ms"] > 0 and content["summary"]["images"] == 3
    assert np.sum(content["confusion"]["counts"]) == 3 * 64 * 64
    assert content["run"]["data"]["fingerprint"] == find_split(data / "test", S2DS).fingerprint()
    assert openpyxl.load_workbook("results/metrics/tuned.xlsx").sheetnames[0] == "Summary"
    for stem in ("000", "001", "002"):
        assert Image.open(f"results/figures/{stem}_overlay.png").size == (64, 64)
    report = json.loads(Path("results/pruning/dense_taylor_50.json").read_text())
    assert report["after"]["macs"] < 0.3 * report["before"]["macs"] and report["after"]["latency_ms"] > 0
    assert len(Path("results/pruning/dense_taylor_50.csv").read_text().splitlines()) == len(report["layers"]) + 1


def test_ratio_zero_saves_the_same_network(data: Path, here: Path) -> None:
    tiny_model()
    prune.main(
        ["--pruning_ratio", "0", "--state_dict", "tiny", "--model_name", "same", "--data_dir", str(data), *QUICK]
    )
    states = [load_checkpoint(Path(f"results/models/{n}.pth")).model.state_dict() for n in ("tiny", "same")]
    assert all(torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True))


@pytest.mark.slow
def test_iterative_pruning_with_training_between_steps(data: Path, here: Path) -> None:
    tiny_model()
    words = ["--iterative_steps", "2", "--finetune_epochs_per_step", "1", "--batches", "2", "--keep_feature_extract"]
    prune.main(["--data_dir", str(data), "--state_dict", "tiny", "--model_name", "steps", *words, *QUICK])
    network = load_checkpoint(Path("results/models/steps.pth"))
    assert network.model.backbone.conv1.out_channels == 32


def test_in_a_bare_clone_data_and_network_come_by_themselves(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(defaults, "DEMO_IMAGES", 6)
    monkeypatch.setattr(defaults, "DEMO_SIZE", 64)
    prune.main(["--pruning_ratio", "50", "--importance_type", "Taylor", "--model", "deeplabv3_tiny", *QUICK])
    test.main(["--use_pruned", *QUICK])
    said = capsys.readouterr().out
    assert "generating 6 synthetic images in data/demo" in said and "a fresh deeplabv3_tiny" in said
    assert Path("results/metrics/deeplabv3_tiny_taylor_50.xlsx").exists()


@pytest.mark.slow
def test_a_network_of_two_classes_goes_through_every_verb(
    data: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train.main([str(data), str(data), "two", *TINY, "--weights", "none", "--classes", "crack", "--epochs", "1"])
    assert "7 classes read as the 2 of crack" in capsys.readouterr().out
    prune.main(
        ["--state_dict", "two", "--model_name", "small", "--data_dir", str(data), "--pruning_ratio", "50", *QUICK]
    )
    train.main([str(data), str(data), "tuned", *TINY, "--pruned_model", "small", "--epochs", "1"])
    test.main([str(data), "--weights", "two", "tuned", *QUICK])
    content = json.loads(Path("results/metrics/tuned.json").read_text())
    assert content["confusion"]["classes"] == ["Background", "Crack"] and content["summary"]["crack_iou"] is not None
    words = ["--pruned_model", "small", "--classes", "s2ds"]
    assert "has the classes Background, Crack" in error_of(train.main, [data, data, "x", *words], capsys)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--pruning_ratio", 100], "--pruning_ratio: expected at most 99, found 100"),
        (["--pruning_ratio", -1], "--pruning_ratio: expected at least 0, found -1"),
        (["--pruning_ratio", "abc"], "argument --pruning_ratio: invalid float value: 'abc'"),
        (
            ["--importance_type", "Magic"],
            "--importance_type: expected one of Taylor, Magnitude, Random, FPGM, BNScale, LAMP, Hessian, Jacobian, found 'Magic'",
        ),
        (["--state_dict", "nowhere"], "model file nowhere not found (looked for nowhere, results/models/nowhere"),
        (["--state_dict", "tiny", "--model_name", "tiny"], "would overwrite the model being pruned"),
        (
            ["--state_dict", "tiny", "--pruning_ratio", 1, "--round_to", 64, "--importance_type", "Random"],
            "nothing shrank",
        ),
        (["--model_name", "../x"], "--model_name: expected a plain file name without folders, found '../x'"),
        (["--state_dict", "other"], "expected some of them, found the classes soil, moss"),
        (
            ["--state_dict", "tiny", "--model", "unet"],
            "expected a checkpoint of unet (--model), found one of deeplabv3_tiny",
        ),
        (["--keep_feature_extract", "maybe"], "expected True or False, found 'maybe'"),
    ],
)
def test_mistakes_in_pruning(
    data: Path, here: Path, words: list[object], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_model()
    tiny_model("other", ClassSet("ground", ("soil", "moss"), ((0, 0, 0), (255, 255, 255))))
    before = sorted(Path("results/models").iterdir())
    assert message in error_of(prune.main, [*words, "--data_dir", data, *QUICK], capsys)
    assert visible(Path("results/models"), "*") == before
    assert not [path for path in Path("results").rglob(".*") if path.suffix != ".lock"]  # nothing half-written


def test_mistakes_in_testing(data: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_model()
    assert "data folder nowhere not found" in error_of(test.main, ["nowhere"], capsys)
    assert "no pruned checkpoint in results/models" in error_of(test.main, [data / "test", "--use_pruned"], capsys)
    assert "ending in .xlsx" in error_of(test.main, [data / "test", "--output", "a.csv"], capsys)
    assert "model file a not found" in error_of(test.main, ["--weights", "a", "--pruned_model", "tiny"], capsys)
    twice = ["--weights", "tiny", "--pruned_model", "results/models/tiny.pth"]
    assert "two files called tiny" in error_of(test.main, [data / "test", *twice], capsys)
    for flag, value, message in (
        ("--tolerances", "0,-2", "expected different numbers from 0 to 64, found 0,-2"),
        ("--tolerances", "2,x", "expected whole numbers separated by commas, found '2,x'"),
        ("--mm_per_pixel", "0", "expected millimeters per pixel above 0, found 0"),
        ("--mm_per_pixel", "-1.5", "expected millimeters per pixel above 0, found -1.5"),
        ("--mm_per_pixel", "wide", "expected a number of millimeters per pixel, found 'wide'"),
        ("--mm_per_pixel", "none.csv", "file none.csv not found"),
        ("--protocol", "loose", "expected one of plain, s2ds"),
        ("--boundary_px", "0", "expected at least 1, found 0"),
    ):
        assert message in error_of(test.main, [data / "test", f"{flag}={value}"], capsys)
    torch.save(nn.Conv2d(1, 1, 1), "module.pth")
    assert "--trust_pickle" in error_of(test.main, [data / "test", "--weights", "module.pth"], capsys)
    assert "--device cuda:77" in error_of(test.main, [data / "test", "--device", "cuda:77"], capsys)
    assert not Path("results/metrics").exists()


def test_mistakes_in_the_data_stop_training_before_anything_is_lost(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_data(here / "set", (3, 2, 2))
    words = [root / "train", root / "val", "a", *TINY, "--epochs", 1, "--weights", "none"]
    label = root / "train/Labels_grayscale/001.png"
    good = label.read_bytes()
    bad = draw_label(64, RNG)
    bad[0, 0] = 99
    Image.fromarray(bad).save(label)
    assert "001.png: expected ids 0 to 6 or 7/255 (ignored), found 99" in error_of(train.main, words, capsys)
    label.unlink()
    assert "001.png: no label with the same stem" in error_of(train.main, words, capsys)
    label.write_bytes(good)
    (root / "train/Images/002.png").write_text("no picture")
    assert "002.png: expected a readable image" in error_of(train.main, words, capsys)
    assert not Path("results/models/a.pth").exists()


@pytest.mark.skipif(os.name != "posix", reason="uses a file where a folder should be")
def test_output_that_cannot_be_written(data: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_model()
    (here / "file").write_text("")
    assert "cannot create the folder file/x" in error_of(
        test.main, [data / "test", "--output", "file/x/a.xlsx", *QUICK], capsys
    )
    words = ["--image", data / "test/Images", "--save_figure", "--output_dir", "file/x"]
    assert "cannot create the folder file/x" in error_of(inference.main, words, capsys)


def test_a_folder_without_permission_is_named(
    data: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_model()

    def denied(self: Path, *arguments: object, **options: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_text", denied)
    assert "cannot write results/metrics/.writable: Permission denied" in error_of(test.main, [data / "test"], capsys)


def test_looking_at_one_image_and_a_folder(data: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_model()
    folder = here / "photos"
    folder.mkdir()
    Image.fromarray(RNG.integers(0, 256, (40, 90, 3), dtype=np.uint8)).save(folder / "a.jpg")
    Image.fromarray(RNG.integers(0, 256, (33, 21), dtype=np.uint8)).save(folder / "a.png")
    inference.main(["--image", str(folder), "--mode", "save_mask", "--save_figure", "--output_dir", "out"])
    assert Image.open("out/a_jpg_save_mask.png").size == (90, 40)
    assert Image.open("out/a_png_save_mask.png").size == (21, 33)
    assert "2 image(s): " in capsys.readouterr().out
    inference.main(["--image", str(folder / "a.jpg"), "--save_figure"])
    assert Path("results/figures/a_side_by_side.png").exists()


def test_mistakes_in_looking(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert "no display: add --save_figure" in error_of(inference.main, ["--image", "a"], capsys)
    tiny_model()
    (here / "empty").mkdir()
    (here / "text.png").write_text("text")
    saving = ["--save_figure"]
    assert "--image: nowhere not found" in error_of(inference.main, ["--image", "nowhere", *saving], capsys)
    assert "no image files in empty" in error_of(inference.main, ["--image", "empty", *saving], capsys)
    assert "text.png: expected a readable image" in error_of(inference.main, ["--image", "text.png", *saving], capsys)
    assert "--opacity: expected 0 to 1" in error_of(inference.main, ["--opacity", 2, *saving], capsys)
    assert "--mode: expected one of side_by_side" in error_of(inference.main, ["--mode", "x", *saving], capsys)


def test_a_broken_photograph_does_not_stop_the_others(
    data: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_model()
    Path("photos").mkdir()
    for name in ("a.png", "c.png"):
        (here / "photos" / name).write_bytes((data / "test/Images/000.png").read_bytes())
    Path("photos/b.png").write_text("no picture")
    words = ["--image", "photos", "--mode", "save_mask", "--save_figure"]
    assert run(lambda: inference.main(words)) == 1
    said = capsys.readouterr()
    assert "1 of 3 photographs could not be read: photos/b.png: expected a readable image" in said.err
    assert "2 image(s)" in said.out and len(list(Path("results/figures").glob("*.png"))) == 2
    assert run(lambda: inference.main(["--image", "photos/b.png", *words[2:]])) == 2


def test_large_images_are_tiled_and_covered_exactly(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "WHOLE_SIDE", 100)
    monkeypatch.setattr(predict, "TILE", 64)
    predictor = TorchPredictor(load_checkpoint(tiny_model()), torch.device("cpu"))
    sizes: list[tuple[int, int]] = []
    forward = predictor.forward
    monkeypatch.setattr(predictor, "forward", lambda image: sizes.append(tuple(image.shape[:2])) or forward(image))
    image = RNG.integers(0, 256, (150, 101, 3), dtype=np.uint8)
    covered = np.zeros((150, 101), dtype=int)
    for window in predictor.windows(image):
        covered[window.rows, window.columns] += 1
        assert window.logits.shape[1:] == covered[window.rows, window.columns].shape
        assert np.isfinite(window.logits).all()
    assert (covered == 1).all() and set(sizes) == {(64, 64)}
    assert predictor.class_map(image).shape == (150, 101)


@pytest.mark.parametrize(("length", "tile"), [(10, 64), (64, 64), (65, 64), (150, 64), (1000, 96), (5, 4)])
def test_tiles_cover_an_axis_with_overlap(length: int, tile: int) -> None:
    starts = predict.tile_starts(length, tile)
    assert starts[0] == 0 and starts[-1] + tile >= length and starts == sorted(set(starts))
    assert all(b - a <= max(1, 0.75 * tile + 0.5) for a, b in itertools.pairwise(starts))


def test_tiles_see_what_the_whole_network_sees(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a network whose view is one pixel, tiled and whole prediction agree everywhere."""

    class Pointwise(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.classifier = nn.Conv2d(3, 7, 1)
            self.aux_classifier = None

        def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"out": self.classifier(image)}

    predictor = TorchPredictor(Network(Pointwise(), "pointwise"), torch.device("cpu"))
    image = RNG.integers(0, 256, (130, 90, 3), dtype=np.uint8)
    whole = predictor.class_map(image)
    for name, value in (("WHOLE_SIDE", 50), ("TILE", 40)):
        monkeypatch.setattr(predict, name, value)
    assert np.array_equal(predictor.class_map(image), whole)


@pytest.mark.slow
def test_a_sixty_megapixel_photograph_is_segmented_in_bounded_memory(here: Path) -> None:
    tiny_model()
    Image.fromarray(np.zeros((6000, 10000, 3), dtype=np.uint8)).save("large.png")
    words = ["--image", "large.png", "--mode", "save_mask", "--save_figure"]
    finished = command("inference.py", *words, cwd=here, timeout=1200)
    assert finished.returncode == 0, finished.stderr
    Image.MAX_IMAGE_PIXELS = None
    assert Image.open("results/figures/large_save_mask.png").size == (10000, 6000)


def test_prepare_converts_the_official_layout(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    label = draw_label(32, RNG)
    for name in ("train", "test"):
        write_pair(here / "colors", "005", label, np.random.default_rng(0), "colors")
        flat = here / "official" / name
        flat.mkdir(parents=True)
        (flat / "005.png").write_bytes((here / "colors/Images/005.png").read_bytes())
        (flat / "005_lab.png").write_bytes((here / "colors/Labels_RGB/005.png").read_bytes())
    prepare.main(["official", "S2DS"])
    for name in ("train", "test"):
        split = find_split(here / "S2DS" / name, S2DS)
        assert split.layout == "ids" and np.array_equal(split.read_label(split.pairs[0]), label)
        assert (split.folder / "Images/005.png").read_bytes() == (here / "official" / name / "005.png").read_bytes()
    assert "train     1 pairs from NNN.png + NNN_lab.png" in capsys.readouterr().out
    assert "already contains files" in error_of(prepare.main, ["official", "S2DS"], capsys)
    assert "expected two folders" in error_of(prepare.main, ["official"], capsys)


def test_small_commands(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    synthesize.main(["out", "--images", "3", "--size", "64", "--seed", "1"])
    assert "3 images (train 1, val 1, test 1) in out" in capsys.readouterr().out
    assert "expected a folder to write to" in error_of(synthesize.main, [], capsys)
    inspect.main([])
    assert "crack, which comes with the package (results/models holds no checkpoint)" in capsys.readouterr().out
    assert "no checkpoint in results/models: make one with python train.py" in error_of(export.main, [], capsys)
    finished = command("-m prune", "fly", cwd=here)
    assert finished.returncode == 2 and finished.stderr.startswith(
        "error: unknown command 'fly': expected one of train"
    )


@pytest.mark.slow
def test_study_tabulates_every_criterion_and_goes_on_where_it_stopped(
    data: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from prune.cli import study

    words = [
        str(data),
        "s",
        "--criteria",
        "L1,Random",
        "--model",
        "deeplabv3_tiny",
        "--weights",
        "none",
        "--epochs",
        "1",
    ]
    words += [*SHORT, "--latency_size", "64"]
    words += ["--latency_repeats", "1", "--figures", "2"]
    study.main(words)
    table = json.loads(Path("results/studies/s/table.json").read_text())
    untuned = "not fine-tuned"
    assert [(row["method"], row["level"], row["options"]) for row in table["rows"]] == [
        ("dense", "", ""),
        ("L1", "50%", ""),
        ("L1", "50%", untuned),
        ("Random", "50%", ""),
        ("Random", "50%", untuned),
        ("from scratch", "50%", ""),
    ]
    assert not table["failed"] and table["rows"][0]["verdict"] == "baseline"
    models = {f"s_{name}.pth" for name in ("dense", "l1", "l1_finetuned", "random", "random_finetuned")}
    assert {file.name for file in Path("results/models").glob("*.pth")} == models
    figures = [Path(f"results/figures/s_{name}.png") for name in ("comparison", "errors")]
    with Image.open(figures[0]) as sheet:
        assert sheet.width > 4 * 96 and sheet.height > 2 * 96
    assert figures[1].exists()
    capsys.readouterr()
    study.main(words)
    assert f"{len(list(Path('results/studies/s/trials').iterdir()))} of them done before" in capsys.readouterr().out
    assert "criteria L7: importance_type: expected one of Taylor" in error_of(
        study.main, [data, "--criteria", "L7"], capsys
    )


@pytest.mark.slow
def test_a_study_of_a_checkpoint_trains_no_dense_network(
    data: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from prune.cli import study

    tiny_model("mine", CRACK)
    words = [str(data), "s", "--dense", "mine", "--criteria", "L1", "--controls", "False", "--figures", "0"]
    words += [*SHORT, "--classes", "crack"]
    words += ["--latency_size", "64", "--latency_repeats", "1", "--jobs", "1"]
    study.main(words)
    facts = json.loads(Path("results/studies/s/study.json").read_text())
    assert [trial["kind"] for trial in facts["trials"].values()].count("given") == 1
    assert "train" not in {trial["kind"] for trial in facts["trials"].values()}
    assert Path("results/models/s_dense.pth").read_bytes() == Path("results/models/mine.pth").read_bytes()
    rows = json.loads(Path("results/studies/s/table.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["dense", "L1", "L1"]
    Path("results/models/s_l1.pth").write_bytes(b"another")
    capsys.readouterr()
    study.main(words)
    assert "s_l1.pth holds another network and stays: add --force to replace it" in capsys.readouterr().out
    assert Path("results/models/s_l1.pth").read_bytes() == b"another"
    study.main([*words, "--force"])
    assert Path("results/models/s_l1.pth").read_bytes() != b"another"
