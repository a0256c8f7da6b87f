"""The commands and the Python lines of the README run as they are written; only networks and epochs are made small."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, TINY, make_data
from tests.test_docs import README, blocks, words_of

MADE_BY_MAKE = {"make demo", "make test", "make app"}
"""Command lines that .ci/run and its targets run."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with drawn photographs where the README has S2DS, the scripts, and the photograph of a bridge."""
    make_data(tmp_path / "data/S2DS", counts=(8, 4, 4))
    for script in ROOT.glob("*.py"):
        (tmp_path / script.name).symlink_to(script)
    (tmp_path / "photos").symlink_to(tmp_path / "data/S2DS/test/Images")
    (tmp_path / "bridge.jpg").symlink_to(tmp_path / "data/S2DS/test/Images/000.png")
    return tmp_path


def run(words: list[str], place: Path) -> str:
    """What a command prints; it has to succeed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    finished = subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, f"{words}:\n{finished.stdout[-2000:]}\n{finished.stderr[-2000:]}"
    return finished.stdout


def smaller(verb: str, words: list[str]) -> list[str]:
    """Flags that make a command of the README cheap; the later of two equal flags counts."""
    if verb == "train":
        named = ["--pruned_model", "--load_pretrained_weights", "--recipe"]
        tiny = TINY if not set(named) & set(words) else TINY[2:]
        return [*tiny, "--epochs", "1"]
    if verb == "prune":
        return ["--calibration_batches", "1"] if "--calibration_batches" in words else []
    return ["--min_agreement", "0", "--max_miou_drop", "100", "--max_crack_drop", "100"] if verb == "export" else []


@pytest.mark.slow
def test_the_commands_of_the_readme_run_in_their_order(place: Path) -> None:
    lines = [line for block in blocks(README, "sh") for line in block.splitlines() if line.strip()]
    ran = 0
    for line in lines:
        command = words_of(line)
        if command is None:
            assert line.partition("#")[0].strip() in MADE_BY_MAKE, line
            continue
        verb, words = command
        run([sys.executable, "-m", "prune", verb, *words, *smaller(verb, words)], place)
        ran += 1
    assert ran >= 5


@pytest.mark.slow
def test_the_python_lines_of_the_readme_run(place: Path) -> None:
    (block,) = blocks(README, "python")
    tiny = block.replace("deeplabv3_resnet101", "deeplabv3_tiny")
    tiny = re.sub(r"epochs=\d+", "epochs=1, crop_size=64, batch_size=4, workers=0", tiny)
    tiny = tiny.replace(
        'precision="int8", ', 'precision="int8", min_agreement=0, max_miou_drop=100, max_crack_drop=100, '
    )
    said = run([sys.executable, "-c", f"{tiny}\nprint(found, found.measure(mm_per_pixel=0.2))"], place)
    assert "px)" in said and "Crack" in said
    assert (place / "small.onnx").is_file()
