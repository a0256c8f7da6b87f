"""What a study costs besides its trials, and what two processes gain over one."""

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prune.benchmark.figures import Figure
from prune.hardware import set_threads
from prune.studies.kinds import compute
from prune.studies.local import LocalExecutor
from prune.studies.schedule import run_trials
from prune.studies.trials import Trial
from prune.studies.watch import Watch
from prune.synthetic import synthesize

TRIALS, SECONDS, JOBS = 100, 1.0, 2
TRAININGS = 6
NETWORK: dict[str, Any] = {
    "model": "hrsegnet_b16",
    "classes": "crack",
    "epochs": 6,
    "crop_size": 128,
    "batch_size": 4,
    "patience": 0,
}
"""A network of 0.6 GMACs at 400 px."""


def rest(task: Mapping[str, Any]) -> dict[str, Any]:
    """A trial that computes nothing for a second."""
    time.sleep(SECONDS)
    return {}


def _seconds(executor: LocalExecutor, trials: list[Trial], folder: Path, data: str | None = None) -> float:
    named, start = {trial.name: trial for trial in trials}, time.perf_counter()
    failed = run_trials(named, executor, folder, data, Watch(named, 0, {}, executor.jobs))
    if failed:
        raise RuntimeError(f"a trial failed: {next(iter(failed.values()))}")
    return time.perf_counter() - start


def _training(seed: int, epochs: int) -> Trial:
    return Trial("train", f"train {seed}", {**NETWORK, "epochs": epochs, "seed": seed}, how={"workers": 0})


def _trainings(jobs: int, folder: Path, data: str) -> float:
    """Seconds of ``TRAININGS`` in processes that have begun to work: they start once in a study, not once per trial."""
    executor = LocalExecutor(jobs, compute)
    try:
        _seconds(executor, [_training(100 + number, 1) for number in range(jobs)], folder, data)
        return _seconds(executor, [_training(seed, NETWORK["epochs"]) for seed in range(TRAININGS)], folder, data)
    finally:
        executor.close()


def studies_speed() -> list[Figure]:
    """Scheduling overhead of short trials, and trials per hour of two processes over those of one with all cores."""
    set_threads(0)
    with tempfile.TemporaryDirectory() as name:
        waits = [Trial("rest", f"rest {number}", {"number": number}) for number in range(TRIALS)]
        ideal = TRIALS * SECONDS / JOBS
        executor = LocalExecutor(JOBS, rest)
        try:
            overhead = 100 * (_seconds(executor, waits, Path(name)) / ideal - 1)
        finally:
            executor.close()
        data = Path(name) / "data"
        synthesize(data, 60, 192, 0)
        one, two = (_trainings(jobs, Path(name) / f"jobs{jobs}", str(data)) for jobs in (1, JOBS))
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
            f"{TRAININGS} trainings, {network}, after one in each process",
        ),
    ]
