"""Commands in processes that can be disturbed: new ones, or forked from this one with everything imported already.

A forked command does what ``python`` does with the same words, but for the seconds that imports take.
"""

import atexit
import contextlib
import ctypes
import faulthandler
import importlib
import math
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import ROOT

HOOK = ROOT / "tests/faults/hook"
IMPORTED = (
    *("torch", "torchvision", "torch_pruning", "pandas", "openpyxl", "matplotlib.pyplot", "scipy.ndimage", "onnx"),
    *(
        "onnxruntime",
        "rasterio",
        "av",
        "prune.api.train",
        "prune.api.prune",
    ),
    *("prune.api.evaluate", "prune.api.compare", "prune.api.score", "prune.api.export", "prune.api.survey"),
    *("prune.api.dataset", "prune.api.synthesize", "prune.cli.inference", "prune.studies.run", "prune.web.correction"),
    *(
        "prune.report.workbook",
        "prune.report.comparison_sheets",
        "prune.report.comparison_charts",
        "prune.report.curves",
    ),
    *(
        "prune.cli.train",
        "prune.cli.prune",
        "prune.cli.test",
        "prune.cli.export",
        "prune.cli.survey",
        "prune.cli.study",
    ),
    *("prune.inspection.map_survey", "prune.studies.charts", "prune.studies.products"),
)
"""What commands import."""
DEATH_SIGNAL = 1
"""Of Linux's ``prctl``: what a process gets when its parent dies."""
LIMIT, ORPHANED = 900, 30
"""Seconds a command may take, and its processes may outlive it."""


class Failed(AssertionError):
    """A promise was broken."""


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code (negative: the signal that killed it), stderr, seconds."""

    code: int
    errors: str
    seconds: float


def import_all() -> None:
    """Import what commands import, so that forked ones need not; what is not installed is left out."""
    for name in IMPORTED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


@dataclass
class Command:
    """A running command, in a process group of its own.

    Args:
        words: The command line, the interpreter first.
        cwd: Where it runs.
        told: What ``tests.faults.hook`` is told, by names of environment variables.
        fresh: Start a new interpreter.
    """

    words: Sequence[str]
    cwd: Path
    told: Mapping[str, str] = field(default_factory=dict)
    fresh: bool = False

    def __post_init__(self) -> None:
        self._log = self.cwd.parent / f"{self.cwd.name}.{time.monotonic_ns()}.stderr"
        self._log.touch()
        environment = surroundings() | dict(self.told)
        if self.told:
            environment["PYTHONPATH"] = os.pathsep.join([str(HOOK), environment["PYTHONPATH"]])
        self._begun, self.code = time.monotonic(), None
        self.pid = self._started(environment) if self.fresh else self._forked(environment)

    def _started(self, environment: dict[str, str]) -> int:
        with self._log.open("w") as errors:
            quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": errors}
            begun = subprocess.Popen(self.words, cwd=self.cwd, env=environment, start_new_session=True, **quiet)
            begun.returncode = 0  # waited for here
            return begun.pid

    def _forked(self, environment: dict[str, str]) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        settled, settles = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                self._become(environment)
                os.close(settles)
                code = _run(self.words[1:])
            finally:
                os._exit(code)
        os.close(settles)
        os.read(settled, 1)  # on a busy machine it may take a while to become what it is to be
        os.close(settled)
        self._begun = time.monotonic()
        return pid

    def _become(self, environment: dict[str, str]) -> None:
        """Turn a forked process into one that was started with the words."""
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGKILL)  # it ends with the campaign
        with contextlib.suppress(OSError):
            os.setsid()
        nothing, errors = os.open(os.devnull, os.O_RDWR), os.open(self._log, os.O_WRONLY)
        for mine, theirs in ((nothing, 0), (nothing, 1), (errors, 2)):
            os.dup2(mine, theirs)
        os.chdir(self.cwd)
        os.environ.clear()
        os.environ.update(environment)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sys.unraisablehook = sys.__unraisablehook__
        faulthandler.enable()  # says where a crash happened

    def wait(self, seconds: float) -> bool:
        """Whether it ends within so many seconds."""
        until = time.monotonic() + seconds
        while self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > until:
                return False
            else:
                time.sleep(0.01)
        return True

    def cpu_seconds(self) -> float:
        """CPU time it has taken so far, infinite when it is gone."""
        try:
            words = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return math.inf
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def strike(self, number: int, everyone: bool) -> None:
        """Send a signal to it, or to all its processes."""
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if everyone else os.kill)(self.pid, number)

    def ended(self, within: float = LIMIT) -> Ended:
        """How it ends.

        Raises:
            Failed: when it does not, or processes outlive it.
        """
        if not self.wait(within):
            self.strike(signal.SIGKILL, True)
            self.wait(LIMIT)
            raise Failed(f"no end after {within:.0f} s: {self._log.read_text()[-300:]}")
        seconds, until = time.monotonic() - self._begun, time.monotonic() + ORPHANED
        with contextlib.suppress(ProcessLookupError):
            while time.monotonic() < until:
                os.killpg(self.pid, 0)
                time.sleep(0.02)
            os.killpg(self.pid, signal.SIGKILL)
            raise Failed("processes outlive their parent")
        errors = self._log.read_text(errors="replace")
        self._log.unlink()
        assert self.code is not None
        return Ended(self.code, errors, seconds)


def _run(words: Sequence[str]) -> int:
    """Do what ``python`` does with the words, and give the exit code."""
    if os.environ.get("FAULT_BELOW"):
        runpy.run_path(str(HOOK / "sitecustomize.py"))
    code: object = 0
    try:
        if words[0] == "-m":
            sys.argv = [words[1], *words[2:]]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = list(words)
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as stop:
        code = stop.code
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stderr.flush()
    return code if isinstance(code, int) else 0 if code is None else 1


def surroundings() -> dict[str, str]:
    """Environment of a command: this repository, one thread, no screen."""
    kept = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
