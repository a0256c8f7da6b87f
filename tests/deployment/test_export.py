"""From checkpoint to file to picture: every runtime gives what the network gives, or the command fails."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from prune.cli import compare, export, inference, test, train
from prune.data.labels import CRACK, S2DS
from prune.data.preprocessing import Preprocessing
from prune.deployment.export import export as write_export
from prune.deployment.target import ExportTarget, metadata
from prune.errors import UserError
from prune.inference.load import load_predictor
from prune.inference.openvino import has_openvino_bf16
from prune.inference.torch import TorchPredictor
from prune.models import build_model
from prune.models.checkpoint import Network, load_checkpoint, save_checkpoint
from prune.models.unet import UNet
from tests.cli.test_commands import error_of, tiny_model
from tests.conftest import PINNED, ROOT, TENSORRT, refused

RNG = np.random.default_rng(0)
FIXED = (64, 96)


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network that has learned the colors of the generated classes."""
    folder, here = tmp_path_factory.mktemp("trained"), Path.cwd()
    words = [data / "train", data / "val", "tiny", "--model", "deeplabv3_tiny", "--weights", "none", "--epochs", 10]
    words += ["--batch_size", 4, "--crop_size", 64, "--workers", 0, "--lr", 5e-3, "--patience", 0, *PINNED]
    os.chdir(folder)
    try:
        train.main([str(word) for word in words])
    finally:
        os.chdir(here)
    return folder / "results/models/tiny.pth"


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network as an ONNX file for images of any size."""
    return write_export(
        load_checkpoint(trained), ExportTarget("onnx"), tmp_path_factory.mktemp("exported") / "tiny.onnx"
    )


@pytest.fixture(scope="module")
def plain(trained: Path, exported: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Path]:
    """ONNX files by the size they take."""
    fixed = tmp_path_factory.mktemp("fixed") / "tiny.onnx"
    return {None: exported, FIXED: write_export(load_checkpoint(trained), ExportTarget("onnx", size=FIXED), fixed)}


def photo(height: int = 70, width: int = 101) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


NO_BF16 = pytest.mark.skipif(not has_openvino_bf16(), reason="this CPU has no bfloat16")
CASES = [
    ("onnx", "fp32", None),
    ("onnx", "int8", FIXED),
    pytest.param("openvino", "fp16", FIXED, marks=pytest.mark.slow),
    pytest.param("openvino", "bf16", None, marks=[NO_BF16, pytest.mark.slow]),
    ("openvino", "int8", None),
    pytest.param("ncnn", "fp32", None, marks=pytest.mark.slow),
    pytest.param("ncnn", "fp16", FIXED, marks=pytest.mark.slow),
    pytest.param("pt2", "fp32", None, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("runtime", "precision", "size"), CASES)
def test_every_runtime_gives_what_the_network_gives(
    trained: Path,
    plain: dict[Any, Path],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    runtime: str,
    precision: str,
    size: tuple[int, int] | None,
) -> None:
    # OpenVINO and INT8 start from the same ONNX file, and tracing is what takes the time.
    monkeypatch.setattr(
        "prune.deployment.onnx.write_onnx", lambda _, target, file: shutil.copy(plain[target.size], file)
    )
    network = load_checkpoint(trained)
    photos = [np.array(Image.open(file)) for file in sorted((data / "train/Images").iterdir())]
    batches = [Preprocessing().normalize(np.tile(p, (1, 2, 1))[:64, :96]) for p in photos]
    target = ExportTarget(runtime, precision, size)
    file = write_export(network, target, tmp_path / f"tiny{target.suffix}", batches=batches)
    predictor = load_predictor(file, threads=1)
    card = predictor.card
    assert (card.classes, card.precision, card.size, card.architecture) == (S2DS, precision, size, "deeplabv3_tiny")
    assert card.parameters and card.history == tuple(network.history()) and next(iter(card.macs.values())) > 0
    reference = TorchPredictor(load_checkpoint(trained), torch.device("cpu"))
    reference.card = replace(reference.card, size=size)
    image = np.tile(photos[0], (2, 2, 1))[:70, :101]
    found, expected = predictor.class_map(image), reference.class_map(image)
    assert found.shape == (70, 101) and len(np.unique(expected)) > 1
    if size is None:
        first, second = predictor.to_numpy(predictor.forward(image)), reference.to_numpy(reference.forward(image))
        assert np.abs(first - second).max() < (1e-3 if precision == "fp32" else np.abs(second).max())
    assert (found == expected).mean() >= {"fp32": 0.999, "bf16": 0.98, "fp16": 0.99, "int8": 0.9}[precision]


@pytest.mark.slow
def test_exporting_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Network(build_model("deeplabv3_tiny", 7).train(), "deeplabv3_tiny")
    write_export(network, ExportTarget("pt2"), tmp_path / "a.pt2")
    assert network.model.training and network.auxiliary


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnx", "pt2"])
def test_the_class_map_can_be_made_inside_the_file(trained: Path, tmp_path: Path, runtime: str) -> None:
    network, target = load_checkpoint(trained), ExportTarget(runtime, argmax=True)
    file = write_export(network, target, tmp_path / f"a{target.suffix}")
    image = photo()
    expected = TorchPredictor(network, torch.device("cpu")).class_map(image)
    assert expected.any() and (load_predictor(file).class_map(image) == expected).all()
    assert json.loads(metadata(network, target))["output"] == "class ids"


@pytest.mark.slow
def test_the_graph_is_folded_and_holds_what_tensorrt_documents(trained: Path, exported: Path, tmp_path: Path) -> None:
    batches = [Preprocessing().normalize(photo(64, 64))]
    quantized = write_export(
        load_checkpoint(trained), ExportTarget("onnx", "int8"), tmp_path / "int8.onnx", batches=batches
    )
    for precision, file in (("int8", quantized), ("fp32", exported)):
        model = onnx.load(str(file))
        operators = {node.op_type for node in model.graph.node}
        assert operators <= TENSORRT and "BatchNormalization" not in operators
        assert ("QuantizeLinear" in operators) == (precision == "int8")
        shape = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
        assert shape[1] == 3 and all(isinstance(shape[i], str) for i in (0, 2, 3))
    predictor = load_predictor(exported)
    batch = RNG.standard_normal((3, 3, 40, 56)).astype(np.float32)
    together = predictor.run(batch)
    assert together.shape == (3, 7, 40, 56) and np.allclose(together[1:2], predictor.run(batch[1:2]), atol=1e-4)


@pytest.mark.slow
def test_export_test_and_inference_by_command(
    trained: Path, data: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(load_checkpoint(trained), Path("results/models/tiny.pth"))
    export.main(["tiny", "--data", str(data)])
    said = capsys.readouterr().out
    assert "100.000%" in said and "trtexec --onnx=results/exports/tiny.onnx" in said and "untested" in said
    report = json.loads(Path("results/exports/tiny.onnx.json").read_text())
    assert report["passed"] is True and report["parity"]["agreement"] >= 0.999 and report["parity"]["images"] == 3
    assert report["parity"]["reference"]["miou"] == pytest.approx(report["parity"]["exported"]["miou"], abs=1e-3)
    quick = ["--latency_size", "64", "--latency_repeats", "1"]
    test.main([str(data / "test"), "--weights", "tiny", "tiny.onnx", *quick])
    rows = json.loads(Path("results/metrics/comparison.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ["tiny", "tiny.onnx"] and rows[1]["verdict"] == "kept"
    assert rows[1]["parameters"] == rows[0]["parameters"] and rows[1]["latency_ms"] > 0
    summary = json.loads(Path("results/metrics/tiny.onnx.json").read_text())["summary"]
    assert summary["runtime"] == "onnx fp32" and summary["loss"] == pytest.approx(rows_loss(), rel=1e-3)
    compare.main(["tiny", "tiny.onnx", "--output", "c.xlsx"])
    words = ["--image", str(data / "test/Images"), "--mode", "save_mask", "--save_figure"]
    inference.main(["--state_dict", "tiny.onnx", *words, "--output_dir", "onnx"])
    inference.main(["--state_dict", "tiny", *words, "--output_dir", "torch"])
    for file in sorted(Path("torch").iterdir()):
        pair = [np.array(Image.open(folder / file.name)) for folder in (Path("onnx"), Path("torch"))]
        assert (pair[0] == pair[1]).mean() > 0.999


def rows_loss() -> float:
    return json.loads(Path("results/metrics/tiny.json").read_text())["summary"]["loss"]


@pytest.mark.slow
def test_a_file_that_fails_the_gate_does_not_get_its_name(
    trained: Path, data: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(load_checkpoint(trained), Path("results/models/tiny.pth"))
    error = error_of(export.main, ["tiny", "--data", data, "--to", "pt2", "--min_agreement", 100.1], capsys)
    assert "tiny.pt2 does not match the network: agreement of the class maps" in error and "expected >= 100.1%" in error
    assert [file.name for file in Path("results/exports").glob("[!.]*")] == ["tiny.pt2.json"]
    assert json.loads(Path("results/exports/tiny.pt2.json").read_text())["passed"] is False


@pytest.mark.slow
def test_accuracy_control_keeps_sensitive_layers_in_float(trained: Path, data: Path, here: Path) -> None:
    save_checkpoint(load_checkpoint(trained), Path("results/models/tiny.pth"))
    words = ["tiny", "--data", str(data), "--to", "openvino", "--precision", "int8", "--max_drop", "0.5"]
    export.main([*words, "--max_miou_drop", "100", "--max_crack_drop", "100"])
    assert Path("results/exports/tiny_int8.xml").is_file() and Path("results/exports/tiny_int8.bin").is_file()


def test_mistakes_in_exporting(data: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_model()

    def error(*words: object) -> str:
        return error_of(export.main, ["tiny", "--data", data, *words], capsys)

    assert "--precision: onnx has fp32, int8, found 'fp16'" in error("--precision", "fp16")
    assert "--precision: ncnn has fp32, fp16, found 'bf16'" in error("--to", "ncnn", "--precision", "bf16")
    assert "expected dynamic, or height and width in px, found big" in error("--size", "big")
    assert "at least 32 px" in error("--size", 16, 64)
    assert "ending in .onnx, found 'a.xml'" in error("--output", "a.xml")
    few = error("--precision", "int8", "--calibration_images", 50)
    assert f"expected 50 photographs in {data / 'train'}, found 8" in few
    assert "model file nothing not found" in error_of(export.main, ["nothing", "--data", data], capsys)
    assert not Path("results/exports").exists() or not list(Path("results/exports").iterdir())
    Path("bad.onnx").write_bytes(b"no network")
    Path("bad.xml").write_text("<net>")
    words = ["--image", data / "test/Images", "--mode", "save_mask", "--save_figure"]
    assert "bad.onnx: expected an ONNX network" in error_of(
        inference.main, ["--state_dict", "bad.onnx", *words], capsys
    )
    assert "its weights bad.bin are missing" in error_of(inference.main, ["--state_dict", "bad.xml", *words], capsys)
    Path("bad.bin").write_bytes(b"")
    assert "bad.xml: expected an OpenVINO network" in error_of(
        inference.main, ["--state_dict", "bad.xml", *words], capsys
    )
    Path("bad.pt2").write_bytes(b"PK")
    assert "bad.pt2: expected an exported program" in error_of(
        inference.main, ["--state_dict", "bad.pt2", *words], capsys
    )


@pytest.fixture(scope="module")
def for_ncnn(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network for ncnn, for images of any size."""
    return write_export(
        load_checkpoint(trained), ExportTarget("ncnn"), tmp_path_factory.mktemp("ncnn") / "a.ncnn.param"
    )


@pytest.mark.slow
def test_mistakes_with_ncnn(for_ncnn: Path, here: Path) -> None:
    graph, weights = for_ncnn.read_text().splitlines(keepends=True), for_ncnn.with_suffix(".bin").read_bytes()
    file = here / "b.ncnn.param"

    def mistake(text: str, content: bytes) -> str:
        file.write_text(text)
        file.with_suffix(".bin").write_bytes(content)
        with pytest.raises(UserError) as raised:
            load_predictor(file)
        return raised.value.message

    whole = "".join(graph)
    assert "damaged or of different networks" in mistake(whole, weights[: len(weights) // 2])
    assert "damaged or of different networks" in mistake("".join([*graph[:9], graph[-1]]), weights)
    assert "its first line 7767517 is missing" in mistake("a graph", weights)
    assert "expected version, found none" in mistake(whole.replace('"version"', '"revision"'), weights)
    assert "add --classes" in mistake("".join(graph[:-1]), weights)
    assert np.isfinite(load_predictor(file, classes=S2DS).run(np.zeros((2, 3, 48, 80), np.float32))).all()
    file.with_suffix(".bin").unlink()
    with refused(r"its weights b\.ncnn\.bin are missing"):
        load_predictor(file)
    with refused("ncnn files give logits"):
        ExportTarget("ncnn", argmax=True)
    unet = Network(UNet(2, widths=(8, 16)), "unet", CRACK)
    with refused("for images of any size: fix the size with --size"):
        write_export(unet, ExportTarget("ncnn"), here / "unet.ncnn.param")
    assert not (here / "unet.ncnn.param").exists()
    for size in ((64, 96), (61, 90)):  # without and with padding
        fixed = write_export(unet, ExportTarget("ncnn", size=size), here / "unet.ncnn.param")
        batch = RNG.standard_normal((1, 3, *size)).astype(np.float32)
        expected = TorchPredictor(unet, torch.device("cpu")).run(batch).numpy()
        assert np.abs(load_predictor(fixed).run(batch) - expected).max() < 1e-4 * np.abs(expected).max() + 1e-5


def test_a_network_of_another_tool_needs_its_classes(
    exported: Path, data: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = here / "other.onnx"
    model = onnx.load(str(exported))
    del model.metadata_props[:]
    onnx.save(model, str(file))
    words = ["--state_dict", file, "--image", data / "test/Images", "--mode", "save_mask", "--save_figure"]
    assert "it does not say what its outputs mean: add --classes" in error_of(inference.main, words, capsys)
    assert "expected 2 outputs for the classes crack, found 7" in error_of(
        inference.main, [*words, "--classes", "crack"], capsys
    )
    inference.main([*map(str, words), "--classes", "s2ds"])
    assert "3 image(s)" in capsys.readouterr().out


@pytest.mark.parametrize("runtime", ["onnxruntime", "ncnn"])
def test_an_edge_box_needs_numpy_pillow_and_one_runtime_only(
    runtime: str, exported: Path, for_ncnn: Path, data: Path, here: Path
) -> None:
    for file in (exported, for_ncnn, for_ncnn.with_suffix(".bin")):
        shutil.copy(file, file.name)
    allowed = ["numpy", "PIL", runtime, "prune"]
    blocked = f"""
import importlib.abc, runpy, sys
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top not in {allowed!r} and top not in sys.stdlib_module_names and not top.startswith("_"):
            raise ImportError(f"{{name}} is not on this box")
sys.meta_path.insert(0, Blocker())
sys.path.insert(0, {str(ROOT)!r})
runpy.run_path({str(ROOT / "inference.py")!r}, run_name="__main__")
"""
    Path("box.py").write_text(blocked)
    name = {"onnxruntime": exported.name, "ncnn": for_ncnn.name}[runtime]
    words = ["--state_dict", name, "--image", data / "test/Images", "--mode", "overlay", "--save_figure"]
    finished = subprocess.run([sys.executable, "box.py", *map(str, words)], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert len(list(Path("results/figures").glob("*_overlay.png"))) == 3
    words[1] = tiny_model()
    finished = subprocess.run([sys.executable, "box.py", *map(str, words)], capture_output=True, text=True)
    assert finished.returncode == 2 and "needs PyTorch" in finished.stderr


@pytest.mark.slow
def test_the_runtime_extra_installs_and_runs_in_a_clean_environment(exported: Path, data: Path, here: Path) -> None:
    shutil.copy(exported, "tiny.onnx")
    subprocess.run([sys.executable, "-m", "venv", "box"], check=True)
    subprocess.run(["box/bin/pip", "install", "-q", f"{ROOT}[runtime]"], check=True)
    listed = subprocess.run(["box/bin/pip", "list"], capture_output=True, text=True, check=True).stdout
    assert "torch" not in listed and "onnxruntime" in listed
    words = ["--state_dict", "tiny.onnx", "--image", str(data / "test/Images"), "--mode", "overlay", "--save_figure"]
    finished = subprocess.run(["box/bin/python", str(ROOT / "inference.py"), *words], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
