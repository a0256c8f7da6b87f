"""One trial in its folder: settings, log, result; interrupted anywhere it can be run again."""

import json
import os
import shutil
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prune import progress
from prune.errors import UserError, first_line
from prune.files import locked, make_folder, write_json
from prune.shapes import load_json
from prune.studies.kinds import Task, Work
from prune.studies.trials import Trial

SETTINGS, LOG, RESULT, FAILURE = "settings.json", "log.txt", "result.json", "failure.json"


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: its cause in one line when it failed, else empty; seconds it took."""

    name: str
    cause: str = ""
    seconds: float = 0.0


def task_of(trial: Trial, trials: Path, data: str | None) -> dict[str, Any]:
    """A trial as plain values with absolute paths, as it is sent to a worker."""
    return {
        "name": trial.name,
        "label": trial.label,
        **trial.identity(),
        "fingerprints": dict(trial.data),
        "data": data,
        "how": dict(trial.how),
        "folder": str((trials / trial.name).absolute()),
        "parents": {part: str((trials / name).absolute()) for part, name in trial.parents.items()},
        "identity": trial.identity(),
    }


def stored_result(trial: Trial, trials: Path) -> dict[str, Any] | None:
    """The result of a trial that was run before, None when there is none.

    Raises:
        UserError: when its folder holds the result of another trial, such as one of another data set.
    """
    folder = trials / trial.name
    result = read_json(folder / RESULT)
    if result is None:
        return None
    found = (read_json(folder / SETTINGS) or {}).get("identity")
    expected = json.loads(json.dumps(trial.identity()))
    if found != expected:
        differs = [key for key in expected if not found or found.get(key) != expected[key]]
        raise UserError(
            f"{folder}: expected the trial its name stands for, found one with other {', '.join(differs)}: "
            "remove the folder"
        )
    return result


def read_json(file: Path) -> dict[str, Any] | None:
    """What a JSON file holds, None when there is none or it is torn."""
    try:
        content = load_json(file, "a result")
    except UserError:
        return None
    return content if isinstance(content, dict) else None


def portable(content: Any) -> Any:
    """Plain values with paths below the current folder relative to it: results are passed on, and say nothing of the machine."""
    if isinstance(content, Mapping):
        return {key: portable(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [portable(value) for value in content]
    return content.replace(f"{Path.cwd()}{os.sep}", "") if isinstance(content, str) else content


def perform(task: Task, work: Work) -> Outcome:
    """Do a task in its folder unless that has happened: ``result.json`` is written last.

    Whatever goes wrong fails this trial only: the cause is told in one line, the log has the traceback.

    Args:
        task: See ``task_of``.
        work: Computes the result.
    """
    folder, start = Path(task["folder"]), time.perf_counter()
    try:
        make_folder(folder)
        with locked(folder / RESULT, wait=True):
            if (folder / RESULT).is_file():  # by another process while this one waited
                return Outcome(task["name"])
            where = portable({key: task[key] for key in ("how", "data")})
            write_json(folder / SETTINGS, {"label": task["label"], "identity": task["identity"], **where})
            with logged(folder / LOG):
                result = work(task)
            seconds = time.perf_counter() - start
            (folder / FAILURE).unlink(missing_ok=True)
            write_json(folder / RESULT, {**portable(result), "seconds": round(seconds, 3)})
            return Outcome(task["name"], seconds=seconds)
    except Exception as error:
        cause = error.message if isinstance(error, UserError) else f"{type(error).__name__}: {first_line(error)}"
        fail(folder, cause)
        return Outcome(task["name"], cause or type(error).__name__, time.perf_counter() - start)


def fail(folder: Path, cause: str) -> None:
    """Note why a trial failed; where even that cannot be written, the study's list has it."""
    try:
        write_json(folder / FAILURE, {"cause": cause})
    except (UserError, OSError):
        return


@contextmanager
def logged(file: Path) -> Iterator[None]:
    """What the block prints goes into a file, and so does the traceback of what it raises."""
    with file.open("a", encoding="utf-8", buffering=1) as log, redirect_stdout(log), redirect_stderr(log):
        print(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')}, process {os.getpid()}")
        try:
            with progress.shown_or_not(True):
                yield
        except BaseException:
            traceback.print_exc()
            raise


def drop_checkpoint(folder: Path) -> None:
    """Remove what a finished trial left besides its settings, log and result."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name.startswith("network."):
            path.unlink(missing_ok=True)


def usable(trial: Trial, result: Mapping[str, Any] | None, trials: Path, needed: bool) -> bool:
    """Whether a trial need not run: it has a result and, where another one is still to be made from it, its network."""
    if result is None:
        return False
    return not needed or any((trials / trial.name).glob("network.*"))
