"""What the project's own figures are measured by: the real commands and functions, on microscopic networks."""

from pathlib import Path

import numpy as np
import pytest
import torch

from prune.benchmark.figures import Figure
from prune.benchmark.folder_speed import Job, folder_rate, write_photographs
from prune.benchmark.suites import SuiteResult, evaluation_overhead
from prune.deployment.export import export
from prune.deployment.target import ExportTarget
from prune.models import build_model
from prune.models.checkpoint import Network, save_checkpoint
from tests.conftest import make_data


def tiny_network() -> Network:
    torch.manual_seed(0)
    return Network(build_model("deeplabv3_tiny", 7, auxiliary=False).eval(), "deeplabv3_tiny")


@pytest.mark.slow
def test_the_share_of_scoring_is_read_from_the_result_of_the_command(tmp_path: Path) -> None:
    make_data(tmp_path / "data", (1, 1, 2))
    save_checkpoint(tiny_network(), tmp_path / "results/models/dense.pth")
    figure = evaluation_overhead(tmp_path, 2)
    assert 0 < figure.value < 100 and "network" in figure.detail and figure.detail.endswith("2 images")


@pytest.mark.slow  # 8 s
def test_a_folder_is_gone_through_by_the_library(tmp_path: Path) -> None:
    photos = write_photographs(tmp_path / "photos", 2)
    assert len(photos) == 2
    file = export(tiny_network(), ExportTarget("onnx"), tmp_path / "a.onnx")
    rate = folder_rate(Job("masks", "save_mask", "png", 85.0), file, tmp_path / "photos", tmp_path / "out")
    assert np.isfinite(rate) and rate > 0 and len(list((tmp_path / "out").iterdir())) == 2


def test_figures_fit_a_narrow_screen() -> None:
    name = "share of the float32 peak: lowest of the networks over 5 GMACs"
    figures = [Figure(name, 0.123, "GiB", ">=", 0.8, "what stands in the file only"), Figure("b", 2, "x", "<=", 1, "")]
    lines = str(SuiteResult(figures, Path("results/benchmarks/avx512_vnni/networks_bench.json"))).splitlines()
    assert max(map(len, lines)) <= 100 and lines[-1].startswith("figures  results/") and lines[2].endswith("no")
