"""The benchmark's bounds by kind of CPU, its layer profiles, and machines side by side."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from prune.benchmark import deploy
from prune.benchmark.deploy import deploy_bounds, profile_table
from prune.benchmark.kinds import MARKS, kinds_table, machines_table, read_kinds, write_kinds
from prune.benchmark.layer_profile import OperatorTime, by_operator, onnx_layers, profile
from prune.benchmark.networks import speed_bounds, table, with_shares
from prune.benchmark.peaks import Peaks
from prune.benchmark.settings import SuiteSettings
from prune.benchmark.suites import measure_suites
from prune.cli import benchmark
from prune.errors import UserError
from prune.inference.openvino import has_openvino_bf16, openvino_core
from prune.models import build_model
from prune.models.checkpoint import Network
from tests.cli.test_commands import error_of


def deploy_row(
    ratio: float, runtime: str, precision: str, ms: float, share: float | None, **others: Any
) -> dict[str, Any]:
    """A row of deploy.json at 100 GMACs/s for every unit of share."""
    row = {"name": "n", "channel_ratio": ratio, "runtime": runtime, "precision": precision, "size": "8x8"}
    row |= {"ms_median": ms, "ms_low": ms, "ms_high": ms, "speedup": 1000 / ms, "macs": 6_000_000_000, "file_mib": 1.0}
    return row | {"peak_mib": 1000.0, "gmacs_per_second": 50.0, "share_of_peak": share} | others


def deploy_rows() -> list[dict[str, Any]]:
    """Dense and two pruned networks; the last is too small to be held to a share."""
    return [
        deploy_row(0, "pytorch", "fp32", 1000, 0.7),
        deploy_row(0, "openvino", "fp32", 900, 0.85),
        deploy_row(0.5, "pytorch", "fp32", 400, 0.5),
        deploy_row(0.5, "onnx", "fp32", 300, 0.75),
        deploy_row(0.5, "openvino", "int8", 80, 0.9, peak_mib=200.0),
        deploy_row(0.7, "pytorch", "fp32", 100, 0.4, macs=4_000_000_000),
        deploy_row(0.7, "openvino", "int8", 40, 0.4, macs=4_000_000_000),
    ]


@pytest.mark.parametrize(
    ("kind", "bound", "kept"),
    [("avx2", 1.5, True), ("avx512", 1.5, True), ("arm64", 1.5, True), ("avx512_vnni", 4.0, True), ("amx", 9.0, False)],
)
def test_deployment_is_held_to_shares_and_to_a_ratio_by_kind_of_cpu(kind: str, bound: float, kept: bool) -> None:
    figures = {figure.name: figure for figure in deploy_bounds(deploy_rows(), kind)}
    assert len(figures) == 5
    quantized = figures["share of the peak: 50 % channels, OpenVINO INT8"]
    assert (quantized.value, quantized.relation, quantized.bound, quantized.kept) == (0.9, ">=", 0.8, True)
    assert figures["share of the peak: dense, best float32"].value == 0.85
    halved = figures["share of the peak: 50 % channels, best float32"]
    assert halved.value == 0.75 and not halved.kept and "onnx fp32, 300 ms, 50 GMACs/s, peak 67" in halved.detail
    gain = figures["50 % channels, best file over eager PyTorch"]
    assert (gain.value, gain.bound, gain.kept) == (5.0, bound, kept) and kind in gain.detail
    memory = figures["peak memory, 50 % INT8 over dense eager"]
    assert (memory.value, memory.relation, memory.bound) == (0.2, "<=", 0.25)


def speed_row(name: str, ratio: float, runtime: str, ms: float, gmacs: float, per_core: float | None) -> dict[str, Any]:
    """A row of networks.json before it has shares."""
    row = {
        "name": name,
        "channel_ratio": ratio,
        "runtime": runtime,
        "precision": "fp32",
        "size": "8x8",
        "ms_median": ms,
    }
    row |= {"images_per_second": 1e3 / ms, "images_per_second_one_per_core": per_core, "parameters": 1e6}
    return row | {"macs": round(gmacs * 1e9)}


def test_networks_are_held_to_a_share_of_the_float32_peak() -> None:
    rows = [
        speed_row("unet", 0, "pytorch", 400, 20, None),  # 50 GMACs/s
        speed_row("unet", 0, "onnx", 200, 20, None),  # 100
        speed_row("unet", 0.5, "onnx", 100, 6, None),  # 60
        speed_row("hrsegnet_b16", 0, "pytorch", 20, 0.5, None),  # 25
        speed_row("hrsegnet_b16", 0, "ncnn", 10, 0.5, 180.0),  # 50, with one per core 90
    ]
    shared = with_shares(rows, {"fp32": 100.0})
    assert [row["share_of_peak"] for row in shared] == pytest.approx([0.5, 1.0, 0.6, 0.25, 0.5])
    assert [row["share_of_peak_one_per_core"] for row in shared] == [None, None, None, None, pytest.approx(0.9)]
    lowest, small = speed_bounds(shared)
    assert lowest.value == pytest.approx(0.6) and not lowest.kept and lowest.bound == 0.8
    assert lowest.detail == "unet 50% removed, onnx; 1 of 2 below the bound; median 0.80"
    assert (
        small.value == pytest.approx(0.9)
        and small.kept
        and "100 images/s one after the other, 180 with" in small.detail
    )
    assert table(shared).splitlines()[-2].split() == ["hrsegnet_b16", "0%", "20.0", "10.0", "90"]
    assert "removed  pytorch   onnx  ncnn  % of peak" in table(shared)
    # Rows of older versions have no share: no figure, and a blank in the table.
    assert speed_bounds(rows) == [] and table(rows).splitlines()[-2].split()[-2:] == ["20.0", "10.0"]


def test_layers_are_grouped_by_operator_and_kernel() -> None:
    layers = [("c1", "Conv", "int8", 3.0), ("c2", "Conv", "int8", 3.0), ("r", "Resize", "f32", 1.0)]
    layers += [("c3", "Conv", "f32", 2.0), ("c1", "Conv", "int8", 1.0)]
    assert by_operator(layers) == [
        OperatorTime("Conv", "int8", 2, 7.0, 0.7),
        OperatorTime("Conv", "f32", 1, 2.0, 0.2),
        OperatorTime("Resize", "f32", 1, 1.0, 0.1),
    ]
    assert by_operator([]) == []


def test_the_first_passes_of_an_onnx_profile_do_not_count() -> None:
    def event(category: str, name: str, ts: int, dur: int, **args: str) -> dict[str, Any]:
        return {"cat": category, "name": name, "ts": ts, "dur": dur, "args": args}

    events = [event("Session", "model_run", 10 * turn, 9) for turn in range(3)]
    events += [event("Node", "a_kernel_time", 10 * turn + 1, 4000 * (turn + 1), op_name="Conv") for turn in range(3)]
    events += [event("Node", "a_fence_before", 21, 5000, op_name="Conv")]
    assert onnx_layers(events, 2) == [("a_kernel_time", "Conv", "", 4.0), ("a_kernel_time", "Conv", "", 6.0)]


def tiny_onnx(file: Path) -> Path:
    """Two convolutions and a sine between them on images (1, 3, 16, 24)."""
    weights = {"a": np.ones((4, 3, 3, 3), np.float32), "b": np.ones((2, 4, 1, 1), np.float32)}
    nodes = [
        helper.make_node("Conv", ["image", "a"], ["x"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Sin", ["x"], ["y"], name="between"),
        helper.make_node("Conv", ["y", "b"], ["logits"], name="last"),
    ]
    ends = [helper.make_tensor_value_info(n, 1, [1, c, 16, 24]) for n, c in (("image", 3), ("logits", 2))]
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "tiny", ends[:1], ends[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), file)
    return file


def test_the_layers_of_a_tiny_network_are_timed(tmp_path: Path) -> None:
    file = tiny_onnx(tmp_path / "tiny.onnx")
    openvino.save_model(openvino_core().read_model(file), tmp_path / "tiny.xml")
    for name, operator in (("tiny.onnx", "Conv"), ("tiny.xml", "Convolution")):
        found = profile(tmp_path / name, (16, 24), threads=1, passes=2)
        assert sum(group.layers for group in found if group.operator == operator) == 2
        assert sum(group.share for group in found) == pytest.approx(1) and all(group.ms >= 0 for group in found)
        assert [group.ms for group in found] == sorted((group.ms for group in found), reverse=True)
    with pytest.raises(
        UserError, match=r"expected an OpenVINO \(.xml\) or ONNX \(.onnx\) file to profile, found '.pth'"
    ):
        profile(tmp_path / "a.pth", (16, 24), threads=1)


def test_a_profile_is_a_table_without_what_takes_no_time() -> None:
    operators = [{"operator": "Conv", "kernel": "f32", "layers": 3, "ms": 9.99, "share": 0.999}]
    operators += [{"operator": "Shape", "kernel": "", "layers": 1, "ms": 0.01, "share": 0.001}]
    lines = profile_table([{"runtime": "openvino", "precision": "int8", "operators": operators}]).splitlines()
    assert len(lines) == 3 and lines[2] == "| openvino int8 | Conv | f32 | 3 | 10.0 | 99.9 |"


@pytest.fixture
def two_kinds(tmp_path: Path) -> Path:
    """A folder as older versions wrote it, without peaks, and one of today."""
    (tmp_path / "avx2").mkdir()
    (tmp_path / "amx").mkdir()
    old = [
        {k: v for k, v in row.items() if k not in ("gmacs_per_second", "share_of_peak")} for row in deploy_rows()[:5]
    ]
    (tmp_path / "avx2/deploy.json").write_text(json.dumps(old))
    figure = {
        "name": "a figure",
        "value": 1.25,
        "unit": "x",
        "relation": ">=",
        "bound": 2.0,
        "detail": "d",
        "kept": False,
    }
    bench = {"figures": [figure], "machine": {"device": "Old CPU", "cores": 2}}
    (tmp_path / "avx2/bench.json").write_text(json.dumps(bench))
    machine = {"device": "New CPU", "cores": 4, "peaks": {"fp32": 100.0, "bf16": None, "int8": 400.0}}
    content = {"rows": deploy_rows(), "machine": machine | {"copy_gb_per_second": 31.4}}
    (tmp_path / "amx/deploy.json").write_text(json.dumps(content))
    networks = with_shares([speed_row("unet", 0, "onnx", 200, 20, None)], {"fp32": 100.0})
    (tmp_path / "amx/networks.json").write_text(json.dumps({"rows": networks, "machine": machine}))
    (tmp_path / "amx/deploy_profile.md").write_text("| file | operator |\n")
    return tmp_path


def test_kinds_stand_side_by_side_and_what_was_not_measured_is_blank(two_kinds: Path) -> None:
    kinds = read_kinds(two_kinds)
    assert [kind.name for kind in kinds] == ["amx", "avx2"]
    header, _, *lines = machines_table(kinds).splitlines()
    assert header.startswith("| kind | CPU | cores | fp32 peak, GMACs/s")
    assert lines == ["| amx | New CPU | 4 | 100 |  | 400 | 31 |", "| avx2 | Old CPU | 2 |  |  |  |  |"]
    header, _, *lines = kinds_table(kinds).splitlines()
    assert header == "| network | amx: speed-up | amx: of peak | avx2: speed-up | avx2: of peak |"
    assert lines[0] == "| dense, PyTorch eager fp32 | 1.0× | 70% | 1.0× |  |"
    assert "| 50% of the channels removed, OpenVINO int8 | 12.5× | 90% | 12.5× |  |" in lines
    assert "| 70% of the channels removed, OpenVINO int8 | 25.0× | 40% |  |  |" in lines and len(lines) == 7


def test_the_report_writes_pages_table_chart_and_readme(two_kinds: Path) -> None:
    readme = two_kinds / "README.md"
    readme.write_text(f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n")
    for _ in range(2):  # a second time changes nothing
        files = {file.relative_to(two_kinds).as_posix() for file in write_kinds(two_kinds)}
        assert files == {"amx/tables.md", "avx2/tables.md", "kinds.md", "kinds.csv", "kinds.png", "README.md"}
        text = readme.read_text()
        assert text.startswith(f"before\n{MARKS[0]}\n| kind |") and text.endswith(f"{MARKS[1]}\nafter\n")
        assert "old" not in text and text.count("| avx2 | Old CPU") == 1
    new, old = (two_kinds / "amx/tables.md").read_text(), (two_kinds / "avx2/tables.md").read_text()
    assert "| a figure | 1.25 x | >= 2 | no | d |" in old and "| file | operator |" in new
    assert "| unet | 8x8 | 0% | 1.00 | 20.00 | 200.0 | 100% | 5 (ONNX Runtime fp32) |  |" in new
    assert "Every network" not in old
    # 6 GMACs in 80 ms, computed where an older file does not say it.
    assert "| 50% of the channels removed, OpenVINO int8 | 80 | 12.5× | 75 |  | 200 | 1.0 |" in old
    csv = (two_kinds / "kinds.csv").read_text().splitlines()
    assert csv[0].startswith("kind,channel_ratio,runtime") and len(csv) == 1 + 7 + 5
    assert (two_kinds / "kinds.png").stat().st_size > 10_000


def test_mistakes_in_the_report(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = error_of(benchmark.main, ["--suite", "report"], capsys)
    assert "results/benchmarks: expected folders with a deploy.json, found none" in said
    folder = Path("results/benchmarks/avx2")
    folder.mkdir(parents=True)
    (folder / "deploy.json").write_text("[1,")
    said = error_of(benchmark.main, ["--suite", "report"], capsys)
    assert "avx2/deploy.json: expected the JSON of a benchmark, found" in said
    (folder / "deploy.json").write_text('{"rows": []}')
    said = error_of(benchmark.main, ["--suite", "report"], capsys)
    assert "benchmarks/avx2: expected the JSON files of a benchmark, found others: KeyError('machine')" in said


def test_a_single_suite_keeps_the_figures_of_the_others(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prune.benchmark.machine.measure_peaks", lambda *_: Peaks({"fp32": {"a": 200.0}}, 20.0))
    settings = SuiteSettings(suite="scores", score_size=64, score_repeats=1)
    (figure,) = measure_suites(settings, Path("bench.json")).figures
    content = json.loads(Path("bench.json").read_text())
    assert [row["name"] for row in content["figures"]] == [figure.name]
    assert content["machine"]["peaks"] == {"fp32": 200.0}
    content["figures"] = [content["figures"][0] | {"name": "of another suite"}, content["figures"][0] | {"value": -1}]
    Path("bench.json").write_text(json.dumps(content))
    (figure,) = measure_suites(settings, Path("bench.json")).figures
    other, own = json.loads(Path("bench.json").read_text())["figures"]
    assert other["name"] == "of another suite" and (own["name"], own["value"]) == (figure.name, figure.value)
    content["machine"]["cores"] = 1000
    Path("bench.json").write_text(json.dumps(content))
    measure_suites(settings, Path("bench.json"))
    assert len(json.loads(Path("bench.json").read_text())["figures"]) == 1


@pytest.mark.slow
def test_deployment_of_a_tiny_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prune.benchmark.deploy._network", lambda ratio: Network(tiny(ratio), "deeplabv3_tiny"))
    peaks = {"fp32": 100.0, "int8": 400.0}
    machine = {"device": "some CPU", "kind": "avx2", "threads": 1, "peaks": peaks}
    figures = deploy.deploy(tmp_path / "deploy.json", 64, 1, machine)
    # Too small to be held to a share in float32; what is left is INT8, the ratio and the memory.
    assert len(figures) == 3 and figures[1].bound == 1.5
    rows = json.loads((tmp_path / "deploy.json").read_text())["rows"]
    bf16 = has_openvino_bf16()
    assert [row["channel_ratio"] for row in rows if row["precision"] == "bf16"] == ([0, 0.5] if bf16 else [])
    assert rows[0]["name"] == "dense" and {row["channel_ratio"] for row in rows} == {0, 0.5, 0.7}
    assert all(row["share_of_peak"] > 0 for row in rows if row["precision"] in peaks)
    profiles = json.loads((tmp_path / "deploy_profile.json").read_text())
    assert [(entry["runtime"], entry["precision"]) for entry in profiles] == list(deploy.PROFILED)
    assert "Convolution" in (tmp_path / "deploy_profile.md").read_text()
    assert (tmp_path / "deploy.png").is_file() and (tmp_path / "deploy.csv").is_file()


def tiny(ratio: int) -> nn.Module:
    """A DeepLabV3 of a single block per stage; the ratio only tells the files apart."""
    torch.manual_seed(ratio)
    return build_model("deeplabv3_tiny", 7, auxiliary=False).eval()
