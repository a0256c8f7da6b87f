"""The checksum inside exports: changed weights and files of different networks are noticed."""

import shutil
from pathlib import Path

import pytest
import torch

from prune.data.labels import CRACK
from prune.deployment.export import export
from prune.deployment.target import ExportTarget
from prune.inference.load import load_predictor
from prune.inference.seal import EMPTY, seal, unsealed, verify
from prune.models.checkpoint import Network
from prune.models.unet import UNet
from tests.conftest import refused
from tests.web.hand_made import dark_network

WEIGHTS = {"onnx": "{}.onnx", "openvino": "{}.bin", "ncnn": "{}.ncnn.bin"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two networks as exports of every runtime."""
    folder = tmp_path_factory.mktemp("sealed")
    for number, name in enumerate("ab"):
        torch.manual_seed(number)
        network = Network(UNet(2, widths=(4, 4, 4, 4, 4)).eval(), "unet", CRACK)
        for runtime in ("onnx", "openvino"):
            target = ExportTarget(runtime, "fp32", (32, 32))
            export(network, target, folder / f"{name}{target.suffix}")
    return folder


@pytest.fixture(scope="module")
def made_for_ncnn(made: Path) -> Path:
    """The same with files of ncnn, whose converter takes its time."""
    for number, name in enumerate("ab"):
        torch.manual_seed(number)
        network = Network(UNet(2, widths=(4, 4, 4, 4, 4)).eval(), "unet", CRACK)
        export(network, ExportTarget("ncnn", "fp32", (32, 32)), made / f"{name}.ncnn.param")
    return made


def files(request: pytest.FixtureRequest, runtime: str, tmp_path: Path) -> Path:
    """A copy of the exports."""
    return Path(
        shutil.copytree(request.getfixturevalue("made_for_ncnn" if runtime == "ncnn" else "made"), tmp_path / "copy")
    )


SLOW_NCNN = pytest.param("ncnn", marks=pytest.mark.slow)


@pytest.mark.parametrize("runtime", ["onnx", "openvino", SLOW_NCNN])
def test_a_changed_weight_is_noticed(request: pytest.FixtureRequest, tmp_path: Path, runtime: str) -> None:
    folder = files(request, runtime, tmp_path)
    file = folder / f"a{ExportTarget(runtime).suffix}"
    assert verify(file)
    load_predictor(file)
    weights = folder / WEIGHTS[runtime].format("a")
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with refused(rf"{file.name}: expected the files of one export, found .*{weights.name} damaged"):
        load_predictor(file)


@pytest.mark.parametrize("runtime", ["openvino", SLOW_NCNN])
def test_the_weights_of_another_network_are_noticed(
    request: pytest.FixtureRequest, tmp_path: Path, runtime: str
) -> None:
    folder = files(request, runtime, tmp_path)
    shutil.copy(folder / WEIGHTS[runtime].format("b"), folder / WEIGHTS[runtime].format("a"))
    with refused("damaged or of different networks"):
        load_predictor(folder / f"a{ExportTarget(runtime).suffix}")


def test_a_file_without_a_checksum_is_read(tmp_path: Path) -> None:
    file = dark_network(tmp_path / "a.onnx")
    assert not verify(file)
    load_predictor(file)
    with pytest.raises(ValueError, match="found none"):
        seal(file)


def test_what_is_sealed_is_the_whole_content(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(unsealed('{"name": "ä"}') + " more")
    (tmp_path / "a.bin").write_bytes(b"weights")
    assert EMPTY in (tmp_path / "a.xml").read_text()
    seal(tmp_path / "a.xml")
    assert EMPTY not in (tmp_path / "a.xml").read_text() and verify(tmp_path / "a.xml")
    (tmp_path / "a.bin").unlink()
    with refused("a.xml: expected the files of one export, found a.xml damaged"):
        verify(tmp_path / "a.xml")


@pytest.mark.slow
def test_a_foreign_ncnn_graph_that_ends_its_process_is_refused(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder = files(request, "ncnn", tmp_path)
    file = folder / "a.ncnn.param"
    lines = [line for line in file.read_text().splitlines() if not line.startswith("prune_metadata")]
    damaged = [line.replace("0=4", "0=400000") if line.startswith("Convolution ") else line for line in lines]
    assert damaged != lines
    file.write_text("\n".join(damaged) + "\n")
    with refused("expected an ncnn network, found one that"):
        load_predictor(file, classes=CRACK)
