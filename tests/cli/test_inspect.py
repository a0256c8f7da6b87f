"""``prune-crackseg inspect``: the card of any file, also where only NumPy, Pillow and the runtime are installed."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prune.api.inspect import inspect as read_card
from prune.cli import inference, inspect
from prune.cli.verbs import EXTRAS
from prune.data.labels import CRACK
from tests.conftest import ROOT, SLOW_RUNTIMES, Exports, refused


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Exports:
    """The microscopic network as a checkpoint and as exports."""
    return Exports(tmp_path_factory.mktemp("files"), CRACK)


@pytest.mark.parametrize("runtime", ["pytorch", "onnx", *SLOW_RUNTIMES])
def test_the_card_spells_out_what_a_port_needs(
    files: Exports, runtime: str, capsys: pytest.CaptureFixture[str]
) -> None:
    inspect.main([str(files[runtime])])
    said = capsys.readouterr().out
    names = {
        "onnx": ('"image": ', '"logits": '),
        "openvino": ('"image": ', '"logits": '),
        "ncnn": ('"in0": ', '"out0": '),
    }
    parameters = sum(p.numel() for p in files.network.model.parameters())
    took, gave = names.get(runtime, ("", ""))
    batch = ("(3, 64, 96), CHW", "(2, 64, 96)") if runtime == "ncnn" else ("(1, 3, H, W), NCHW", "(1, 2, H, W)")
    for part in (
        f"{runtime}, computed in fp32",
        "unet",
        f"parameters     {parameters / 1e6:.2f} M\n",
        " G at 96x64" if runtime == "ncnn" else " G at 512x512",
        "1 Crack, color #ffffff",
        f"input          {took}float32 {batch[0]}, channels R, G, B; never resized",
        "R  mean 0.485  std 0.229  scale 0.0171247538  shift -2.11790393",
        "this size only" if runtime == "ncnn" else "any height and width",
        f"output         {gave}logits float32 {batch[1]}, as large as the input",
        "argmax over axis 0" if runtime == "ncnn" else "argmax over axis 1",
    ):
        assert part in said, part
    assert max(map(len, said.splitlines()[1:])) <= 100


@pytest.mark.parametrize("runtime", ["pytorch", "onnx", *SLOW_RUNTIMES])
def test_files_name_no_place_of_this_machine(files: Exports, runtime: str) -> None:
    file = files[runtime]
    parts = [file.read_bytes(), *(one.read_bytes() for one in [file.with_suffix(".bin")] if one.is_file())]
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            parts += [archive.read(name) for name in archive.namelist()]
    for place in (ROOT, files.folder, Path(sys.prefix), Path("site-packages"), Path.home() / ".cache"):
        assert not any(bytes(place) in part for part in parts), place


def test_the_steps_of_the_card_give_the_class_map(files: Exports) -> None:
    """What the card says, done by hand with ONNX Runtime alone."""
    import onnxruntime

    card = read_card(files["onnx"])
    image = np.random.default_rng(0).integers(0, 256, (33, 47, 3), dtype=np.uint8)
    prepared = card.card.preprocessing
    values = (image / 255 - np.array(prepared.mean)) / np.array(prepared.std)
    session = onnxruntime.InferenceSession(str(files["onnx"]))
    batch = values.transpose(2, 0, 1)[None].astype(np.float32)
    logits = session.run([card.output_name], {card.input_name: batch})[0]
    from prune import load

    assert np.array_equal(logits.argmax(1)[0], load(files["onnx"]).predict(image).class_map)


@pytest.mark.slow
def test_class_ids_and_fixed_sizes_are_said(files: Exports) -> None:
    text = str(read_card(files["ids"]))
    assert 'input          "image": float32 (1, 3, 64, 96), NCHW' in text
    assert "this size only: larger photographs in tiles of it" in text
    assert "class ids, one per pixel of the input (64, 96)" in text and "softmax" not in text


def test_layers_and_what_cannot_be_read(files: Exports, here: Path) -> None:
    assert "backbone" in str(read_card(files["pytorch"], layers=True))
    with refused("--layers: expected a checkpoint .* found the export .*a.onnx"):
        read_card(files["onnx"], layers=True)
    Path("a.onnx").write_text("no network")
    with refused("a.onnx: expected an ONNX network"):
        read_card("a.onnx")
    with refused("--file: expected a file, found none called none.pth"):
        read_card("none.pth")
    with pytest.raises(TypeError, match="file: expected a path, found int"):
        read_card(3)  # type: ignore[arg-type]


def on_an_edge_box(*words: object) -> subprocess.CompletedProcess[str]:
    """A verb where the packages for training are not installed."""
    Path("box.py").write_text(
        "import runpy, sys\n"
        f"sys.modules.update(dict.fromkeys({[*EXTRAS['train'], 'sklearn']!r}))\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "runpy.run_module('prune', run_name='__main__')\n"
    )
    return subprocess.run([sys.executable, "box.py", *map(str, words)], capture_output=True, text=True)


@pytest.mark.parametrize("runtime", ["onnx", *SLOW_RUNTIMES[:2]])
def test_exports_need_no_pytorch(files: Exports, here: Path, runtime: str) -> None:
    done = on_an_edge_box("inspect", files[runtime])
    assert done.returncode == 0, done.stderr
    assert done.stdout == str(read_card(files[runtime])) + "\n"


def test_on_an_edge_box_the_network_of_the_package_is_there_and_checkpoints_name_what_is_missing(
    files: Exports, here: Path
) -> None:
    shipped = on_an_edge_box("inspect")
    assert shipped.returncode == 0 and "crack, which comes with the package" in shipped.stdout
    Path("results/models").mkdir(parents=True)
    Path("results/models/mine.pth").touch()
    for words, name in ((["inspect", files["pytorch"]], "a.pth"), (["inspect"], "a checkpoint")):
        done = on_an_edge_box(*words)
        assert done.returncode == 2 and f"{name}: needs PyTorch, which is not installed" in done.stderr
        assert "Traceback" not in done.stderr


def test_the_command_reads_subfolders_and_names_what_it_skips(
    files: Exports, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "sub/a.png"):
        file = here / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(file)
    for name in ("b.txt", "sub/c.pdf"):
        (here / "photos" / name).write_text("x")
    words = ["--state_dict", str(files["onnx"]), "--image", "photos", "--save_figure", "--output_dir", "out"]
    inference.main([*words, "--recursive"])
    said = capsys.readouterr().out
    assert "2 image(s): " in said and "skipped  2 files that are no photographs: b.txt, c.pdf\n" in said
    assert "2 file(s) in out, first a_side_by_side.png" in said
    assert sorted(str(f) for f in Path("out").rglob("*.png")) == [
        "out/a_side_by_side.png",
        "out/sub/a_side_by_side.png",
    ]
    done = on_an_edge_box("predict", *words[:-1], "box", "--recursive", "--mode", "save_mask")
    assert done.returncode == 0, done.stderr
    assert len(list(Path("box").rglob("*.png"))) == 2
