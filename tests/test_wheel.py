"""What somebody gets who installs the package."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prune.files import SHIPPED
from prune.version import VERSION
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree; fetches setuptools."""
    folder = tmp_path_factory.mktemp("wheel")
    words = ["wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, cwd=folder)
    return folder / f"prune_crackseg-{VERSION}-py3-none-any.whl"


@pytest.mark.slow
def test_the_wheel_holds_the_package_its_recipes_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    info = f"prune_crackseg-{VERSION}.dist-info"
    assert {name.split("/")[0] for name in names} == {"prune", info}
    shipped = {f"prune/inference/weights/{file.name}" for file in SHIPPED.glob("*.onnx")}
    recipes = {f"prune/recipes/{file.name}" for file in (ROOT / "prune/recipes").glob("*.ini")}
    modules = {str(file.relative_to(ROOT)) for file in (ROOT / "prune").rglob("*.py")}
    assert shipped and recipes | shipped | modules | {"prune/py.typed"} <= set(names)
    assert (
        "prune-crackseg = prune.cli.start:program" in zipfile.ZipFile(wheel).read(f"{info}/entry_points.txt").decode()
    )


@pytest.mark.slow  # fetches NumPy, Pillow and ONNX Runtime
def test_an_edge_box_runs_a_network_without_pytorch(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "box", with_pip=True)
    python, program = tmp_path / "box/bin/python", tmp_path / "box/bin/prune-crackseg"
    subprocess.run([python, "-m", "pip", "install", "--quiet", f"{wheel}[runtime]"], check=True, cwd=tmp_path)
    listed = subprocess.run([python, "-m", "pip", "list"], check=True, cwd=tmp_path, capture_output=True, text=True)
    assert "onnxruntime" in listed.stdout and "torch" not in listed.stdout
    Image.fromarray(np.full((64, 80, 3), 150, np.uint8)).save(tmp_path / "wall.png")

    def said(*words: str) -> str:
        finished = subprocess.run([program, *words], cwd=tmp_path, capture_output=True, text=True)
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    assert said("--version").strip().endswith(VERSION)
    said("predict", "--image", "wall.png", "--mode", "save_mask", "--save_figure", "--output_dir", "masks")
    assert np.asarray(Image.open(next((tmp_path / "masks").glob("*.png")))).shape == (64, 80)
    assert "Crack" in said("inspect", "crack")
    assert "crack" in said("benchmark", "crack", "--size", "64", "--passes", "2")


def test_the_citation_names_this_version() -> None:
    assert f"version: {VERSION}\n" in (ROOT / "CITATION.cff").read_text()
