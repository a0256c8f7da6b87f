"""Interrupted trainings go on as if nothing had happened, and no name is used twice by accident."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import prune as library
from prune.cli import prune
from prune.cli import train as command_line
from prune.cli.train import TrainOptions, train
from prune.cli.verbs import parse
from prune.files import locked
from prune.models.checkpoint import load_checkpoint
from prune.models.torch_file import read_torch, write_torch
from tests.conftest import ROOT, TINY, command, refused
from tests.training.test_loop import SMALL, history, run


def test_resumed_equals_uninterrupted(data: Path, here: Path, stop_in_epoch: Callable[[int], None]) -> None:
    train(run(data, "whole", epochs=4))
    stop_in_epoch(3)
    with pytest.raises(KeyboardInterrupt, match="after 2 complete epochs, kept in results/runs/part/last.pth"):
        train(run(data, "part", epochs=4))
    train(run(data, "part", epochs=4, resume=True))
    assert history("part") == history("whole")
    states = [load_checkpoint(Path(f"results/models/{n}.pth")).model.state_dict() for n in ("part", "whole")]
    assert all(torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True))


@pytest.mark.slow  # 40 s
def test_a_killed_run_resumes_to_the_same_history(data: Path, here: Path) -> None:
    arguments = [str(data / "train"), str(data / "val")]
    flags = [*TINY, "--epochs", "6", "--weights", "none"]
    command("train.py", *arguments, "whole", *flags, cwd=here)
    words = [sys.executable, str(ROOT / "train.py"), *arguments, "killed", *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    process = subprocess.Popen(words, cwd=here, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.time() + 120
    while time.time() < deadline and not (
        Path("results/runs/killed/last.pth").exists() and len(history("killed")) >= 2
    ):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 2 <= len(history("killed")) < 6
    finished = command("train.py", *arguments, "killed", *flags, "--resume", cwd=here)
    assert finished.returncode == 0, finished.stderr
    assert history("killed") == history("whole")


@pytest.mark.slow
def test_a_run_killed_before_it_kept_its_first_epoch_can_be_resumed(data: Path, here: Path) -> None:
    train(run(data, "whole", epochs=1))
    train(run(data, "a", epochs=1))
    Path("results/runs/a/last.pth").unlink()  # the model is written before it
    train(run(data, "a", epochs=1, resume=True))
    assert history("a") == history("whole")
    Path("results/runs/a/last.pth").unlink()
    config = Path("results/runs/a/config.json")
    config.write_text(config.read_text().replace('"seed": 0', '"seed": 1'))
    with refused("--resume: results/models/a.pth exists and .*last.pth does not"):  # the model is of another run
        train(run(data, "a", epochs=1, resume=True))


def test_resume_refuses_other_settings(data: Path, here: Path) -> None:
    train(run(data, "a", epochs=1))
    with refused(r"--resume: --lr was 0.0005 when .*last.pth was made, found 0.1"):
        train(run(data, "a", epochs=1, lr=0.1, resume=True))


@pytest.mark.slow
def test_a_name_is_used_twice_only_when_told_to(data: Path, here: Path) -> None:
    model = train(run(data, "a", epochs=1)).checkpoint
    before = model.read_bytes()
    refusal = (
        "results/models/a.pth exists: choose another NAME, continue that run with --resume, or replace it with --force"
    )
    with refused(refusal):
        train(run(data, "a", epochs=1, seed=1))
    assert model.read_bytes() == before
    result = train(run(data, "a", epochs=2, seed=1, force=True))
    assert result.progress.epoch == 2 and len(history("a")) == 2 and model.read_bytes() != before
    assert train(run(data, "a", epochs=2, seed=1, resume=True)).progress.epoch == 2
    model.rename(model.with_name("b.pth"))
    with refused("results/runs/a/last.pth exists: choose another NAME"):
        train(run(data, "a", epochs=2, seed=1))
    with refused("--resume: results/models/a.pth, the best epoch so far, is gone: .*--force"):
        train(run(data, "a", epochs=2, seed=1, resume=True))
    with refused("--resume: results/models/b.pth exists and .*b/last.pth does not: .*--force"):
        train(run(data, "b", epochs=1, resume=True))


@pytest.mark.slow
def test_a_forced_run_that_is_interrupted_does_not_resume_the_one_it_replaced(
    data: Path, here: Path, stop_in_epoch: Callable[[int], None]
) -> None:
    train(run(data, "a", epochs=2))
    stop_in_epoch(1)
    with pytest.raises(KeyboardInterrupt, match="interrupted in the first epoch"):
        train(run(data, "a", epochs=3, force=True))
    assert {file.name.split(".")[0] for file in Path("results/runs/a").iterdir()} == {"config", "events"}
    assert train(run(data, "a", epochs=3, force=True, resume=True)).progress.epoch == 3


def test_two_trainings_of_one_name_do_not_mix(data: Path, here: Path) -> None:
    with locked(Path("results/models/a.pth")):
        with refused("results/models/a.pth is being written by another process: wait for it or"):
            train(run(data, "a", epochs=1))
        with refused("results/models/a.pth is being written by another process"):
            prune.main(["--model_name", "a", "--model", "deeplabv3_tiny", "--data_dir", str(data)])
    assert not Path("results/models/a.pth").exists() and not Path("results/runs/a").exists()


@pytest.mark.slow
def test_a_resumed_run_needs_no_flag_again(data: Path, here: Path, stop_in_epoch: Callable[[int], None]) -> None:
    flags = [*TINY, "--weights", "none", "--epochs", "3", "--lr", "0.002", "--seed", "4", "--threads", "1"]
    command_line.main([str(data / "train"), str(data / "val"), "whole", *flags])
    stop_in_epoch(3)
    with pytest.raises(KeyboardInterrupt):
        command_line.main([str(data / "train"), str(data / "val"), "part", *flags])
    for flag, value in (("lr", 0.1), ("epochs", 4), ("train_dir", data / "test")):
        words = [str(value)] if flag == "train_dir" else [f"--{flag}", str(value)]
        with refused(f"--{flag}"):
            command_line.main([*words, "--name", "part", "--resume"])
    command_line.main(["--name", "part", "--resume", "--threads", "1", "--cache"])
    assert history("part") == history("whole")
    before = json.loads(Path("results/runs/part/config.json").read_text())
    assert (before["epochs"], before["lr"], before["seed"], before["cache"]) == (3, 0.002, 4, True)


@pytest.mark.slow
def test_a_resumed_library_call_needs_no_setting_again(
    data: Path, here: Path, stop_in_epoch: Callable[[int], None]
) -> None:
    settings = {**SMALL, "epochs": 3, "classes": "crack"}
    whole = library.train(data, **settings)
    stop_in_epoch(3)
    with pytest.raises(KeyboardInterrupt, match="after 2 complete epochs, kept in part/last.pth"):
        library.train(data, run="part", **settings)
    with refused("--resume: --seed was 0 when part/last.pth was made, found 1"):
        library.train(data, run="part", resume=True, seed=1)
    result = library.train(data, run="part", resume=True)
    assert result.history == whole.history and result.checkpoint == Path("part/best.pth")
    states = [one.model.module.state_dict() for one in (result, whole)]
    assert all(torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True))


@pytest.mark.slow
def test_a_run_of_an_older_version_can_be_resumed(data: Path, here: Path) -> None:
    train(run(data, "a", epochs=2))
    last = Path("results/runs/a/last.pth")
    content = read_torch(last)
    for name in (
        "distill_weight",
        "distill_temperature",
        "distill_loss",
        "distill_features",
        "ema",
        "sparsity",
        "teacher",
    ):
        content["config"].pop(name)
    write_torch(content, last)
    assert train(run(data, "a", epochs=2, resume=True)).progress.epoch == 2


def test_what_cannot_be_resumed_is_named(data: Path, here: Path) -> None:
    with refused("--resume: expected run, the folder of the training to continue, found none"):
        library.train(data, resume=True)
    train(run(data, "a", epochs=1))
    Path("results/runs/a/config.json").write_text("{")
    with refused("--resume: results/runs/a/config.json: expected the settings of the run as JSON"):
        command_line.main(["--name", "a", "--resume"])
    Path("results/runs/a/config.json").write_text('{"lr": "fast"}')
    with refused("--resume: results/runs/a/config.json: expected float as lr, found 'fast'"):
        command_line.main(["--name", "a", "--resume"])


def test_a_foreign_state_is_named(data: Path, here: Path) -> None:
    train(run(data, "a", epochs=1))
    last = Path("results/runs/a/last.pth")
    whole = read_torch(last)
    foreign = {
        "last.pth: expected a table as its content, found a list": [1],
        "--resume: .*last.pth: expected config, found none": {"epoch": 3},
        "--resume: .*last.pth: expected a whole number as progress.epoch, found text": whole
        | {"progress": whole["progress"] | {"epoch": "1"}},
        "--resume: .*last.pth: expected the state of this run, found another": whole | {"model": {}},
        "--resume: .*: expected the state of this run, found another .*group": whole
        | {"optimizer": {"state": {}, "param_groups": []}},
    }
    for message, content in foreign.items():
        write_torch(content, last)
        with refused(message):
            train(run(data, "a", epochs=1, resume=True))


def test_stored_settings_permit_no_code(data: Path, here: Path) -> None:
    train(run(data, "a", epochs=1, lr=0.002))
    config = Path("results/runs/a/config.json")
    stored = json.loads(config.read_text())
    unsafe = {"factory": "os:system", "trust_pickle": True, "force": True}
    config.write_text(json.dumps(stored | unsafe | {"unknown": 1}))
    options = parse(TrainOptions, "", ["--name", "a", "--resume"])
    assert (options.factory, options.trust_pickle, options.force) == (None, False, False)
    assert (options.lr, options.train_dir) == (0.002, str(data / "train"))
    recipe = here / "own.ini"
    recipe.write_text("factory = os:system\n")
    with refused("own.ini: factory belongs to one run, not into a recipe"):
        parse(TrainOptions, "", ["--recipe", str(recipe)])
