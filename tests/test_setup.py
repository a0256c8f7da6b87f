"""The house rules that a tool can check."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
LAYERS = [
    {"errors", "files", "options", "recipes", "config", "progress"},
    {"hardware", "data", "models", "losses", "metrics"},
    {"pruning", "checkpoint"},
    {"predict", "runtimes", "predict_torch", "probability", "gradcam"},
    {"engine", "latency"},
    {"benchmark", "report"},
    {"contenders", "export", "parity"},
    {"contest", "probe"},
    {"commands"},
]
"""Imports run from later rows to earlier ones, or within a row."""


def test_conda_and_pip_pins_are_equal() -> None:
    pins = (ROOT / "requirements.txt").read_text().split("\n")
    conda = re.findall(r"^      - (.+)$", (ROOT / "environment.yml").read_text(), flags=re.M)
    assert [p for p in pins if p] == conda
    assert {"torch==2.12.1", "torchvision==0.27.1"} <= set(conda)


def test_imports_run_one_way() -> None:
    rank = {name: number for number, row in enumerate(LAYERS) for name in row}
    for file in (ROOT / "prune").rglob("*.py"):
        own = file.relative_to(ROOT / "prune").parts[0].removesuffix(".py")
        if own not in rank:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("prune."):
                other = node.module.split(".")[1]
                assert rank[other] <= rank[own], f"{file.name} of {own} imports {node.module}"


def test_pruning_knows_neither_data_nor_engine() -> None:
    for file in (ROOT / "prune/pruning").glob("*.py"):
        assert not re.search(r"from prune\.(data|engine|commands)", file.read_text()), file.name


def test_the_scripts_are_thin() -> None:
    for name in ("train.py", "test.py", "torchvision_pruning.py", "inference.py"):
        assert len((ROOT / name).read_text().splitlines()) <= 12
