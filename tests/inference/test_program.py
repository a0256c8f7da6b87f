"""A .pt2 file is data: it gives what PyTorch's own loader gives, and whatever could run code is refused."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from prune.cli import inference
from prune.data.labels import CRACK
from prune.deployment.export import export as write_export
from prune.deployment.target import ExportTarget
from prune.errors import UserError
from prune.inference.load import load_predictor
from prune.inference.program import read_program
from prune.models import ARCHITECTURES, build_model
from prune.models.checkpoint import Network
from prune.models.unet import UNet
from tests.cli.test_commands import error_of

MARKER = "executed"
CODE = f"__import__('pathlib').Path({MARKER!r}).touch()"
GRAPH, CONFIG, SAMPLES = "models/model.json", "data/weights/model_weights_config.json", "data/sample_inputs/model.pt"


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path(MARKER).touch, ()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = Network(UNet(len(CRACK), widths=(8, 16)).eval(), "unet", CRACK)
    return write_export(network, ExportTarget("pt2"), tmp_path_factory.mktemp("pt2") / "net.pt2")


def pickled(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def changed(source: Path, changes: dict[str, bytes | Callable[[bytes], bytes]], file: Path) -> Path:
    """A copy of an archive with other parts: new bytes, or a function of the old ones; None of the parts is compressed."""
    left = dict(changes)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(file, "w") as new:
        for entry in old.infolist():
            change = left.pop(entry.filename.partition("/")[2], None)
            content = old.read(entry)
            new.writestr(entry.filename, content if change is None else change(content) if callable(change) else change)
        for name, content in left.items():
            assert isinstance(content, bytes)
            new.writestr(f"net/{name}", content)
    return file


def edited(change: Callable[[Any], object]) -> Callable[[bytes], bytes]:
    """Change the JSON of a part."""

    def apply(content: bytes) -> bytes:
        value = json.loads(content)
        change(value)
        return json.dumps(value).encode()

    return apply


def nodes_of(content: Any) -> list[dict[str, Any]]:
    return content["graph_module"]["graph"]["nodes"]


def convolution(content: Any) -> dict[str, Any]:
    return next(node for node in nodes_of(content) if "conv" in node["target"])


def first_weight(content: Any) -> dict[str, Any]:
    return next(iter(content["config"].values()))


def call_anything(content: Any) -> None:
    nodes_of(content)[0]["target"] = "torch.os.system"


def evaluate_anything(content: Any) -> None:
    for value in content["graph_module"]["graph"]["sym_int_values"].values():
        value["as_expr"]["expr_str"] = CODE
    content["guards_code"] = [CODE]


ATTACKS: dict[str, tuple[dict[str, Any], str]] = {
    "sample inputs": ({SAMPLES: pickled(((Bomb(),), {}))}, "pickled objects as sample inputs"),
    "bare pickle": ({SAMPLES: pickle.dumps(Bomb())}, "pickled objects as sample inputs"),
    "pickled weight": (
        {"data/weights/weight_0": pickled(Bomb()), CONFIG: edited(lambda c: first_weight(c).update(use_pickle=True))},
        "found the pickled tensor model.",
    ),
    "older weights": ({"data/weights/model.pt": pickled(Bomb())}, "a part called 'net/data/weights/model.pt'"),
    "constant": ({"data/constants/custom_obj_0": pickled(Bomb())}, "a part called 'net/data/constants/custom_obj_0'"),
    "library": ({"data/aotinductor/model/a.so": b"code"}, "a part called 'net/data/aotinductor/model/a.so'"),
    "operator": ({GRAPH: edited(call_anything)}, "found the operator torch.os.system"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_could_run_code_is_refused(
    attack: str, exported: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts, message = ATTACKS[attack]
    file = changed(exported, parts, here / "net.pt2")
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save("photo.png")
    words: list[object] = ["--state_dict", file, "--image", "photo.png", "--mode", "save_mask", "--save_figure"]
    said = error_of(inference.main, words, capsys)
    assert message in said and "if you trust the file, add --trust_pickle" in said
    assert not Path(MARKER).exists()


def test_expressions_and_guards_in_the_graph_are_not_evaluated(exported: Path, here: Path) -> None:
    file = changed(exported, {GRAPH: edited(evaluate_anything)}, here / "net.pt2")
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    assert (load_predictor(file).class_map(image) == load_predictor(exported).class_map(image)).all()
    assert not Path(MARKER).exists()


def test_a_damaged_program_is_one_line(exported: Path, here: Path) -> None:
    def mistake(parts: dict[str, Any]) -> str:
        with pytest.raises(UserError) as raised:
            load_predictor(changed(exported, parts, here / "net.pt2"))
        return raised.value.message

    assert "expected an exported program" in mistake({"data/weights/weight_0": b"short"})
    assert "expected an exported program" in mistake({GRAPH: b"{}"})
    assert "expected an exported program" in mistake({"extra/prune_metadata": b"{}"})

    def expanded(content: Any) -> None:
        meta = first_weight(content)["tensor_meta"]
        meta["sizes"], meta["strides"] = [{"as_int": 10**9}], [{"as_int": 0}]

    assert "1000000000 numbers, the file" in mistake({CONFIG: edited(expanded)})
    nan = np.full(8 * 3 * 9, np.nan, np.float32).tobytes()
    assert "NaN or infinity" in mistake({"data/weights/weight_0": nan})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: convolution(content)["inputs"].clear(), "one that cannot run on 32x32 px: "),
        (lambda content: nodes_of(content).remove(convolution(content)), "one that cannot run on 32x32 px: "),
    ],
)
def test_a_graph_that_cannot_run_is_named(
    change: Callable[[Any], object], said: str, exported: Path, tmp_path: Path
) -> None:
    file = changed(exported, {GRAPH: edited(change)}, tmp_path / "a.pt2")
    program = load_predictor(file)
    with pytest.raises(UserError, match=f"a.pt2: expected an exported program, found {said}"):
        program.run(np.zeros((1, 3, 32, 32), np.float32))


def test_a_program_gives_what_pytorch_s_loader_gives(exported: Path) -> None:
    images = torch.randn(2, 3, 61, 90)
    program, texts = read_program(exported)
    trusted = load_predictor(exported, trust_pickle=True)
    with torch.inference_mode():
        expected = torch.export.load(exported).module(check_guards=False)(images)
        assert torch.equal(program(images), expected)
    assert json.loads(texts["prune_metadata"])["architecture"] == "unet"
    assert torch.equal(torch.as_tensor(trusted.run(images.numpy())), expected)


@pytest.mark.slow
@pytest.mark.parametrize("size", [None, (61, 90)])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_network_uses_known_operators_only(name: str, size: tuple[int, int] | None, tmp_path: Path) -> None:
    network = Network(build_model(name, 2, auxiliary=False).eval(), name, CRACK)
    file = write_export(network, ExportTarget("pt2", size=size), tmp_path / "a.pt2")
    image = np.zeros((*(size or (70, 90)), 3), np.uint8)
    assert np.isfinite(load_predictor(file).forward(image)).all()
