"""Cases of the page: its server is stopped at any moment, and what visitors save is disturbed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import ROOT
from tests.faults.cases import ENDS, FULL, KILLS, NEVER, READ_ONLY, STARTED, TWICE, disk
from tests.faults.contents import incomplete
from tests.faults.process import Command, Ended, Failed

PAGE_NAME = "page"
PAGE_KINDS = (*KILLS, FULL, READ_ONLY, TWICE)
SERVED = 15.0
"""Seconds within which the server is stopped; it answers after about half of them."""
PAIRS, WRITES = 6, 24
"""Corrections saved, and about how often files are changed for them."""
SAVING = [sys.executable, "-m", "tests.faults.saving", "corrections", str(PAIRS)]


def run_page_case(kind: str, number: int, folder: Path) -> str:
    """Run a case and say how it was disturbed.

    Raises:
        Failed: when a promise was broken.
    """
    rng = random.Random(f"page {kind} {number}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if kind in KILLS:
        return (_stopped if number % 2 else _saving)(KILLS[kind], rng, folder)
    if kind == TWICE:
        ends = [one.ended() for one in [Command(SAVING, folder) for _ in range(2)]]
        return _judged(ends, folder, (0,), 2 * PAIRS, "both save")
    with disk(folder, 2**20):
        ballast = folder / ".ballast"
        if kind == FULL:
            room = rng.randint(0, PAIRS * 20_000)
            ballast.write_bytes(bytes(max(0, shutil.disk_usage(folder).free - room)))
        else:
            subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True, capture_output=True)
        return _judged([Command(SAVING, folder).ended()], folder, (0, 2), None, kind)


def _stopped(number: int, rng: random.Random, folder: Path) -> str:
    """The server ends within seconds, without a word of Python's, and leaves nothing of its visitors."""
    moment = rng.uniform(STARTED, SERVED)
    private = folder / "temporary"
    private.mkdir()
    words = [sys.executable, str(ROOT / "app.py"), "--port", "0"]
    command = Command(words, folder, {"TMPDIR": str(private)}, fresh=True)
    if command.wait(moment):
        raise Failed(f"the server ended by itself: {command.ended().errors}")
    command.strike(number, False)
    done, how = command.ended(ENDS), f"server stopped after {moment:.1f} s"
    if number == signal.SIGKILL:
        return _cleaned(private, how)
    if done.code not in (0, 130) or any(word in done.errors for word in NEVER):
        raise Failed(f"{how}: exit code {done.code}: {done.errors.strip()[-900:]}")
    if left := [path.name for path in private.iterdir() if path.name.startswith("prune-page")]:
        raise Failed(f"{how}: {left[0]} was left")
    return how


def _cleaned(private: Path, how: str) -> str:
    """The next start removes what a killed server left."""
    left = {path.name for path in private.glob("prune-page-*") if (path / ".page.lock").exists()}
    command = Command(
        [sys.executable, str(ROOT / "app.py"), "--port", "0"], private.parent, {"TMPDIR": str(private)}, True
    )
    until = time.monotonic() + ENDS
    while left & {path.name for path in private.iterdir()}:
        if time.monotonic() > until:
            raise Failed(f"{how}: {min(left)} is there after another start")
        command.wait(0.2)
    command.strike(signal.SIGKILL, False)
    command.ended()
    return f"{how}, {len(left)} folders left and removed"


def _saving(number: int, rng: random.Random, folder: Path) -> str:
    """A correction is saved whole or not at all, and the next one is saved as ever."""
    at = rng.randint(1, WRITES)
    told = {"FAULT_BELOW": str(folder), "FAULT_AT": str(at), "FAULT_SIGNAL": str(int(number))}
    done = Command(SAVING, folder, told).ended()
    allowed = (0, -signal.SIGKILL if number == signal.SIGKILL else 130)
    how = f"saving, at write {at}"
    _judged([done], folder, allowed, None, how)
    before = len(_stems(folder, "Labels_grayscale"))  # a label that stands alone gets its photograph
    again = Command(SAVING, folder).ended()
    return _judged([again], folder, (0,), before + PAIRS, how)


def _stems(folder: Path, kind: str) -> set[str]:
    place = folder / "corrections" / kind
    return {path.stem for path in place.iterdir() if not path.name.startswith(".")} if place.is_dir() else set()


def _judged(ends: list[Ended], folder: Path, allowed: tuple[int, ...], count: int | None, how: str) -> str:
    for one in ends:
        if one.code not in allowed or (one.code != -signal.SIGKILL and any(word in one.errors for word in NEVER)):
            raise Failed(f"{how}: exit code {one.code}: {one.errors.strip()[-900:]}")
        if one.code in (2, 130) and len(one.errors.strip().splitlines()) != 1:
            raise Failed(f"{how}: {one.errors.strip()[-900:]}")
    photos, labels = _stems(folder, "Images"), _stems(folder, "Labels_grayscale")
    killed = any(one.code == -signal.SIGKILL for one in ends)
    if photos - labels or len(labels - photos) > killed:  # killed between two names, a label may lack its photograph
        raise Failed(f"{how}: photographs {sorted(photos)}, labels {sorted(labels)}")
    for path in (folder / "corrections").rglob("[!.]*.png"):
        if wrong := incomplete(path):
            raise Failed(f"{how}: {os.path.relpath(path, folder)}: {wrong}")
    if count is not None and len(labels) != count:
        raise Failed(f"{how}: {len(labels)} corrections, expected {count}")
    return how
