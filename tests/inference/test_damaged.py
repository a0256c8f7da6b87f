"""Damaged networks, each met by the campaign in tests/fuzz, become a sentence."""

from pathlib import Path

import pytest

from prune.inference.load import load_predictor
from prune.inference.openvino import openvino_core
from tests.conftest import refused
from tests.web.hand_made import dark_network


@pytest.mark.parametrize("text", [b"logits", b"prune_metadata", b"image"])
def test_names_in_onnx_files_that_are_no_unicode(text: bytes, tmp_path: Path) -> None:
    file = dark_network(tmp_path / "a.onnx")
    file.write_bytes(file.read_bytes().replace(text, text[:-1] + b"\xff"))
    with refused("a.onnx: expected an ONNX network, found: "):
        load_predictor(file)


@pytest.mark.parametrize("text", [b"logits", b"image", b"Convolution"])
def test_names_in_openvino_files_that_are_no_unicode(text: bytes, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    network = openvino_core().read_model(str(dark_network(tmp_path / "a.onnx")))
    openvino.save_model(network, str(tmp_path / "a.xml"), compress_to_fp16=False)
    content = (tmp_path / "a.xml").read_bytes()
    assert text in content
    (tmp_path / "a.xml").write_bytes(content.replace(text, text[:-1] + b"\xff"))
    with refused("a.xml: "):
        load_predictor(tmp_path / "a.xml", threads=1)
