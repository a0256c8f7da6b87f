"""Several processes train one network as one process would; one of them speaks and writes."""

import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import torch

from prune.cli.train import train
from prune.data.dataset import EpochSampler, Share
from prune.data.labels import S2DS
from prune.errors import UserError
from prune.models.torch_file import write_torch
from prune.number_format import NumberFormat
from prune.training import loop as fit
from prune.training import ranks
from prune.training.loop import RunFiles
from prune.training.parallel import data_parallel
from prune.training.ranks import one_message, own_device, share_of_threads, signals_interrupt
from prune.training.run import run_numbers
from prune.training.settings import TrainSettings
from tests.conftest import refused
from tests.training.several import CPU, Small, environment, free_port, one_step, some_updates, work
from tests.training.test_loop import run


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


@pytest.mark.slow
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
    updated = [torch.load(tmp_path / f"{rank}_updates.pt") for rank in (0, 1)]
    for name, value in some_updates(0, 1).items():
        assert torch.equal(updated[0][name], updated[1][name]), name
        torch.testing.assert_close(
            updated[0][name], value, rtol=1e-4, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}"
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
