"""The command line under torchrun: the history of one process, kills, resuming, and one line for every mistake."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

import prune
from prune.models.checkpoint import load_checkpoint
from tests.conftest import PINNED, ROOT, make_data
from tests.training.several import Pixels, free_port

LONG = 900
"""Seconds after which a process is taken to hang, also on a computer that is busy with other work."""
FLAGS = ("--crop_size", "64", "--workers", "0", "--batch_size", "4", "--device", "cpu", *PINNED)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Validation images so large that a pixel that flips moves a score by less than 1e-4."""
    root = make_data(tmp_path_factory.mktemp("several") / "S2DS", (10, 0, 0))
    make_data(root / "large", (0, 5, 0), size=256)
    (root / "large/val").rename(root / "val")
    torch.manual_seed(0)
    settings = {"lr": 0.5, "momentum": 0.0, "optimizer": "sgd", "class_weights": "sqrt_inverse", "crop_size": 64}
    settings |= {"epochs": 8, "batch_size": 4, "workers": 0, "amp": "off", "channels_last": True, "device": "cpu"}
    file = root / "pixels.pth"  # trained, so that few pixels lie between two classes, where rounding decides
    prune.train(
        root / "train", root / "val", start=Pixels(), factory=Pixels, classes="s2ds", checkpoint=file, **settings
    )
    return root


def start(
    here: Path, photos: Path, name: str, *flags: object, processes: int = 2, program: Sequence[str] = (), **how: bool
) -> subprocess.Popen[str]:
    """A training by ``torchrun``, or by one process without it; ``how`` is for ``subprocess.Popen``."""
    several = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--master_port", str(free_port())]
    words = [sys.executable, *(several if processes > 1 else []), *(program or [str(ROOT / "train.py")])]
    words += [str(photos / "train"), str(photos / "val"), name, *FLAGS]
    if "--model" not in flags:
        words += ["--pruned_model", str(photos / "pixels.pth"), "--factory", "tests.training.several:Pixels"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **how}
    return subprocess.Popen([*words, *map(str, flags)], cwd=here, env=variables, **pipes)


def end(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a process printed; the test fails when it does not end."""
    try:
        return process.communicate(timeout=LONG)
    except subprocess.TimeoutExpired:
        for one in [*psutil.Process(process.pid).children(recursive=True), process]:
            one.kill()
        raise


def finish(process: subprocess.Popen[str]) -> str:
    """What a process that must succeed printed."""
    out, err = end(process)
    assert process.returncode == 0, err
    return out


def rows(here: Path, name: str) -> list[dict[str, str]]:
    file = here / "results/runs" / name / "history.csv"
    return list(csv.DictReader(file.read_text().splitlines())) if file.exists() else []


def largest_difference(here: Path, one: str, two: str) -> float:
    """Of all numbers of two histories; a score without a value must have none in both."""
    pairs = [(a[key], b[key]) for a, b in zip(rows(here, one), rows(here, two), strict=True) for key in a]
    assert pairs and all((a == "") == (b == "") for a, b in pairs)
    return max(abs(float(a) - float(b)) for a, b in pairs if a)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + LONG
    while time.monotonic() < until and process.poll() is None and not condition():
        time.sleep(0.02)
    assert condition(), end(process)


@pytest.mark.slow
def test_two_processes_give_the_history_of_one(here: Path, photos: Path) -> None:
    flags = ("--epochs", 4, "--optimizer", "sgd", "--lr", 0.05, "--momentum", 0)
    finish(start(here, photos, "one", *flags, processes=1))
    out = finish(start(here, photos, "two", *flags))
    assert out.count("epoch 4/4") == out.count("history  results") == 1 and "batches of 2 in each of 2 processes" in out
    found = rows(here, "one")
    assert len({row["val_crack_lt_iou_4"] for row in found}) > 1  # the network learns, and finds cracks
    assert largest_difference(here, "one", "two") < 1e-4
    states = [
        load_checkpoint(here / f"results/models/{name}.pth", factory=Pixels).model.state_dict()
        for name in ("one", "two")
    ]
    assert states[0].keys() == states[1].keys()
    for a, b in zip(states[0].values(), states[1].values(), strict=True):
        torch.testing.assert_close(a.double(), b.double(), rtol=1e-3, atol=1e-4)
    finish(start(here, photos, "two", *flags, "--sync_batchnorm", False, "--force"))
    assert largest_difference(here, "one", "two") > 1e-3  # the comparison sees a batch norm over half of the batch


@pytest.mark.slow
def test_in_float64_two_processes_compute_what_one_computes(here: Path, photos: Path) -> None:
    """Auxiliary heads, Adam, clipping and an accumulation that the end of an epoch, after 5 batches, cuts short."""
    program = ("-m", "tests.training.several")
    flags = ("--model", "hrsegnet_b16", "--weights", "none", "--epochs", 2, "--accumulate", 2, "--clip", 0.5)
    flags = (*flags, "--batch_size", 2, "--val_images", 3)
    finish(start(here, photos, "one", *flags, processes=1, program=program))
    finish(start(here, photos, "two", *flags, program=program))
    assert largest_difference(here, "one", "two") < 1e-9


@pytest.mark.slow
def test_two_killed_processes_resume_to_the_same_history(here: Path, photos: Path) -> None:
    flags = ("--epochs", 12, "--workers", 1, "--cache", True)
    finish(start(here, photos, "whole", *flags))
    process = start(here, photos, "killed", *flags)
    wait_for(lambda: len(rows(here, "killed")) >= 2, process)
    for one in [*psutil.Process(process.pid).children(recursive=True), process]:
        one.kill()
    process.communicate(timeout=60)
    assert 2 <= len(rows(here, "killed")) < 12
    finish(start(here, photos, "killed", *flags, "--resume"))
    assert rows(here, "killed") == rows(here, "whole")


@pytest.mark.slow
def test_another_number_of_processes_resumes_with_a_warning(here: Path, photos: Path) -> None:
    warmup = ("--warmup_epochs", 1)
    process, last = start(here, photos, "a", "--epochs", 200, *warmup), here / "results/runs/a/last.pth"
    wait_for(last.exists, process)
    process.send_signal(signal.SIGTERM)
    out, err = end(process)
    done = len(rows(here, "a"))
    line = f"interrupted after {done} complete epochs, kept in results/runs/a/last.pth: continue with --resume\n"
    assert process.returncode != 0 and err.count("interrupted") == err.count(line) == 1, err
    content = torch.load(last)
    content["config"]["epochs"] = done + 2  # 200 would take long
    torch.save(content, last)
    out = finish(start(here, photos, "a", "--epochs", done + 2, *warmup, "--resume", processes=1))
    assert f"resumed  after epoch {done} of" in out and len(rows(here, "a")) == done + 2
    assert out.count("WARNING  1 process, 2 before: the history differs in the last digits") == 1
    taught = ("--epochs", 1, "--teacher", here / "results/models/a.pth", "--distill_loss", "kl+cwd")
    taught = (*taught, "--distill_features", 1, "--ema", 0.9, "--sparsity", 1e-4)
    finish(start(here, photos, "taught", *taught, processes=1))
    out = finish(start(here, photos, "two", *taught))
    assert "teacher" in out and largest_difference(here, "taught", "two") < 1e-4


@pytest.mark.slow
def test_ctrl_c_reaches_every_process_and_is_told_once(here: Path, photos: Path) -> None:
    """As from a terminal: the signal goes to torchrun and to the processes it started. Torchrun adds tracebacks of its own."""
    process = start(here, photos, "a", "--epochs", 500, "--workers", 1, start_new_session=True)
    wait_for((here / "results/runs/a/last.pth").exists, process)
    os.killpg(process.pid, signal.SIGINT)
    out, err = end(process)
    done = len(rows(here, "a"))
    line = f"interrupted after {done} complete epochs, kept in results/runs/a/last.pth: continue with --resume\n"
    assert process.returncode != 0 and err.count("interrupted") == err.count(line) == 1, err
    assert f"{ROOT}/prune/" not in err and "train.py" not in err and "KeyboardInterrupt" not in out + err, err
    content = torch.load(here / "results/runs/a/last.pth")
    assert content["config"]["epochs"] == 500 and done >= 1


@pytest.mark.slow
def test_a_killed_process_ends_the_others_with_one_line(here: Path, photos: Path) -> None:
    process = start(here, photos, "a", "--epochs", 500)
    wait_for((here / "results/runs/a/last.pth").exists, process)
    next(w for w in psutil.Process(process.pid).children() if w.environ().get("RANK") == "1").kill()
    said = end(process)[1]
    assert process.returncode != 0 and said.count("error: ") == 1 and "[rank0]" not in said
    assert "another process of this training ended without a message" in said


@pytest.mark.slow
@pytest.mark.parametrize("image", ["train/Images/003.png", "val/Images/001.png"])
def test_an_image_that_one_process_cannot_read_ends_all_with_one_line(
    here: Path, photos: Path, tmp_path: Path, image: str
) -> None:
    copied = shutil.copytree(photos, tmp_path / "broken")
    whole = (copied / image).read_bytes()
    (copied / image).write_bytes(whole[: len(whole) // 2])
    process = start(here, copied, "a", "--epochs", 2)
    said = end(process)[1]
    assert process.returncode != 0 and said.count("error: ") == 1 and Path(image).name in said and "[rank" not in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("--batch_size", 5), "error: --batch_size: expected a multiple of the 2 processes of torchrun, found 5\n"),
        (("--lr", "inf"), "error: --lr: expected a finite number, found inf\n"),
        (("--no_such", 1), "error: unrecognized arguments: --no_such"),
    ],
)
def test_a_mistake_is_told_once(here: Path, photos: Path, flags: tuple[object, ...], line: str) -> None:
    process = start(here, photos, "a", "--epochs", 1, *flags)
    said = end(process)[1]
    assert process.returncode == 1 and said.count(line) == said.count("error: ") == 1, said
