"""The commands and the Python lines of README and docs run as they are written; only networks and epochs are made small."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from prune import score, survey
from prune.cli.verbs import options_of
from prune.data.labels import S2DS
from prune.files import shipped_model
from prune.models import build_model
from prune.models.checkpoint import Network, save_checkpoint
from tests.conftest import ROOT, TINY, make_data
from tests.test_docs import PAGES, README, blocks, words_of

MADE_BY_MAKE = {"make demo", "make test", "make app"}
"""Command lines that .ci/run and its targets run."""
NOT_RUN = {
    "app": "serves until it is stopped: tests/web starts it",
    "study examples/study.toml": "takes minutes: a plan like it is run by tests/studies",
}
"""Commands of docs that are only parsed here (tests/test_docs.py), by how they begin, with the reason."""
NAMES = {"DATA": "data/S2DS", "5M": "2M"}
"""What stands in docs for a name of the reader's own, and a size that suits a larger network."""
ORDER = ("index.md", "edge.md", "inspector.md")
"""Pages whose commands make what others take."""


def prepare(folder: Path) -> Path:
    """Put into a folder what README and docs suppose: drawn photographs where they have S2DS, and the scripts."""
    make_data(folder / "data/S2DS", counts=(8, 4, 4))
    for script in ROOT.glob("*.py"):
        (folder / script.name).symlink_to(script)
    (folder / "photos").symlink_to(folder / "data/S2DS/test/Images")
    (folder / "bridge.jpg").symlink_to(folder / "data/S2DS/test/Images/000.png")
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder of a reader of the README."""
    return prepare(tmp_path)


@pytest.fixture
def docs_place(tmp_path: Path) -> Path:
    """A folder of a reader of the docs: what its pages call their own (photographs, masks, networks, evaluations, a survey)."""
    prepare(tmp_path)
    test = tmp_path / "data/S2DS/test"
    for name in ("download", "results/corrections", "data/CRACK500"):
        shutil.copytree(tmp_path / "data/S2DS" if name != "results/corrections" else test, tmp_path / name)
    shutil.copytree(test, tmp_path / "data/mine")
    for image in (tmp_path / "data/mine").glob("*/*.png"):  # enough for three splits
        for number in range(4):
            shutil.copy(image, image.with_stem(f"{image.stem}_{number}"))
    network = Network(build_model("deeplabv3_tiny", len(S2DS)), "deeplabv3_tiny", S2DS)
    save_checkpoint(network, tmp_path / "results/models/network.pth")
    for name in ("a", "b"):
        score(test / "Labels_grayscale", test, workbook=tmp_path / f"results/metrics/{name}.xlsx")
    (tmp_path / "photos_2026").symlink_to(test / "Images")
    survey(test / "Images", "crack", output=tmp_path / "results/surveys/photos_2024")
    shutil.copy(shipped_model("crack") or "", tmp_path / "network.onnx")
    for name in ("masks", "labels", "predictions"):
        (tmp_path / name).symlink_to(test / "Labels_grayscale")
    return tmp_path


STUDY = ["--epochs", "1", "--finetune_epochs", "1", "--crop_size", "64", "--batch_size", "4", "--workers", "0"]


def run(words: list[str], place: Path) -> str:
    """What a command prints; it has to succeed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    finished = subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, f"{words}:\n{finished.stdout[-2000:]}\n{finished.stderr[-2000:]}"
    return finished.stdout


def within_reach(words: list[str], place: Path) -> list[str]:
    """A latency that this machine's own is above, for the microscopic network that takes the place of a real one."""
    if "--target_latency_ms" not in words:
        return []
    told = subprocess.run(
        [sys.executable, "-m", "prune", "prune", *words, "--target_latency_ms", "1e6"],
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    found = re.search(r"the unpruned network's ([\d.]+) ms", told.stderr)
    assert told.returncode == 2 and found, told.stderr
    return ["--target_latency_ms", f"{0.5 * float(found[1]):.3g}"]


def smaller(verb: str, words: list[str]) -> list[str]:
    """Flags that make a command of the README cheap; the later of two equal flags counts."""
    if verb == "train":
        named = ["--pruned_model", "--load_pretrained_weights", "--recipe"]
        tiny = TINY if not set(named) & set(words) else TINY[2:]
        return [*tiny, "--epochs", "1", "--warmup_epochs", "0"]
    if verb == "study":
        return [*STUDY, "--networks", "deeplabv3_tiny"]
    if verb == "networks":
        return [*STUDY, "--models", "deeplabv3_tiny"]
    if verb == "inference":
        return [] if "--save_figure" in words else ["--save_figure"]  # there is no display
    if verb == "benchmark":
        return ["--size", "64", "--repeats", "2"]
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


def line_of(words: list[str]) -> list[str]:
    """A command's words with the reader's own names replaced."""
    return [NAMES.get(word, word) for word in words]


@pytest.mark.slow
def test_the_commands_of_the_docs_run(docs_place: Path) -> None:
    pages = sorted((page for page in PAGES if page != README), key=lambda page: page.name)
    pages.sort(key=lambda page: ORDER.index(page.name) if page.name in ORDER else len(ORDER))
    ran, left, failed = 0, set(), []
    for line in (line for page in pages for block in blocks(page, "sh") for line in block.splitlines()):
        command = words_of(line)
        if command is None:
            continue
        verb, words = command[0], line_of(command[1])
        skipped = next((start for start in NOT_RUN if " ".join([verb, *words]).startswith(start)), None)
        if skipped is not None:
            left.add(skipped)
            continue
        # Pages use the same names for results of other settings.
        forced = ["--force"] if any(field.name == "force" for field in fields(options_of(verb))) else []
        more = within_reach(words, docs_place) if verb == "prune" else []
        try:
            run([sys.executable, "-m", "prune", verb, *words, *smaller(verb, words), *more, *forced], docs_place)
        except AssertionError as error:  # the others are tried too: all of them take minutes
            failed.append(str(error))
        ran += 1
    assert not failed, "\n\n".join(failed)
    assert ran >= 30
    assert left == set(NOT_RUN)
