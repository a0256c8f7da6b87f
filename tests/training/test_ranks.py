"""Several processes train one network as one process would; one of them speaks and writes."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
import torch

import prune
from prune.cli.train import train
from prune.data.dataset import EpochSampler, Share
from prune.data.labels import S2DS
from prune.errors import UserError
from prune.models.checkpoint import load_checkpoint
from prune.models.torch_file import write_torch
from prune.number_format import NumberFormat
from prune.training import loop as fit
from prune.training import ranks
from prune.training.loop import RunFiles
from prune.training.parallel import data_parallel
from prune.training.ranks import one_message, own_device, share_of_threads, signals_interrupt
from prune.training.run import run_numbers
from prune.training.settings import TrainSettings
from tests.conftest import PINNED, ROOT, make_data, refused
from tests.training.several import CPU, Pixels, Small, environment, free_port, one_step, work
from tests.training.test_loop import run

FLAGS = ("--crop_size", "64", "--workers", "0", "--batch_size", "4", "--device", "cpu", *PINNED)


@pytest.fixture
def second_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of rank 1 of 2."""
    for name, value in environment(1, 2, free_port()).items():
        monkeypatch.setenv(name, value)


def test_the_shares_of_a_batch_are_the_batch_of_one_process() -> None:
    whole = EpochSampler(11, seed=3)
    shares = [EpochSampler(11, 3, 4, Share(rank, 2)) for rank in (0, 1)]
    for epoch in (0, 5):
        for sampler in (whole, *shares):
            sampler.epoch = epoch
        drawn, parts = list(whole), [list(share) for share in shares]
        assert [len(share) for share in shares] == [len(part) for part in parts] == [4, 4]
        for batch in (0, 1):  # the 3 samples that fill no batch are left out, as the loader of one process does
            joined = [draw for part in parts for draw in part[2 * batch : 2 * batch + 2]]
            assert joined == drawn[4 * batch : 4 * batch + 4]


def test_loss_gradients_and_statistics_of_two_processes_are_those_of_one(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(work, (free_port(), tmp_path), nprocs=2)
    whole = one_step(0, 1)
    for rank in (0, 1):
        part = torch.load(tmp_path / f"{rank}.pt")
        part = {name: value for name, value in part.items() if not name.endswith("unused")}
        assert part.keys() == whole.keys()
        for name, value in whole.items():
            torch.testing.assert_close(
                part[name], value, rtol=1e-9, atol=1e-12, msg=lambda text, n=name: f"{n}: {text}"
            )


def test_one_process_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Small()
    with data_parallel(model, CPU, sync_batchnorm=True) as forward:
        assert forward is model
    assert (ranks.started(), ranks.size(), ranks.rank(), share_of_threads()) == (1, 1, 0, 0)
    assert ranks.gathered("a") == ["a"] and ranks.agreed(lambda: 5) == 5


def test_threads_and_devices_are_divided(second_of_two: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    for wished, threads in (("", 4), ("1", 4), ("3", 3)):  # torchrun itself sets 1
        monkeypatch.setenv("OMP_NUM_THREADS", wished)
        assert share_of_threads() == threads
    assert own_device("cpu") == CPU and not ranks.is_first()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert own_device("auto") == own_device("cuda") == torch.device("cuda:1")
    with refused("--device: expected auto, cpu or cuda for several processes, found cuda:0"):
        own_device("cuda:0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with refused("torchrun --nproc_per_node: expected at most 1, one per CUDA device, found 2"):
        own_device("auto")
    monkeypatch.setenv("WORLD_SIZE", "two")
    with refused("WORLD_SIZE: expected the whole number torchrun sets, found 'two'"):
        ranks.started()


def test_a_batch_that_cannot_be_divided_is_refused(data: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prune.data.find_split import find_split
    from prune.data.preprocessing import Preprocessing
    from prune.training.prepare import training_batches

    monkeypatch.setattr(ranks, "size", lambda: 4)
    split = find_split(data / "train", S2DS)  # 8 images
    with refused("--batch_size: expected a multiple of the 4 processes of torchrun, found 6"):
        training_batches(TrainSettings(batch_size=6), split, 64, Preprocessing())
    with refused(
        "--batch_size: expected at least 2 crops for each of the 4 processes with --sync_batchnorm False, found 4"
    ):
        training_batches(TrainSettings(batch_size=4, sync_batchnorm=False), split, 64, Preprocessing())
    assert training_batches(TrainSettings(batch_size=100), split, 64, Preprocessing()).batch_size == 2


def test_sigterm_ends_a_training_like_ctrl_c(data: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, epochs = fit.train_one_epoch, []

    def killed(*arguments: object) -> float:
        epochs.append(1)
        if len(epochs) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(fit, "train_one_epoch", killed)
    with pytest.raises(KeyboardInterrupt, match="after 1 complete epochs, kept in .*/last.pth: continue with --resume"):
        train(run(data, "a", epochs=4))
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_handler_of_the_program_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with signals_interrupt():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM]


def test_resuming_with_other_threads_warns(here: Path, shown: None, capsys: pytest.CaptureFixture[str]) -> None:
    files, settings = RunFiles(folder=here), TrainSettings(device="cpu", threads=1)
    record = NumberFormat(None, channels_last=True).record()
    threads = torch.get_num_threads()
    for stored, warned in ((threads, 0), (threads + 1, 1)):
        write_torch({"number_format": record | {"threads": stored}}, here / "last.pth")
        assert run_numbers(settings, files, resume=True).channels_last
        said = f"WARNING  {threads} CPU threads, {threads + 1} before: the history differs in the last digits"
        assert capsys.readouterr().out.count(said) == warned


@pytest.fixture
def store(second_of_two: None) -> Iterator[None]:
    """The store of torchrun; handlers of signals are as before afterwards."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    host = torch.distributed.TCPStore(
        "127.0.0.1",
        int(os.environ["MASTER_PORT"]),
        is_master=True,
        wait_for_workers=False,
        timeout=timedelta(seconds=9),
    )
    yield
    del host
    for number, handler in kept.items():
        signal.signal(number, handler)


def test_the_first_to_fail_speaks_and_the_others_are_silent(store: None) -> None:
    def fail(error: BaseException) -> None:
        with one_message():
            raise error

    with refused("--lr: expected"):
        fail(UserError("--lr: expected"))
    for error, code in ((UserError("again"), 2), (KeyboardInterrupt(), 130), (RuntimeError("[gloo] Connection"), 1)):
        with pytest.raises(SystemExit) as silent:
            fail(error)
        assert silent.value.code == code


def test_a_process_that_vanished_is_named(store: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "PATIENCE_S", 0.2)
    with refused("another process of this training ended without a message, killed perhaps: continue with --resume"):
        with one_message():
            raise RuntimeError("gloo: Connection closed by peer")


# --- the command itself, several processes


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
    here: Path, photos: Path, name: str, *flags: object, processes: int = 2, program: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """A training by ``torchrun``, or by one process without it."""
    several = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--master_port", str(free_port())]
    words = [sys.executable, *(several if processes > 1 else []), *(program or [str(ROOT / "train.py")])]
    words += [str(photos / "train"), str(photos / "val"), name, *FLAGS]
    if "--model" not in flags:
        words += ["--pruned_model", str(photos / "pixels.pth"), "--factory", "tests.training.several:Pixels"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen([*words, *map(str, flags)], cwd=here, env=variables, stdout=pipe, stderr=pipe, text=True)


def end(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a process printed; the test fails when it does not end."""
    try:
        return process.communicate(timeout=240)
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
    until = time.monotonic() + 120
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
    taught = ("--epochs", 1, "--teacher", here / "results/models/a.pth")
    finish(start(here, photos, "taught", *taught, processes=1))
    out = finish(start(here, photos, "two", *taught))
    assert "teacher" in out and largest_difference(here, "taught", "two") < 1e-4


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
