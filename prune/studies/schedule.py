"""Runs trials in the order they depend on each other: what is ready is handed to an executor, nothing more."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from prune.studies.kinds import Task
from prune.studies.trials import Trial
from prune.studies.watch import Watch
from prune.studies.work import Outcome, fail, stored_result, task_of, usable

NOT_RUN = "not run, because this failed: "
TICK = 0.5
"""Seconds between two looks at the clock while trials run."""


class Executor(Protocol):
    """What runs trials."""

    def room(self) -> int:
        """How many more trials it takes at the moment."""
        ...

    def submit(self, task: Task) -> None:
        """Start a trial."""
        ...

    def wait(self, seconds: float) -> list[Outcome]:
        """Trials that ended, after at most so many seconds."""
        ...

    def close(self) -> None:
        """End what is still running."""
        ...


def missing(trials: Mapping[str, Trial], folder: Path) -> dict[str, Trial]:
    """The trials that have to run: those without result, and those whose network another one needs and that was dropped.

    Args:
        trials: By name, parents before children.
        folder: Of the trials' folders.

    Raises:
        UserError: for a folder that holds another trial than its name says.
    """
    found: dict[str, Trial] = {}
    needed: set[str] = set()
    for name, trial in reversed(list(trials.items())):
        if not usable(trial, stored_result(trial, folder), folder, name in needed):
            found[name] = trial
            needed |= set(trial.parents.values())
    return dict(reversed(list(found.items())))


def run_trials(
    trials: Mapping[str, Trial], executor: Executor, folder: Path, data: str | None, watch: Watch
) -> dict[str, str]:
    """Run trials and give the causes of those that failed, by name; a trial whose parent failed is not run.

    Args:
        trials: What has to run, parents before children.
        executor: Runs them.
        folder: Of the trials' folders.
        data: The data folder.
        watch: Shows what happens.
    """
    waiting, running, failed = dict(trials), {}, {}  # type: ignore[var-annotated]
    while waiting or running:
        for name, trial in list(waiting.items()):  # parents come first, so that one pass reaches all descendants
            parent = next((p for p in trial.parents.values() if p in failed), None)
            if parent is not None:
                del waiting[name]
                failed[name] = (
                    failed[parent] if failed[parent].startswith(NOT_RUN) else f"{NOT_RUN}{trials[parent].label}"
                )
                watch.failed(trial, failed[name], quiet=True)
        ready = [n for n, t in waiting.items() if not set(t.parents.values()) & (waiting.keys() | running.keys())]
        for name in ready[: executor.room()]:
            trial = running[name] = waiting.pop(name)
            _remove_torn(folder / name)
            executor.submit(task_of(trial, folder, data))
            watch.started(trial)
        for outcome in executor.wait(TICK) if running else []:
            trial = running.pop(outcome.name)
            if outcome.cause:
                failed[outcome.name] = outcome.cause
                fail(folder / outcome.name, outcome.cause)
                watch.failed(trial, outcome.cause)
            else:
                watch.done(trial, outcome.seconds)
        watch.tick(len(waiting))
    return failed


def _remove_torn(folder: Path) -> None:
    """A result whose network was dropped gives way to the one that is made now."""
    (folder / "result.json").unlink(missing_ok=True)


def results_of(trials: Mapping[str, Trial], folder: Path) -> dict[str, dict[str, Any]]:
    """The results there are, by name of the trial."""
    found = {name: stored_result(trial, folder) for name, trial in trials.items()}
    return {name: result for name, result in found.items() if result is not None}
