"""A study on a Ray cluster: the same table as on one machine, also when a node is lost on the way."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prune.studies.run import study
from tests.conftest import ROOT, make_data, refused
from tests.studies.fake import PLAN, work

ray = pytest.importorskip("ray")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of two nodes with two CPUs each, on this machine."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": 100 * 2**20})
    try:
        yield found
    finally:
        ray.shutdown()
        found.shutdown()


@pytest.mark.slow
def test_a_node_that_is_killed_changes_nothing_in_the_table(cluster: Any, tmp_path: Path) -> None:
    node = cluster.add_node(num_cpus=2, object_store_memory=100 * 2**20)
    cluster.wait_for_nodes()
    data = str(make_data(tmp_path / "data"))
    alone = study(PLAN, data=data, output=tmp_path / "local", jobs=1, work=work)
    trials = tmp_path / "ray/trials"
    trials.mkdir(parents=True)
    (trials / "trouble.txt").write_text("seed=1.5")  # every trial takes so many seconds

    def kill_node() -> None:
        while len(list(trials.glob("*/result.json"))) < 4:
            time.sleep(0.1)
        cluster.remove_node(node, allow_graceful=False)

    killer = threading.Thread(target=kill_node)
    killer.start()
    spread = study(PLAN, data=data, output=tmp_path / "ray", executor="ray", address=cluster.address, work=work)
    killer.join()
    assert not spread.failed and len(spread.ran) == len(alone.ran)
    tables = [json.loads((tmp_path / name / "table.json").read_text())["rows"] for name in ("local", "ray")]
    assert tables[0] == tables[1]


@pytest.mark.slow
def test_a_cluster_that_does_not_answer_is_named(tmp_path: Path) -> None:
    data = str(make_data(tmp_path / "data"))
    with refused("--address 127.0.0.1:1: expected a Ray cluster, none answers .*start one with: ray start --head"):
        study(PLAN, data=data, output=tmp_path / "s", executor="ray", address="127.0.0.1:1", work=work)
