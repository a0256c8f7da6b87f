"""Networks timed against each other: turns, medians, memory, and the table a person reads."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prune.benchmark.compare import NAME_WIDTH, short_names
from prune.benchmark.entries import open_network, split_name
from prune.benchmark.peaks import Peaks
from prune.benchmark.throughput import throughput
from prune.cli import benchmark
from prune.data.labels import S2DS
from prune.inference.predictor import Card, Predictor
from prune.report.charts import latency_chart
from tests.cli.test_commands import error_of, tiny_model


class Sleeping(Predictor):
    """Takes 20 ms and no core."""

    def __init__(self) -> None:
        self.card = Card("sleeping", Path("sleeping"), S2DS)

    def run(self, batch: np.ndarray) -> Any:
        assert batch.shape == (1, 3, 8, 16)
        time.sleep(0.02)


def test_throughput_adds_up_over_the_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prune.benchmark.throughput.TURN_SECONDS", 0.1)
    found = throughput({"one": [Sleeping()], "three": [Sleeping() for _ in range(3)]}, (8, 16), 3)
    assert 25 < found["one"] <= 50 and 2 * found["one"] < found["three"] <= 150


@pytest.fixture
def peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 200 GMACs/s in float32."""
    monkeypatch.setattr(
        "prune.benchmark.machine.measure_peaks", lambda *_: Peaks({"fp32": {"a": 200.0}, "bf16": {}}, 20.0)
    )
    monkeypatch.setattr("prune.benchmark.machine.cpu_kind", lambda: "some_kind")


@pytest.mark.slow  # 8 s
@pytest.mark.usefixtures("peaks")
def test_the_benchmark_of_two_networks_by_command(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_model("a")
    tiny_model("b")
    benchmark.main(["a", "b", "--size", "64", "--passes", "3", "--batch", "2", "--threads", "1"])
    said = capsys.readouterr().out
    assert "speed-up" in said and "1.00x" in said and "results/benchmarks/some_kind/latency.png" in said
    assert (
        "% of peak" in said
        and max(map(len, said.splitlines())) <= 100
        and "peak of this machine in GMACs/s: fp32 200 (" in said
    )
    content = json.loads(Path("results/benchmarks/some_kind/latency.json").read_text())
    first, second = content["rows"]
    assert (first["name"], second["name"]) == ("a", "b") and content["machine"]["threads"] == 1
    assert first["speedup"] == 1 and second["speedup"] == pytest.approx(first["ms_median"] / second["ms_median"])
    assert first["images_per_second"] == pytest.approx(2000 / first["ms_median"])
    assert first["ms_low"] <= first["ms_median"] <= first["ms_high"] and first["ms_median"] <= first["ms_p95"]
    assert 50 < first["peak_mib"] < 3000 and first["load_s"] > 0 and first["file_mib"] > 1
    assert first["parameters"] > 1e5 and first["macs"] > 1e6 and first["size"] == "64x64"
    assert first["gmacs_per_second"] == pytest.approx(
        2 * first["macs"] / first["ms_median"] / 1e6
    )  # two images per pass
    assert first["share_of_peak"] == pytest.approx(first["gmacs_per_second"] / 200)
    assert content["machine"]["kind"] == "some_kind" and content["machine"]["peaks"] == {"fp32": 200.0, "bf16": None}
    assert Path("results/benchmarks/some_kind/latency.csv").read_text().startswith("name,runtime,precision")


@pytest.mark.slow
@pytest.mark.usefixtures("peaks")
def test_the_benchmark_of_a_single_network(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_model("a")
    benchmark.main(["a", "--size", "64", "--passes", "2", "--threads", "1", "--output", "one.json"])
    (row,) = json.loads(Path("one.json").read_text())["rows"]
    assert row["speedup"] == 1 and row["share_of_peak"] > 0 and "1.00x" in capsys.readouterr().out
    assert Path("one.csv").is_file() and Path("one.png").is_file() and not Path("results/benchmarks").exists()


def test_names_are_short_on_the_screen_and_stay_different() -> None:
    assert short_names(["results/models/a.pth", "b.onnx:openvino"]) == ["a.pth", "b.onnx:openvino"]
    assert short_names(["x/a.pth", "y/a.pth", "c.pth"]) == ["x/a.pth", "y/a.pth", "c.pth"]
    (short,) = short_names(["results/exports/deeplabv3_resnet101_pruned_50_int8.onnx"])
    assert len(short) <= NAME_WIDTH and short == "deeplabv3_r…0_int8.onnx"


def test_ways_to_run_a_file(here: Path) -> None:
    tiny_model("a")
    assert split_name("a:bf16") == (Path("results/models/a.pth"), "bf16")
    assert open_network("a:bf16", 1).card.precision == "bf16"


def test_mistakes_in_benchmarking(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_model("a")
    assert "model file b not found" in error_of(benchmark.main, ["a", "b"], capsys)
    assert "expected one of bf16, compiled, openvino" in error_of(benchmark.main, ["a", "a:fp8"], capsys)
    assert "openvino runs .onnx and .xml files" in error_of(benchmark.main, ["a", "a:openvino"], capsys)
    assert "a is named twice" in error_of(benchmark.main, ["a", "a"], capsys)
    Path("x.onnx").write_bytes(b"")
    assert "bf16 is for checkpoints" in error_of(benchmark.main, ["a", "x.onnx:bf16"], capsys)


def test_the_latency_chart_is_drawn(tmp_path: Path) -> None:
    row = {"runtime": "onnx", "precision": "int8", "ms_median": 5.0, "ms_low": 4.0, "ms_high": 7.0, "speedup": 2.0}
    file = latency_chart([row | {"name": "a"}, row | {"name": "b"}], tmp_path / "a.png", title="x")
    assert file.stat().st_size > 5000
