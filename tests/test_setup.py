"""Rules of this project that a tool can check."""

import importlib
import inspect
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from prune.cli.study import StudyOptions
from prune.cli.verbs import VERBS, options_of, parse
from prune.options import flag_of

ROOT = Path(__file__).parent.parent


def test_conda_and_pip_pins_are_equal() -> None:
    pins = (ROOT / "requirements.txt").read_text().split("\n")
    conda = re.findall(r"^      - (.+)$", (ROOT / "environment.yml").read_text(), flags=re.M)
    assert [p for p in pins if p] == conda
    assert {"torch==2.12.1", "torchvision==0.27.1"} <= set(conda)


def test_pruning_knows_neither_data_nor_training() -> None:
    for file in (ROOT / "prune/pruning").glob("*.py"):
        assert not re.search(r"from prune\.(data(?!\.settings)|training|cli)", file.read_text()), file.name


HEAVY = {"torch", "torchvision", "scipy", "matplotlib", "pandas", "openvino", "onnxruntime"}
"""What takes long to import."""


def imported(*words: str, cwd: Path) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """Run a command line of this project: how it ended, and the heavy packages it imported on the way."""
    words = tuple(str(ROOT / word) if word in SCRIPTS else word for word in words)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    finished = subprocess.run(
        [sys.executable, "-X", "importtime", *words], cwd=cwd, env=environment, capture_output=True, text=True
    )
    modules = {line.rsplit("|")[-1].strip() for line in finished.stderr.splitlines() if line.startswith("import time:")}
    return finished, modules & HEAVY


SCRIPTS = {verb.script: name for name, verb in VERBS.items() if verb.script}


@pytest.mark.parametrize("words", [[s] for s in SCRIPTS] + [["-m", "prune", name] for name in VERBS], ids=" ".join)
def test_help_and_mistyped_flags_import_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    finished, heavy = imported(*words, "--help", cwd=tmp_path)
    assert finished.returncode == 0 and not heavy
    name = SCRIPTS.get(words[0]) or words[-1]
    assert finished.stdout.startswith(f"usage: {' '.join(['python', *words]) if words[0] == '-m' else words[0]} ")
    for flag in (field for field in fields(options_of(name)) if not field.metadata["positional"]):
        assert flag_of(flag) in finished.stdout
    finished, heavy = imported(*words, "--no_such_flag", cwd=tmp_path)
    assert finished.returncode == 2 and "unrecognized arguments: --no_such_flag" in finished.stderr and not heavy


def test_values_and_commands_are_checked_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    mistakes = {
        ("train.py", "--batch_size", "0"): "--batch_size: expected at least 2, found 0",
        ("train.py", "--recipe", "nothing"): "--recipe: expected one of",
        ("-m", "prune", "compare", "a.json"): "compare: expected at least two .json files, found 1",
        ("-m", "prune", "fly"): "unknown command 'fly': expected one of train, test",
        ("train.py", "--epohcs=3"): "unrecognized arguments: --epohcs=3, did you mean --epochs?",
        ("-m", "prune", "trian"): "unknown command 'trian', did you mean train?",
    }
    for words, message in mistakes.items():
        finished, heavy = imported(*words, cwd=tmp_path)
        assert finished.returncode == 2 and f"error: {message}" in finished.stderr and not heavy
    finished, heavy = imported("-m", "prune", "--help", cwd=tmp_path)
    assert finished.returncode == 0 and not heavy
    assert all(
        f"  {name:12} {text}" in finished.stdout for name, text in ((n, v.description) for n, v in VERBS.items())
    )


def test_the_demo_has_defaults_of_its_own_and_flags_win_over_them() -> None:
    demo: Any = parse(options_of("demo"), "", ["--epochs", "100"])
    study = StudyOptions()
    assert (demo.epochs, demo.crop_size, demo.name) == (study.epochs, 96, "demo")
    assert demo.pruning_ratio == study.pruning_ratio and isinstance(demo, StudyOptions)


def test_every_verb_has_its_work_in_a_module_of_its_name() -> None:
    for name in VERBS:
        assert list(inspect.signature(importlib.import_module(f"prune.cli.{name}").run).parameters) == ["options"]


def test_the_scripts_are_thin() -> None:
    for name in ("train.py", "test.py", "torchvision_pruning.py", "inference.py"):
        assert len((ROOT / name).read_text().splitlines()) <= 12
