"""Trials as tasks of a Ray cluster: Ray places them, and repeats those whose node was lost."""

import os
import socket
from typing import Any
from urllib.parse import urlsplit

from prune.errors import UserError, first_line
from prune.studies.kinds import Task, Work
from prune.studies.work import Outcome, perform

RETRIES = 5
"""How often Ray restarts a trial whose process or node was lost."""
MANY = 10_000
PATIENCE = 5.0
"""Seconds to wait for the port of a cluster; Ray itself tries for minutes."""


class RayExecutor:
    """Hands trials to a Ray cluster; their folders must lie where every node sees them under the same path.

    Args:
        address: ``auto``, ``host:port`` or ``ray://host:port``; None = start Ray on this machine.
        cpus: Cores of a trial.
        gpus: GPUs of a trial, may be a fraction; None = 1 where the cluster has some.
        work: Computes the result of a task; a function of a module that is installed on every node.

    Raises:
        UserError: without Ray, and when the cluster does not answer.
    """

    def __init__(self, address: str | None, cpus: float, gpus: float | None, work: Work) -> None:
        try:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            import ray
        except ImportError as error:
            raise UserError(
                "--executor ray: needs ray, which is not installed: pip install prune-crackseg[cluster]"
            ) from error
        self.ray: Any = ray
        self.started = not ray.is_initialized()
        if self.started:
            self._connect(address)
        if gpus is None:
            gpus = min(1.0, ray.cluster_resources().get("GPU", 0.0))
        options = {"num_cpus": cpus, "num_gpus": gpus, "max_retries": RETRIES}
        self.remote = ray.remote(**options)(perform)
        self.work, self.names = work, {}  # type: ignore[var-annotated]
        self.jobs = self._require_room(cpus, gpus)

    def _connect(self, address: str | None) -> None:
        found = {} if address is None else {"address": address}
        try:
            _require_port(address or "")
            self.ray.init(**found, log_to_driver=False, logging_level="ERROR", configure_logging=True)
        except (
            Exception
        ) as error:  # sockets raise OSError, Ray ConnectionError, RuntimeError, ValueError, and gRPC's own
            raise UserError(
                f"--address {address or 'local'}: expected a Ray cluster, none answers ({first_line(error)}); "
                "start one with: ray start --head"
            ) from error

    def _require_room(self, cpus: float, gpus: float) -> int:
        """How many trials run at a time."""
        total, beside = self.ray.cluster_resources(), [MANY]
        for name, kind, wanted in (("cpus", "CPU", cpus), ("gpus", "GPU", gpus)):
            if wanted > total.get(kind, 0):
                self.close()
                raise UserError(f"--{name} {wanted:g}: the cluster has {total.get(kind, 0):g} in all")
            beside += [int(total.get(kind, 0) / wanted)] if wanted else []
        return min(beside)

    def __str__(self) -> str:
        total, nodes = self.ray.cluster_resources(), sum(node["Alive"] for node in self.ray.nodes())
        return f"Ray, {nodes} node(s), {total.get('CPU', 0):g} CPUs, {total.get('GPU', 0):g} GPUs"

    def room(self) -> int:
        """Ray takes whatever is ready and queues it."""
        return MANY

    def submit(self, task: Task) -> None:
        """Hand a trial to the cluster."""
        self.names[self.remote.options(name=task["label"]).remote(dict(task), self.work)] = task["name"]

    def wait(self, seconds: float) -> list[Outcome]:
        """Trials that ended, after at most so many seconds."""
        done, _ = self.ray.wait(list(self.names), num_returns=1, timeout=seconds)
        return [self._ended(reference) for reference in done]

    def _ended(self, reference: Any) -> Outcome:
        name = self.names.pop(reference)
        try:
            found = self.ray.get(reference)
        except Exception as error:
            return Outcome(name, f"{type(error).__name__}: {first_line(error)}")
        return Outcome(found.name, found.cause, found.seconds)

    def close(self) -> None:
        """Leave the cluster; trials that run there are canceled."""
        for reference in getattr(self, "names", {}):
            self.ray.cancel(reference, force=True)
        if self.started:
            self.ray.shutdown()


def _require_port(address: str) -> None:
    """Raise ``OSError`` when nothing listens at an address ``host:port`` or ``ray://host:port``; others are left to Ray.

    Raises:
        ValueError: for a port that is no number.
    """
    place = urlsplit(address if "//" in address else f"//{address}")
    if place.hostname and place.port:
        socket.create_connection((place.hostname, place.port), PATIENCE).close()
