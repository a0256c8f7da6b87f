"""How programs end: one line and an exit code, whatever stopped them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prune.errors import CannotWrite, UserError, nothing_ignored, run, signals_interrupt
from tests.conftest import ROOT


def killed(number: int, words: list[str], moment: float, cwd: Path) -> tuple[int, str]:
    """Exit code and stderr of a program that gets a signal after some seconds."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        words, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    if moment:
        time.sleep(moment)
    else:
        assert process.stdout and process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_signals_end_a_program_with_one_line(tmp_path: Path, number: int) -> None:
    code = (
        "import sys, time; from prune.errors import run\n"
        "sys.exit(run(lambda: (print('ready', flush=True), time.sleep(60))))"
    )
    assert killed(number, [sys.executable, "-c", code], 0, tmp_path) == (130, "interrupted\n")


def test_a_ctrl_c_that_python_drops_is_raised_again() -> None:
    class Dropped:
        def __del__(self) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), nothing_ignored():
        Dropped()
        for _ in range(500):
            time.sleep(0.01)


def test_sigterm_is_taken_twice_and_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with signals_interrupt():
        outer = signal.getsignal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt), signals_interrupt():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        assert signal.getsignal(signal.SIGTERM) is outer
    assert signal.getsignal(signal.SIGTERM) == before


def test_of_several_processes_each_hears_a_signal_once() -> None:
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with pytest.raises(KeyboardInterrupt), signals_interrupt(), signals_interrupt(several=True):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        assert signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def test_a_disk_that_takes_no_more_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device", "/tmp/a")

    assert run(full) == 2 and capsys.readouterr().err == "error: cannot write /tmp/a: No space left on device\n"

    def other() -> None:
        raise OSError(2, "No such file or directory", "/tmp/a")

    with pytest.raises(FileNotFoundError):  # a mistake of ours is not hidden
        run(other)
    assert issubclass(CannotWrite, UserError)
