"""A folder through ``inference.py``: the same pictures however many networks and threads work on them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from prune import progress
from prune.api.evaluate import evaluate
from prune.benchmark import folder_speed
from prune.cli import inference
from prune.cli.inference import InferenceOptions, infer
from prune.data.labels import CRACK, S2DS
from prune.deployment.export import export
from prune.deployment.target import ExportTarget
from prune.errors import run
from prune.inference import replicas
from prune.inference.load import load_predictor
from prune.models import build_model
from prune.models.checkpoint import Network, save_checkpoint
from prune.report.figures import color_mask, overlay
from prune.synthetic import draw_scene
from tests.conftest import ROOT, refused


@pytest.fixture(autouse=True)
def _lines_are_shown() -> Iterator[None]:
    progress.show()
    yield
    progress.show(False)


SIZES = [(64, 64), (40, 90), (33, 64), (200, 31), (64, 64), (5, 7), (96, 96), (64, 80)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The microscopic network as ONNX; it predicts several classes."""
    torch.manual_seed(0)
    network = Network(build_model("deeplabv3_tiny", 7, auxiliary=False).eval(), "deeplabv3_tiny", S2DS)
    return export(network, ExportTarget("onnx"), tmp_path_factory.mktemp("onnx") / "tiny.onnx")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of several sizes; do not write into it."""
    folder = tmp_path_factory.mktemp("photos")
    scene = draw_scene(256, np.random.default_rng(0)).image
    for number, (height, width) in enumerate(SIZES):
        Image.fromarray(scene[number : number + height, :width]).save(folder / f"{number}.png")
    return folder


def config(exported: Path, photos: Path, output: str, **options: object) -> InferenceOptions:
    words: dict[str, object] = {"state_dict": str(exported), "image": str(photos), "output_dir": output}
    return InferenceOptions(**{**words, "save_figure": True, **options})  # type: ignore[arg-type]


def contents(folder: str) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(Path(folder).iterdir())}


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["side_by_side", "overlay", "save_mask", "probability"])
def test_files_order_and_counts_do_not_depend_on_networks_and_threads(
    mode: str, exported: Path, photos: Path, here: Path
) -> None:
    ways = {"one": {"networks": 1}, "three": {"networks": 3, "threads": 3}, "measured": {"threads": 2}}
    results = {name: infer(config(exported, photos, name, mode=mode, **options)) for name, options in ways.items()}
    for name in ("three", "measured"):
        assert contents(name) == contents("one")
        assert [file.name for file in results[name].files] == [file.name for file in results["one"].files]
        assert np.array_equal(results[name].pixels, results["one"].pixels)
    stems = [file.name.split("_")[0] for file in results["three"].files]
    assert stems == sorted(stems) and results["three"].images == len(SIZES)


def test_pictures_are_those_of_a_plain_loop(exported: Path, photos: Path, here: Path) -> None:
    predictor = load_predictor(exported)
    for mode in ("overlay", "save_mask"):
        infer(config(exported, photos, "out", mode=mode, networks=2))
    for file in photos.iterdir():
        image = np.array(Image.open(file))
        ids = predictor.class_map(image)
        drawn = np.array(Image.open(f"out/{file.stem}_overlay.png"))
        height, width = ids.shape
        left = (drawn.shape[1] - width) // 2  # the legend of a narrow photograph is wider
        assert np.array_equal(drawn[:height, left : left + width], overlay(image, ids, S2DS))
        assert len(drawn) > height and (drawn[height:, 0] == 255).all()
        mask = Image.open(f"out/{file.stem}_save_mask.png")
        assert np.array_equal(np.asarray(mask), ids)
        assert np.array_equal(np.asarray(mask.convert("RGB")), color_mask(ids, S2DS))


def test_the_format_of_files_and_what_stays_png(
    exported: Path, photos: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = photos / "1.png"
    for mode in ("overlay", "probability", "save_mask"):
        for kind in ("jpg", "webp"):
            infer(config(exported, one, "out", mode=mode, format=kind))
    found = {file.name: Image.open(file).format for file in Path("out").iterdir()}
    assert found == {
        "1_overlay.jpg": "JPEG",
        "1_overlay.webp": "WEBP",
        "1_probability.jpg": "JPEG",
        "1_probability.webp": "WEBP",
        "1_probability_gray.png": "PNG",
        "1_save_mask.png": "PNG",
    }
    assert "masks are written as png: webp would change classes" in capsys.readouterr().out


def test_what_was_taken_is_said_and_measured_on_large_folders(
    exported: Path, photos: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    infer(config(exported, photos, "out", mode="save_mask", networks=2, threads=2))
    assert "running  2 networks of 1 thread\n" in capsys.readouterr().out
    infer(config(exported, photos, "out", mode="save_mask", threads=2))
    assert "running  1 network of 2 threads\n" in capsys.readouterr().out
    monkeypatch.setattr(replicas, "ENOUGH", len(SIZES))
    infer(config(exported, photos, "out", mode="save_mask", threads=2))
    assert ", measured " in capsys.readouterr().out


@pytest.mark.slow
def test_the_scores_of_an_export_do_not_depend_on_networks(
    exported: Path, data: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(replicas, "ENOUGH", 3)
    one, two, chosen = (
        evaluate(exported, data / "test", latency_repeats=0, threads=2, networks=n).content for n in (1, 2, 0)
    )
    assert "running  2 networks of 1 thread\n" in capsys.readouterr().out
    for part in ("per_class", "crack", "per_image"):
        assert one[part] == two[part] == chosen[part]


def test_a_checkpoint_runs_as_one_network(photos: Path, here: Path) -> None:
    torch.manual_seed(0)
    file = save_checkpoint(Network(build_model("deeplabv3_tiny", 2), "deeplabv3_tiny", CRACK), Path("tiny.pth"))
    with refused("--networks: expected 1, PyTorch runs tiny.pth on all threads, found 2"):
        infer(config(file, photos, "out", networks=2))


def test_a_file_that_cannot_be_written_is_one_line_and_nothing_is_half_written(
    exported: Path, photos: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("out/3_save_mask.png").mkdir(parents=True)
    words = ["--state_dict", str(exported), "--image", str(photos), "--mode", "save_mask", "--save_figure"]
    assert run(lambda: inference.main([*words, "--output_dir", "out", "--networks", "2"])) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "cannot write out/3_save_mask.png: " in errors[0]
    assert not [file for file in Path("out").iterdir() if file.name.startswith(".")]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_stops_at_once_with_whole_files_only(exported: Path, here: Path) -> None:
    Path("photos").mkdir()
    for number in range(400):
        Image.fromarray(np.full((300, 400, 3), number % 256, np.uint8)).save(f"photos/{number:03d}.png")
    words = ["--state_dict", exported, "--image", "photos", "--save_figure", "--output_dir", "out", "--networks", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "inference.py"), *map(str, words)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(Path("out").glob("0*.png")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and "interrupted" in errors and "Traceback" not in errors
    written = list(Path("out").iterdir())
    assert 0 < len(written) < 400 and not [file for file in written if file.name.startswith(".")]
    for file in written:
        Image.open(file).load()


@pytest.mark.slow
def test_the_benchmark_makes_photographs_and_a_network_that_finds_some_cracks(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_speed, "SIZE", (64, 96))
    monkeypatch.setattr(folder_speed, "SCENE_SIDE", 128)
    figures = folder_speed.folder_speed(images=6, rounds=1)
    assert [(f.name, f.unit, f.relation, f.bound) for f in figures] == [
        ("folder of photographs: masks", "%", ">=", 85.0),
        ("folder of photographs: overlays as JPEG", "%", ">=", 70.0),
    ]
    assert all(figure.value > 0 and "6 JPEG of 96x64 px, hrsegnet_b16 ONNX INT8" in figure.detail for figure in figures)


def test_without_save_figure_every_picture_is_shown_and_nothing_written(
    exported: Path, photos: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[str, tuple[int, ...]]] = []
    monkeypatch.setattr("prune.report.figures.require_display", lambda: None)
    monkeypatch.setattr("prune.report.figures.show", lambda picture, title: shown.append((title, picture.shape)))
    look = ["--mode", "overlay", "--legend", "False"]
    inference.main(["--state_dict", str(exported), "--image", str(photos), *look])
    assert shown == [(f"{number}.png", (*size, 3)) for number, size in enumerate(SIZES)]
    assert list(here.iterdir()) == []
