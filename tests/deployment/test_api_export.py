"""``prune.export`` from Python: objects and paths in, a file and how it compares out, nothing else written or printed."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import prune
from prune.api.export import ExportResult
from prune.data.find_split import find_split
from prune.data.labels import S2DS
from prune.files import locked
from prune.models import build_model
from prune.models.checkpoint import Network
from tests.conftest import refused

LOOSE: dict[str, Any] = {"min_agreement": 0, "max_miou_drop": 100, "max_crack_drop": 100}


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return Network(build_model("deeplabv3_tiny", 7).eval(), "deeplabv3_tiny")


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_a_network_and_a_data_folder_give_a_file_with_its_parity(
    network: Network, data: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {name: tensor.clone() for name, tensor in network.model.state_dict().items()}
    result = prune.export(network, "tiny.pt2", data=data, parity_images=2)
    assert names(here) == ["tiny.pt2", "tiny.pt2.json"] and capsys.readouterr() == ("", "")
    assert result.parity is not None and result.parity.images == 2 and result.parity.agreement > 0.999
    assert [gate.judged for gate in result.gates] == [True, True, True] and result.report == Path("tiny.pt2.json")
    assert os.fspath(result) == "tiny.pt2" and "pixels agree" in str(result)
    html = result._repr_html_()
    assert "<table>" in html and "crack ltIoU@4" in html
    model = prune.load(result)
    assert model.card.runtime == "pt2" and model.card.classes == S2DS
    assert network.model.aux_classifier is not None
    assert all(torch.equal(before[name], tensor) for name, tensor in network.model.state_dict().items())
    report = json.loads(Path("tiny.pt2.json").read_text())
    assert report["passed"] is True and report["arguments"]["to"] == "pt2" and report["arguments"]["data"] == str(data)


@pytest.mark.slow
def test_splits_calibrate_and_compare(network: Network, data: Path, here: Path) -> None:
    splits = {role: find_split(data, S2DS, role=role) for role in ("train", "test")}
    result = prune.export(network, here / "a.onnx", precision="int8", size=64, data=splits, **LOOSE)
    assert result.parity is not None and prune.load(result.file).card.size == (64, 64)
    assert "trtexec" in result.hint


@pytest.mark.slow
def test_without_data_a_file_is_written_when_that_is_said(network: Network, here: Path) -> None:
    with refused(r"--data: expected labeled photographs to compare the file with .*parity=False.*found none"):
        prune.export(network, "tiny.pt2")
    with refused("--data: expected labeled photographs to calibrate int8 with, found none"):
        prune.export(network, "tiny.onnx", precision="int8", parity=False)
    assert names(here) == []
    result = prune.export(network, "tiny.pt2", parity=False)
    assert (result.parity, result.report, result.gates) == (None, None, ()) and names(here) == ["tiny.pt2"]
    assert "not compared" in str(result) and "not compared" in result._repr_html_()


def test_a_file_that_is_not_the_network_is_not_left(network: Network, data: Path, here: Path) -> None:
    with refused(r"tiny\.pt2 does not match the network: agreement of the class maps"):
        prune.export(network, "tiny.pt2", data=data, min_agreement=100.1)
    assert names(here) == ["tiny.pt2.json"]


def test_two_exports_to_one_file_do_not_mix(network: Network, here: Path) -> None:
    with locked(here / "tiny.pt2"), refused(r"tiny\.pt2 is being written by another process"):
        prune.export(network, "tiny.pt2", parity=False)
    assert prune.export(network, "tiny.pt2", parity=False).file.is_file()


class Bare(nn.Module):
    """Somebody's own network: a bare tensor of logits."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 2, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(image).relu())


@pytest.mark.slow
def test_a_module_of_ones_own(here: Path) -> None:
    module = Bare().eval()
    result = prune.export(module, "own.onnx", classes="crack", parity=False)
    model, images = prune.load(result), torch.randn(1, 3, 32, 48)
    expected = module(images).detach()
    assert torch.allclose(torch.from_numpy(model.predictor.run(images.numpy())), expected, atol=1e-5)


def test_misuse_is_named(network: Network, data: Path, here: Path) -> None:
    export = prune.export
    with refused(r"--file: expected a file name ending in one of .onnx, .xml, .ncnn.param, .pt2, found 'a.tflite'"):
        export(network, "a.tflite", data=data)
    with refused(r"--file: expected a file name ending in .xml, found 'a.onnx'"):
        export(network, "a.onnx", to="openvino", data=data)
    with refused(r"--to: expected one of onnx, openvino, ncnn, pt2, found 'tensorrt'"):
        export(network, "a.onnx", to="tensorrt", data=data)
    with refused(r"--precision: onnx has fp32, int8, found 'fp16'"):
        export(network, "a.onnx", precision="fp16", data=data)
    with refused(r"--size: expected at least 32 px, found 16 64"):
        export(network, "a.onnx", size=(16, 64), data=data)
    with pytest.raises(
        TypeError, match="size: expected None, px of both sides, or height and width in px, found 'big'"
    ):
        export(network, "a.onnx", size="big", data=data)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"export\(\) has no argument 'precison', did you mean precision"):
        export(network, "a.onnx", precison="int8", data=data)
    with pytest.raises(TypeError, match="file: expected a path, found int"):
        export(network, 3, data=data)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"parity: expected True or False, found 'no'"):
        export(network, "a.onnx", parity="no", data=data)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="model: expected a path"):
        export(3.5, "a.onnx", data=data)
    with refused("--model: expected a file, found none called none.pth"):
        export("none.pth", "a.onnx", data=data)
    Path("b.onnx").write_bytes(b"")
    with refused(r"--model: expected a PyTorch network \(.pth\), found the export b.onnx"):
        export("b.onnx", "a.onnx", data=data)
    assert names(here) == ["b.onnx"] and isinstance(ExportResult(Path("b.onnx")), os.PathLike)


@pytest.mark.slow
def test_a_file_says_what_its_maker_wants_it_to(network: Network, here: Path) -> None:
    sentence = "Cracks thinner than 2 px are often missed, joints are taken for cracks, and shadows of cables " * 2
    notes = {"data": "drawn photographs", "known failures": [sentence.strip(), "water"]}
    Path("notes.json").write_text(json.dumps(notes))
    file = prune.export(network, "tiny.onnx", parity=False, notes="notes.json")
    assert prune.load(file).card.notes == {
        "data": ("drawn photographs",),
        "known failures": (sentence.strip(), "water"),
    }
    card = str(prune.inspect(file)).splitlines()
    assert "data           drawn photographs" in card
    start = next(number for number, line in enumerate(card) if line.startswith("known failures"))
    assert (
        " ".join(line[15:] for line in card[start : start + 3]).startswith(sentence.strip())
        and max(map(len, card)) < 130
    )
    assert prune.load(prune.export(network, "plain.onnx", parity=False)).card.notes == {}


def test_notes_that_are_none_are_named(network: Network, here: Path) -> None:
    Path("notes.json").write_text("[1]")
    with refused(
        "--notes: notes.json: expected a JSON object of headings with texts: expected headings with texts, found list"
    ):
        prune.export(network, "tiny.onnx", parity=False, notes="notes.json")
    with refused(
        "--notes: expected a JSON object of headings with texts: data: expected a text or a list of texts, found 3"
    ):
        prune.export(network, "tiny.onnx", parity=False, notes={"data": 3})  # type: ignore[dict-item]
    with refused("--notes: expected a file, found none called absent.json"):
        prune.export(network, "tiny.onnx", parity=False, notes="absent.json")
    assert names(here) == ["notes.json"]


@pytest.mark.slow
def test_a_file_does_not_tell_where_it_was_made(network: Network, here: Path) -> None:
    stored = prune.export(network, "tiny.onnx", parity=False).file.read_bytes()
    assert str(Path(torch.__file__).parent).encode() not in stored and str(here).encode() not in stored
    assert b"prune/deployment" not in stored
