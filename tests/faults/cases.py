"""One case: a command is disturbed, what it left is looked at, and the same command is run again."""

import contextlib
import hashlib
import pickle
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from prune.files import write_bytes
from tests.conftest import ROOT
from tests.faults.contents import contents, difference, digests, files_of, incomplete
from tests.faults.process import LIMIT, Ended, Failed
from tests.faults.verbs import Verb

KILLS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}
TWICE, FULL, READ_ONLY = "two at once", "full disk", "read-only disk"
KINDS = (*KILLS, FULL, READ_ONLY, TWICE)
ENDS = 60
"""Seconds within which a command ends after SIGTERM or SIGINT."""
STARTED, IMPORTING = 0.3, 8.0
"""Seconds after which Python itself has started (before, an interrupt is its own matter), and everything is imported; of the
first also seconds of CPU time, on a busy machine."""
NEVER = ("Traceback", "Exception ignored", "enforce fail", "terminate called", "Segmentation", "leaked")


@dataclass(frozen=True)
class Whole:
    """A command that nobody disturbed.

    Args:
        folder: What it worked in and left.
        said: What its results say.
        seconds: How long it took.
        writes: How often it was about to change a file.
        size: Bytes of its results.
    """

    folder: Path
    said: Mapping[str, Any]
    seconds: float
    writes: int
    size: int


def results(folder: Path, verb: Verb) -> dict[str, Any]:
    """What the results of a command say, by path."""
    return {name: said for name, said in contents(folder, verb.loose).items() if _is_result(name, verb)}


def _is_result(name: str, verb: Verb) -> bool:
    return any(name == one or name.startswith(f"{one}/") for one in verb.results)


def prepared(material: Path, folder: Path) -> Path:
    """A fresh copy of the material, with the times of its files."""
    if folder.is_mount():  # a campaign was killed
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(material, folder)
    return folder


def undisturbed(verb: Verb, material: Path, folder: Path, keep: Path) -> Whole:
    """Run a command to its end in ``folder``, whose path results may name, and keep what it left as ``keep``.

    It is run once for a state of the program: what is kept with its digest is taken from there.
    """
    facts, state = keep.with_suffix(".pickle"), _state()
    if facts.exists():
        of, whole = pickle.loads(facts.read_bytes())
        if of == state:
            return Whole(keep, *whole)
    prepared(material, folder)
    notes = keep.with_suffix(".notes")
    keep.parent.mkdir(parents=True, exist_ok=True)
    notes.write_text("")
    done = verb.command(folder, told={"FAULT_BELOW": str(folder), "FAULT_NOTES": str(notes)}).ended()
    if done.code != 0:
        raise RuntimeError(f"{verb.name}: {done.errors}")
    said = results(folder, verb)
    size = sum((folder / name).stat().st_size for name in said)
    facts.unlink(missing_ok=True)
    prepared(folder, keep)
    whole = (said, done.seconds, len(notes.read_text().splitlines()), size)
    write_bytes(facts, pickle.dumps((state, whole)))
    return Whole(keep, *whole)


@cache
def _state() -> str:
    """A digest of the program and of how it is called here."""
    found = hashlib.sha256()
    for file in sorted([*(ROOT / "prune").rglob("*.py"), *Path(__file__).parent.glob("*.py")]):
        found.update(file.read_bytes())
    return found.hexdigest()


def run_case(verb: Verb, kind: str, number: int, whole: Whole, material: Path, folder: Path) -> str:
    """Run a case and say how it was disturbed.

    Raises:
        Failed: when a promise was broken.
    """
    rng = random.Random(f"{verb.name} {kind} {number}")
    if kind in KILLS:
        return _killed(verb, KILLS[kind], rng, whole, material, folder)
    if kind == TWICE:
        return _twice(verb, whole, material, folder)
    return _no_room(verb, kind, rng, whole, material, folder)


def _killed(verb: Verb, number: int, rng: random.Random, whole: Whole, material: Path, folder: Path) -> str:
    over = rng.random() < 0.3
    prepared(whole.folder if over else material, folder)
    before, flags = digests(folder), verb.over if over else ()
    lot, moment, importing, everyone = rng.random(), 0.0, False, rng.random() < 0.5
    told: dict[str, str] = {}
    if lot < 0.55 and whole.writes:
        at = rng.randint(1, whole.writes + 1)
        told = {"FAULT_BELOW": str(folder), "FAULT_AT": str(at), "FAULT_SIGNAL": str(int(number))}
        how = f"at write {at} of {whole.writes}"
    else:
        importing = lot > 0.85 and not verb.fresh
        last = IMPORTING if importing else whole.seconds
        moment = rng.uniform(min(STARTED, last), last)
        how = f"after {moment:.2f} s{', imports included' if importing else f' of {last:.2f}'}"
    begun = time.time()
    command = verb.command(folder, *flags, told=told, fresh=importing)
    if not told and not command.wait(moment):
        while (importing or verb.fresh) and command.cpu_seconds() < min(STARTED, moment) and not command.wait(0.01):
            pass
        command.strike(number, everyone)
        done = command.ended(LIMIT if number == signal.SIGKILL else ENDS)
    else:
        done = command.ended()
    allowed = (-signal.SIGKILL, 0) if number == signal.SIGKILL else (130, 0)
    how += ", over a result" if over else ""
    if done.code == -number != -signal.SIGKILL:  # its work was done: then a signal ends it without a word
        was_done(verb, whole, folder, begun, how)
        done = replace(done, code=0)
    _check(verb, done, allowed, before, folder, over, how)
    again = done.code != 0 or over
    if again:
        _finishes(verb, whole, folder, over, how)
    return how


def _check(
    verb: Verb, done: Ended, allowed: tuple[int, ...], before: Mapping[str, str], folder: Path, over: bool, how: str
) -> None:
    """What was there is intact, what is new is complete, and one line says what happened."""
    if done.code not in allowed:
        raise Failed(f"{how}: exit code {done.code}: {done.errors.strip()[-600:]}")
    bad = [word for word in NEVER if word in done.errors]
    if bad and done.code != -signal.SIGKILL:
        raise Failed(f"{how}: {bad[0]}: {done.errors.strip()[-900:]}")
    lines = [line for line in done.errors.splitlines() if line.strip()]
    if done.code in (2, 130) and len(lines) != 1:
        raise Failed(f"{how}: {len(lines)} lines on stderr: {done.errors.strip()[-900:]}")
    after = digests(folder)
    for name, digest in before.items():
        if not _is_result(name, verb) and after.get(name) != digest:
            raise Failed(f"{how}: {name} was {'changed' if name in after else 'removed'}")
        if over and verb.replaces and _is_result(name, verb) and name not in after:
            raise Failed(f"{how}: {name} of the earlier result is gone")
    for path in files_of(folder):
        name = path.relative_to(folder).as_posix()
        growing = path.name == "log.txt" or "tfevents" in path.name
        if after.get(name) != before.get(name) and not growing and (wrong := incomplete(path)):
            raise Failed(f"{how}: {name}: {wrong}")
    if done.code in (2, 130):
        left = [path for path in folder.rglob(".*.writing*") if path.is_file()]
        if left:
            raise Failed(f"{how}: {left[0].name} was left")


def _finishes(verb: Verb, whole: Whole, folder: Path, over: bool, how: str) -> None:
    """The same command goes on and gives what it gives undisturbed."""
    flags = (*verb.again, *(verb.over if over and not verb.again else ()))
    done = verb.command(folder, *flags).ended()
    if done.code != 0:
        raise Failed(f"{how}: again: exit code {done.code}: {done.errors.strip()[-600:]}")
    _same(verb, whole, folder, how)


def was_done(verb: Verb, whole: Whole, folder: Path, begun: float, how: str) -> None:
    """A command without exit code has written all its results."""
    if not any(
        _is_result(p.relative_to(folder).as_posix(), verb) and p.stat().st_mtime >= begun for p in files_of(folder)
    ):
        raise Failed(f"{how}: ended by the signal, with nothing written and not a word")
    _same(verb, whole, folder, f"{how}, ended by the signal without a word")


def _same(verb: Verb, whole: Whole, folder: Path, how: str) -> None:
    found = results(folder, verb)
    for name in sorted({*found, *whole.said}):
        if name not in found or name not in whole.said:
            raise Failed(f"{how}: {name} is {'missing' if name not in found else 'too much'} in the end")
        if differs := difference(found[name], whole.said[name]):
            raise Failed(f"{how}: {name} differs from the undisturbed one, {differs}")


def _twice(verb: Verb, whole: Whole, material: Path, folder: Path) -> str:
    """Two processes at once: both end in order, and the result is that of one."""
    prepared(material, folder)
    before = digests(folder)
    ends = [command.ended() for command in [verb.command(folder) for _ in range(2)]]
    codes = sorted(one.code for one in ends)
    how = f"exit codes {codes[0]} and {codes[1]}"
    for one in ends:
        _check(verb, one, (0, 2), before, folder, False, how)
    if codes[0] != 0:
        raise Failed(f"{how}: {ends[0].errors.strip()[-300:]}; {ends[1].errors.strip()[-300:]}")
    _same(verb, whole, folder, how)
    return how


@contextlib.contextmanager
def disk(place: Path, size: int) -> Iterator[Path]:
    """A disk of a few bytes in memory.

    Raises:
        PermissionError: without the right to mount one.
    """
    place.mkdir(parents=True, exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PermissionError(done.stderr.strip())
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True, capture_output=True)


def used(folder: Path) -> int:
    """Bytes that a folder takes on such a disk, whole pages."""
    return sum(4096 * (1 + path.stat().st_size // 4096) for path in [folder, *folder.rglob("*")])


def _no_room(verb: Verb, kind: str, rng: random.Random, whole: Whole, material: Path, folder: Path) -> str:
    """The disk is full, or becomes so on the way; or it is read-only."""
    over = rng.random() < 0.5
    source, flags = (whole.folder, verb.over) if over else (material, ())
    shutil.rmtree(folder, ignore_errors=True)
    with disk(folder, used(source) + 3 * whole.size + 2**24):
        shutil.copytree(source, folder, dirs_exist_ok=True)
        before, ballast = digests(folder), folder / ".ballast"
        if kind == FULL:
            room = rng.randint(0, int(1.5 * whole.size)) if rng.random() < 0.8 else 0
            free = shutil.disk_usage(folder).free
            ballast.write_bytes(bytes(max(0, free - room)))
            how = f"{room} bytes free of {whole.size} needed"
        else:
            subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True, capture_output=True)
            how = "read-only"
        how += ", over a result" if over else ""
        done = verb.command(folder, *flags).ended()
        _check(verb, done, (0, 2), before, folder, over, how)
        expected = "No space left on device" if kind == FULL else "Read-only file system"
        if done.code == 0 and kind == READ_ONLY:
            raise Failed(f"{how}: exit code 0")
        if done.code == 2 and expected not in done.errors:
            raise Failed(f"{how}: {done.errors.strip()[-600:]}")
        if kind == READ_ONLY:
            subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True, capture_output=True)
        ballast.unlink(missing_ok=True)
        if done.code:
            _finishes(verb, whole, folder, over, how)
    return how
