"""What a study costs besides its trials, and what two processes gain over one."""

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prune.benchmark.figures import Figure
from prune.hardware import set_threads
from prune.studies.kinds import Work, compute
from prune.studies.local import LocalExecutor
from prune.studies.schedule import run_trials
from prune.studies.trials import Trial
from prune.studies.watch import Watch
from prune.synthetic import synthesize

TRIALS, SECONDS, JOBS = 100, 1.0, 2
TRAININGS = 4
NETWORK = {"model": "hrsegnet_b16", "classes": "crack", "epochs": 2, "crop_size": 128, "batch_size": 4, "patience": 0}
"""A network of 0.6 GMACs at 512 px."""


def rest(task: Mapping[str, Any]) -> dict[str, Any]:
    """A trial that computes nothing for a second."""
    time.sleep(SECONDS)
    return {}


def _seconds(trials: list[Trial], jobs: int, work: Work, folder: Path, data: str | None = None) -> float:
    named = {trial.name: trial for trial in trials}
    executor, start = LocalExecutor(jobs, work), time.perf_counter()
    try:
        failed = run_trials(named, executor, folder, data, Watch(named, 0, {}, jobs))
    finally:
        executor.close()
    if failed:
        raise RuntimeError(f"a trial failed: {next(iter(failed.values()))}")
    return time.perf_counter() - start


def studies_speed() -> list[Figure]:
    """Scheduling overhead of short trials, and trials per hour of two processes over those of one with all cores."""
    set_threads(0)
    with tempfile.TemporaryDirectory() as name:
        waits = [Trial("rest", f"rest {number}", {"number": number}) for number in range(TRIALS)]
        ideal = TRIALS * SECONDS / JOBS
        overhead = 100 * (_seconds(waits, JOBS, rest, Path(name)) / ideal - 1)
        synthesize(Path(name) / "data", 60, 192, 0)
        trains = [Trial("train", f"train {n}", {**NETWORK, "seed": n}, how={"workers": 0}) for n in range(TRAININGS)]
        data = str(Path(name) / "data")
        one, two = (_seconds(trains, jobs, compute, Path(name) / f"jobs{jobs}", data) for jobs in (1, 2))
    told = f"{TRIALS} trials of {SECONDS:g} s, {JOBS} processes, their start included"
    network = json.dumps(NETWORK)
    return [
        Figure("study, scheduling overhead", overhead, "%", "<=", 20.0, told),
        Figure(
            "study, trials per hour of two processes over one",
            one / two,
            "x",
            ">=",
            1.6,
            f"{TRAININGS} trainings, {network}",
        ),
    ]
