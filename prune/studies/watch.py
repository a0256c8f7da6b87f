"""What is shown while trials run: a table that stays in place on a terminal, a line per trial elsewhere."""

import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Mapping

from prune import progress
from prune.progress import tell
from prune.studies.trials import Trial

SHOWN = 8
"""Running trials that the table lists."""


def duration(seconds: float) -> str:
    """``42 s``, ``3 min 5 s`` or ``2 h 14 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


class Watch:
    """Counts trials and shows them.

    Args:
        trials: What will run.
        found: Trials that were done before.
        seconds: What trials of each kind took before, for the first estimates of the time left.
        beside: How many run at a time.
    """

    def __init__(
        self, trials: Mapping[str, Trial], found: int, seconds: Mapping[str, list[float]], beside: float
    ) -> None:
        self.total, self.found, self.finished, self.failures = len(trials), found, 0, 0
        self.running: dict[str, tuple[Trial, float]] = {}
        self.left: dict[str, int] = defaultdict(int)
        for trial in trials.values():
            self.left[trial.kind] += 1
        self.seconds = {kind: list(values) for kind, values in seconds.items()}
        self.lines, self.beside = 0, max(1.0, beside)
        self.table = progress.shown() and sys.stdout.isatty()

    def started(self, trial: Trial) -> None:
        """A trial was handed to the executor."""
        self.running[trial.name] = (trial, time.perf_counter())

    def done(self, trial: Trial, seconds: float) -> None:
        """A trial has its result."""
        self._ended(trial)
        self.finished += 1
        self.seconds.setdefault(trial.kind, []).append(seconds)
        self._say(f"{self._position()} done    {trial.label}, {duration(seconds)}{self._left()}")

    def failed(self, trial: Trial, cause: str, quiet: bool = False) -> None:
        """A trial failed; ``quiet``: it was not even started."""
        self._ended(trial)
        self.failures += 1
        if not quiet:
            self._say(f"{self._position()} FAILED  {trial.label}: {cause}", always=True)

    def _ended(self, trial: Trial) -> None:
        self.running.pop(trial.name, None)
        self.left[trial.kind] -= 1

    def _position(self) -> str:
        return f"[{self.finished + self.failures}/{self.total}]"

    def time_left(self) -> float | None:
        """Seconds by what trials of each kind took so far, None before the first has ended."""
        known = [value for values in self.seconds.values() for value in values]
        if not known:
            return None
        means = {kind: sum(values) / len(values) for kind, values in self.seconds.items() if values}
        usual = sum(known) / len(known)
        work = sum(number * means.get(kind, usual) for kind, number in self.left.items())
        return work / min(self.beside, max(1, sum(self.left.values())))

    def _left(self) -> str:
        left = self.time_left()
        return "" if left is None or not sum(self.left.values()) else f", about {duration(left)} left"

    def _say(self, line: str, always: bool = False) -> None:
        if not self.table:
            tell(line)
        elif always:
            self._clear()
            tell(line)

    def tick(self, waiting: int) -> None:
        """Redraw the table."""
        if not self.table:
            return
        self._clear()
        width = shutil.get_terminal_size().columns - 1
        counts = f"{self.finished} done, {len(self.running)} running, {waiting} waiting, {self.failures} failed"
        before = f", {self.found} done before" if self.found else ""
        lines = [f"trials   {counts}{before}{self._left()}"]
        now = time.perf_counter()
        for trial, begin in list(self.running.values())[:SHOWN]:
            lines.append(f"  {duration(now - begin):>12}  {trial.label}")
        if len(self.running) > SHOWN:
            lines.append(f"  and {len(self.running) - SHOWN} more")
        sys.stdout.write("".join(f"{line[:width]}\n" for line in lines))
        sys.stdout.flush()
        self.lines = len(lines)

    def _clear(self) -> None:
        if self.lines:
            sys.stdout.write(f"\x1b[{self.lines}A\x1b[J")
            self.lines = 0

    def close(self) -> None:
        """Remove the table."""
        if self.table:
            self._clear()
            sys.stdout.flush()
