"""How programs end: one line and an exit code, whatever stopped them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prune.errors import AGAIN_S, CannotWrite, UserError, nothing_ignored, run, signals_interrupt, signals_later
from tests.conftest import ROOT


def killed(number: int, words: list[str], cwd: Path) -> tuple[int, str]:
    """Exit code and stderr of a program that gets a signal when it says that it is ready."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        words, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
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
    assert killed(number, [sys.executable, "-c", code], tmp_path) == (130, "interrupted\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("module", ["argparse", "prune.options"])
def test_both_signals_end_a_program_that_is_still_importing(tmp_path: Path, module: str, number: int) -> None:
    code = (
        "import os, sys\n"
        f"sys.addaudithook(lambda event, a: event == 'import' and a[0] == {module!r} and os.kill(os.getpid(), {number}))\n"
        "from prune.cli.start import program\n"
        "sys.argv = ['prune-crackseg', '--version']\n"
        "sys.exit(program())"
    )
    words, environment = [sys.executable, "-c", code], {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


ENDINGS = {
    "many lines": "for _ in range(9999): print('line')",
    "a line at once": "time.sleep(0.2); print('line', flush=True)",
    "a line at the end": "print('line'); time.sleep(0.2)",
    "an error at the end": "print('line'); time.sleep(0.2); raise UserError('no')",
    "help": "print('line'); time.sleep(0.2); sys.exit()",
}


@pytest.mark.parametrize("kind", ENDINGS)
def test_a_program_whose_output_nobody_reads_ends_without_a_word(kind: str) -> None:
    lines = [f"    {one}" for one in ENDINGS[kind].split("; ")]
    code = "\n".join(["import sys, time", "from prune.errors import UserError, run", "def main():", *lines])
    words = [sys.executable, "-c", f"{code}\nsys.exit(run(main))"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1" if kind == "a line at once" else ""}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(words, cwd=ROOT, env=environment, **streams)
    assert process.stdout and process.stderr
    process.stdout.close()
    said = process.stderr.read().decode()
    assert (process.wait(60), said) == (141, "error: no\n" if "error" in kind else "")
    process.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("line", ["print('line')", "print('line', flush=True)"])
def test_output_to_a_full_disk_is_one_line(line: str) -> None:
    code = f"import sys\nfrom prune.errors import run\nsys.exit(run(lambda: {line}))"
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    with Path("/dev/full").open("w") as full:
        words = [sys.executable, "-c", code]
        done = subprocess.run(words, cwd=ROOT, env=environment, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (2, b"error: cannot write a file: No space left on device\n")


def test_a_pipe_to_another_process_that_breaks_is_no_quiet_end() -> None:
    def main() -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run(main)


def test_a_ctrl_c_that_python_drops_is_raised_again() -> None:
    class Dropped:
        def __del__(self) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), nothing_ignored():
        Dropped()
        for _ in range(500):
            time.sleep(0.01)


def test_a_ctrl_c_that_a_library_made_another_error_of_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        try:
            raise KeyboardInterrupt
        except:  # noqa: E722, as openpyxl does
            raise TypeError("expected int")  # noqa: B904

    assert run(main) == 130 and capsys.readouterr().err == "interrupted\n"


def test_a_ctrl_c_that_was_dropped_does_not_strike_after_the_end() -> None:
    class Loud:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0)  # here it is raised, and dropped

    with nothing_ignored():
        gone = Loud()
        del gone
    time.sleep(5 * AGAIN_S)  # a second one here would end the test


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_end_of_what_belongs_together(number: int) -> None:
    done = []
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with signals_interrupt():
        with pytest.raises(KeyboardInterrupt), signals_later():
            os.kill(os.getpid(), number)
            time.sleep(0.01)
            done.append("the rest")
        assert done == ["the rest"]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


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
