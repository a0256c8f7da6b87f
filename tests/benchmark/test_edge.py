"""Benchmarking on the box a network goes to, where there is no PyTorch, SciPy, pandas or Matplotlib."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from prune.benchmark.machine import resolved_device
from prune.benchmark.peaks import NUMBERS
from prune.deployment.export import export
from prune.deployment.target import ExportTarget
from prune.models import build_model
from prune.models.checkpoint import Network
from tests.cli.test_commands import tiny_model
from tests.conftest import ROOT

BLOCKER = """
import importlib.abc, sys
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top not in {allowed!r} and top not in sys.stdlib_module_names and not top.startswith("_"):
            raise ModuleNotFoundError(f"{{name}} is not on this box", name=name)
sys.meta_path.insert(0, Blocker())
"""
QUICKLY = """
import prune.benchmark.machine as machine
from functools import partial
from prune.benchmark.peaks import PeakSettings
settings = PeakSettings(rounds=1, matrix=64, pointwise=(8, 8), square=(8, 8), depth=1, copied_mib=1)
machine.measure_peaks = partial(machine.measure_peaks, settings=settings)
from prune.cli.start import program
sys.exit(program())
"""


def on_the_box(allowed: list[str], *words: object) -> subprocess.CompletedProcess[str]:
    """``prune-crackseg`` where nothing but some packages can be imported, in processes that it starts too."""
    Path("box").mkdir(exist_ok=True)
    Path("box/sitecustomize.py").write_text(BLOCKER.format(allowed=["numpy", "PIL", "prune", *allowed]))
    environment = {**os.environ, "PYTHONPATH": f"box{os.pathsep}{ROOT}"}
    line = [sys.executable, "-c", f"import sys\n{QUICKLY}", *map(str, words)]
    return subprocess.run(line, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(("packages", "name"), [(["onnxruntime"], "numpy matrix product"), (["openvino"], "openvino")])
@pytest.mark.slow
def test_exports_are_timed_without_pytorch(here: Path, packages: list[str], name: str) -> None:
    network = Network(build_model("deeplabv3_tiny", 7, auxiliary=False).eval(), "deeplabv3_tiny")
    export(network, ExportTarget("onnx", size=(64, 64)), here / "a.onnx")
    entry = "a.onnx:openvino" if packages == ["openvino"] else "a.onnx"
    done = on_the_box(packages, "benchmark", entry, "--size", 64, "--passes", 2, "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert "peak of this machine in GMACs/s: fp32" in done.stdout and "1.00x" in done.stdout
    (file,) = Path("results/benchmarks").glob("*/latency.json")
    content = json.loads(file.read_text())
    (row,) = content["rows"]
    assert row["ms_median"] > 0 and row["macs"] and row["share_of_peak"] > 0 and row["peak_mib"] > 0
    machine = content["machine"]
    assert machine["threads"] == 1 and machine["cores"] == os.cpu_count() and machine["copy_gb_per_second"] > 0
    assert set(machine["peaks"]) == set(NUMBERS) and any(name in key for key in machine["peak_candidates"]["fp32"])
    assert "torch" not in content["versions"] and file.with_suffix(".csv").is_file()
    assert not file.with_suffix(".png").exists()


def test_a_checkpoint_on_the_box_says_what_is_missing(here: Path) -> None:
    tiny_model("a")
    done = on_the_box(["onnxruntime"], "benchmark", "a", "--size", 64, "--passes", 1)
    assert done.returncode == 2 and "pip install prune-crackseg[train]" in done.stderr
    assert "Traceback" not in done.stderr and not done.stdout


def test_auto_is_the_cpu_where_pytorch_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolved_device("cpu") == "cpu"
    monkeypatch.setattr("prune.benchmark.machine.has_torch", lambda: False)
    assert resolved_device("auto") == "cpu"
