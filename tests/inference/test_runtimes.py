"""Every runtime computes what its file says, whatever the CPU could do faster."""

import copy
import ctypes
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
import torch

from prune.benchmark.entries import open_network
from prune.cli import export
from prune.cli import test as score
from prune.data.labels import CRACK
from prune.deployment.export import export as write_export
from prune.deployment.target import ExportTarget
from prune.errors import UserError
from prune.hardware import exact_float32
from prune.inference.load import load_predictor
from prune.inference.metadata import METADATA
from prune.inference.ncnn import NcnnPredictor
from prune.inference.onnx import FULL_PRECISION, OnnxPredictor
from prune.inference.openvino import OpenVinoPredictor, has_openvino_bf16, openvino_core, openvino_settings
from prune.inference.seal import seal, unsealed
from prune.inference.torch import TorchPredictor
from prune.models import build_model
from prune.models.checkpoint import Network
from prune.models.unet import UNet
from tests.cli.test_commands import error_of, tiny_model
from tests.conftest import ROOT, refused

BATCH = np.random.default_rng(0).standard_normal((1, 3, 64, 96)).astype(np.float32)
ROUND_OFF = 1e-5
"""Largest error of float32 as a share of the logits' range; bfloat16 gives 1e-2, TF32 and float16 1e-3."""


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return Network(UNet(len(CRACK), widths=(8, 16)).eval(), "unet", CRACK)


@pytest.fixture(scope="module")
def files(network: Network, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The network as files by runtime and precision; those of OpenVINO are made of the one ONNX file."""
    folder = tmp_path_factory.mktemp("files")
    wanted = ["onnx fp32", "openvino fp32", "openvino fp16", "openvino int8", "ncnn fp32", "pt2 fp32"]
    made: dict[str, Path] = {}
    with pytest.MonkeyPatch.context() as patch:
        for name in [*wanted, *(["openvino bf16"] if has_openvino_bf16() else [])]:
            runtime, precision = name.split()
            target = ExportTarget(runtime, precision, (64, 96))
            made[name] = write_export(network, target, folder / f"a_{precision}{target.suffix}", batches=[BATCH, BATCH])
            patch.setattr("prune.deployment.onnx.write_onnx", lambda _, __, file: shutil.copy(made["onnx fp32"], file))
    return made


def opened_openvino(file: Path) -> OpenVinoPredictor:
    predictor = load_predictor(file, threads=1)
    assert isinstance(predictor, OpenVinoPredictor)
    return predictor


def layer_numbers(predictor: OpenVinoPredictor) -> set[str]:
    """The number formats OpenVINO's layers are executed in, from the names of their kernels such as brgconv_avx512_f32.

    Its ``runtimePrecision`` would name the stored weights: f16 for a float16 file that is computed in float32.
    """
    layers = [layer.get_rt_info() for layer in predictor.compiled.get_runtime_model().get_ops()]
    kernels = [layer["primitiveType"].astype(str) for layer in layers if layer["layerType"].astype(str) != "Const"]
    return {kernel.rsplit("_", 1)[-1] for kernel in kernels}


def test_float32_files_agree_with_float64_within_round_off(network: Network, files: dict[str, Path]) -> None:
    exact = copy.deepcopy(network.model).double()
    with torch.inference_mode():
        expected = exact(torch.from_numpy(BATCH).double())["out"].numpy()
    spread = expected.max() - expected.min()
    predictors = [load_predictor(file, threads=1) for name, file in files.items() if name.endswith("fp32")]
    predictors += [open_network(f"{files['onnx fp32']}:openvino", 1), TorchPredictor(network, torch.device("cpu"))]
    for predictor in predictors:
        found = predictor.to_numpy(predictor.run(BATCH))
        assert np.abs(found - expected).max() < ROUND_OFF * spread, predictor.card


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_openvino_computes_float_layers_in_float32(precision: str, files: dict[str, Path]) -> None:
    predictor = opened_openvino(files[f"openvino {precision}"])
    assert predictor.compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32
    assert predictor.compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE") == 0
    numbers = layer_numbers(predictor)
    assert "f32" in numbers and not numbers & {"bf16", "f16"}
    assert bool({number.lower() for number in numbers} & {"i8", "u8"}) == (precision == "int8")


def test_openvino_runs_an_onnx_file_and_one_of_another_tool_in_float32(files: dict[str, Path], tmp_path: Path) -> None:
    onnx = open_network(f"{files['onnx fp32']}:openvino", 1)
    assert isinstance(onnx, OpenVinoPredictor) and not layer_numbers(onnx) & {"bf16", "f16"}
    model = openvino_core().read_model(str(files["openvino fp32"]))
    del model.rt_info[METADATA]
    openvino.save_model(model, str(tmp_path / "other.xml"), compress_to_fp16=False)
    other = OpenVinoPredictor(tmp_path / "other.xml", 1, CRACK)
    assert not layer_numbers(other) & {"bf16", "f16"}


@pytest.mark.skipif(not has_openvino_bf16(), reason="this CPU has no bfloat16")
def test_a_bf16_file_says_so_and_is_computed_in_bfloat16(files: dict[str, Path]) -> None:
    predictor = opened_openvino(files["openvino bf16"])
    assert predictor.card.precision == "bf16"
    assert predictor.compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.bf16
    assert "bf16" in layer_numbers(predictor)
    float32 = opened_openvino(files["openvino fp32"]).run(BATCH)
    assert 0 < np.abs(predictor.run(BATCH) - float32).max() < 0.1 * (float32.max() - float32.min())


class _OldCpu:
    """OpenVINO's core on a CPU without bfloat16."""

    core = openvino_core()

    def get_property(self, *names: str) -> Any:
        known = {"OPTIMIZATION_CAPABILITIES": ["FP32", "INT8"], "FULL_DEVICE_NAME": "Old CPU"}
        return known[names[1]] if names[1] in known else self.core.get_property(*names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.core, name)


def test_bf16_is_refused_where_the_cpu_has_none(
    files: dict[str, Path],
    data: Path,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("prune.inference.openvino.openvino_core", _OldCpu)
    tiny_model()
    words: list[object] = ["tiny", "--data", data, "--to", "openvino", "--precision", "bf16"]
    said = error_of(export.main, words, capsys)
    assert (
        "--precision bf16: expected a CPU that computes bfloat16, found Old CPU; use --precision fp32 or int8" in said
    )
    model = openvino_core().read_model(str(files["openvino fp32"]))
    text = json.loads(model.get_rt_info([METADATA]).astype(str)) | {"precision": "bf16"}
    model.set_rt_info(unsealed(json.dumps(text)), [METADATA])
    openvino.save_model(model, "a.xml")
    seal(Path("a.xml"))
    with refused(r"a\.xml of the precision bf16: expected a CPU that computes bfloat16"):
        load_predictor(Path("a.xml"))
    assert load_predictor(files["openvino fp32"]).card.precision == "fp32"


INTERRUPTED = """
import os, signal, sys
from pathlib import Path
from prune.inference.load import load_predictor
first, second = (load_predictor(Path(file)) for file in sys.argv[1:])
del first
del second
try:
    os.kill(os.getpid(), signal.SIGINT)
    while True:
        pass
except KeyboardInterrupt:
    print("stopped")
"""


def test_ctrl_c_stops_a_process_that_has_closed_two_networks(files: dict[str, Path]) -> None:
    """Two cores of OpenVINO that go in the order they came made it a segmentation fault."""
    words = [sys.executable, "-c", INTERRUPTED, files["openvino fp32"], files["openvino fp16"]]
    finished = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (finished.returncode, finished.stdout) == (0, "stopped\n"), finished.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for its signal stack")
def test_quantizing_leaves_the_signal_stack_as_it_was(
    network: Network, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def signal_stack() -> int | None:
        stack = (ctypes.c_void_p * 3)()  # stack_t: pointer, flags, size
        assert ctypes.CDLL(None).sigaltstack(None, stack) == 0
        return stack[0]

    monkeypatch.setattr("prune.deployment.onnx.write_onnx", lambda _, __, file: shutil.copy(files["onnx fp32"], file))
    before = signal_stack()
    write_export(network, ExportTarget("openvino", "int8", (64, 96)), tmp_path / "a.xml", batches=[BATCH, BATCH])
    assert signal_stack() == before


def test_settings_of_openvino_follow_the_file() -> None:
    hints = {
        number: openvino_settings(number)["INFERENCE_PRECISION_HINT"] for number in ("fp32", "fp16", "int8", "bf16")
    }
    assert hints == {"fp32": "f32", "fp16": "f32", "int8": "f32", "bf16": "bf16"}
    assert openvino_settings("fp32", 3)["INFERENCE_NUM_THREADS"] == 3


def test_onnx_runtime_and_ncnn_take_no_short_cuts(files: dict[str, Path]) -> None:
    onnx, ncnn = load_predictor(files["onnx fp32"]), load_predictor(files["ncnn fp32"])
    assert isinstance(onnx, OnnxPredictor) and isinstance(ncnn, NcnnPredictor)
    options = onnx.session.get_session_options()
    assert {key: options.get_session_config_entry(key) for key in FULL_PRECISION} == FULL_PRECISION
    chosen = ncnn.net.opt
    lower = (chosen.use_fp16_packed, chosen.use_fp16_storage, chosen.use_fp16_arithmetic, chosen.use_bf16_storage)
    assert not any(lower) and not chosen.use_bf16_packed


def test_pytorch_computes_float32_in_float32_whatever_was_set_before(network: Network) -> None:
    backends: Any = torch.backends
    torch.set_float32_matmul_precision("medium")
    backends.cudnn.allow_tf32 = True
    backends.mkldnn.conv.fp32_precision = "bf16"
    predictor = TorchPredictor(network, torch.device("cpu"))
    assert predictor.card.precision == "fp32" and torch.get_float32_matmul_precision() == "highest"
    assert backends.cudnn.allow_tf32 is False and backends.cuda.matmul.allow_tf32 is False
    rooms = (backends.mkldnn.matmul, backends.mkldnn.conv, backends.cudnn.conv, backends.cuda.matmul)
    assert [room.fp32_precision for room in rooms] == ["ieee"] * 4
    exact_float32()  # twice is as good as once


@pytest.mark.parametrize(("autocast", "name"), [(None, "fp32"), (torch.bfloat16, "bf16"), (torch.float16, "fp16")])
def test_the_card_of_a_checkpoint_names_its_autocast_type(
    autocast: torch.dtype | None, name: str, network: Network
) -> None:
    assert TorchPredictor(network, torch.device("cpu"), autocast).card.precision == name


def test_the_scores_of_a_network_name_what_it_was_computed_in(data: Path, here: Path) -> None:
    tiny_model()
    score.main([str(data / "test"), "--weights", "tiny", "--amp", "bf16", "--workers", "0", "--latency_repeats", "0"])
    summary = json.loads(Path("results/metrics/tiny.json").read_text())["summary"]
    assert summary["runtime"] == "pytorch bf16"


def test_weights_that_are_not_finite_are_not_exported(tmp_path: Path) -> None:
    network = Network(build_model("deeplabv3_tiny", 2), "deeplabv3_tiny", CRACK)
    with torch.no_grad():
        network.model.get_parameter("classifier.4.bias")[0] = float("inf")
    with pytest.raises(
        UserError, match=r"expected finite weights to export, found NaN or infinity in classifier\.4\.bias"
    ):
        write_export(network, ExportTarget("pt2"), tmp_path / "a.pt2")
    assert not list(tmp_path.iterdir())
