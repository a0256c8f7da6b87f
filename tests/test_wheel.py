"""What somebody gets who installs the package."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from prune.version import VERSION
from tests.conftest import ROOT


@pytest.mark.slow  # fetches setuptools
def test_the_wheel_holds_the_package_its_recipes_and_nothing_else(tmp_path: Path) -> None:
    words = ["wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, cwd=tmp_path)
    wheel = tmp_path / f"prune_crackseg-{VERSION}-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    info = f"prune_crackseg-{VERSION}.dist-info"
    assert {name.split("/")[0] for name in names} == {"prune", info}
    recipes = {f"prune/recipes/{file.name}" for file in (ROOT / "prune/recipes").glob("*.ini")}
    modules = {str(file.relative_to(ROOT)) for file in (ROOT / "prune").rglob("*.py")}
    assert recipes | modules | {"prune/py.typed"} <= set(names)
    assert (
        "prune-crackseg = prune.cli.verbs:program" in zipfile.ZipFile(wheel).read(f"{info}/entry_points.txt").decode()
    )


def test_the_citation_names_this_version() -> None:
    assert f"version: {VERSION}\n" in (ROOT / "CITATION.cff").read_text()
