"""Every network through one command: what runs, what is skipped the second time, and the table and charts it leaves."""

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from prune.benchmark.networks import networks_speed, table
from prune.cli import networks
from prune.errors import PartlyDone
from prune.report.network_charts import speed_chart
from prune.studies import every_network
from prune.studies.plan_file import plan_from
from prune.studies.settings import NetworksSettings
from tests.conftest import refused

WORDS = ["--models", "deeplabv3_tiny", "--epochs", "1", "--crop_size", "64", "--latency_size", "64", "--workers", "0"]
WORDS += ["--latency_repeats", "1", "--val_images", "1", "--weights", "none"]


@pytest.mark.slow
def test_one_network_is_trained_pruned_tested_exported_and_tabulated(
    data: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether the INT8 file of so small a network passes its gate depends on the CPU; a file that does not is told."""
    with suppress(PartlyDone):
        networks.main([str(data), *WORDS])
    said = capsys.readouterr().out
    stored = json.loads(Path("results/studies/networks/table.json").read_text())
    failed = [label for label in stored["failed"] if label.endswith("export int8")]
    precisions = ["fp32", "fp32", *([] if failed else ["int8"])]
    assert [(row["method"] == "dense", row["precision"]) for row in stored["rows"]] == [
        (number == 0, precision) for number, precision in enumerate(precisions)
    ]
    dense, pruned = stored["rows"][:2]
    assert pruned["parameters"] < 0.3 * dense["parameters"] and pruned["macs"] < 0.3 * dense["macs"]
    assert set(dense["latency"]) == {"pytorch", "onnx"}
    assert "no controls: neither Random nor" in said and all(f"failed: {label}: " in said for label in failed)
    with suppress(PartlyDone):
        networks.main([str(data), *WORDS])
    counts = re.search(r": (\d+) trials, (\d+) of them done before", capsys.readouterr().out)
    assert counts and int(counts[1]) - int(counts[2]) == len(stored["failed"])


def test_the_plan_gives_every_network_its_own_epochs(data: Path) -> None:
    config = NetworksSettings(data=str(data), models="deeplabv3_tiny,hrsegnet_b16", budget=0.001, int8_images=3)
    plan = plan_from(every_network.plan_of(config))
    expected = {name: every_network.epochs_for(name, 8, config) for name in ("deeplabv3_tiny", "hrsegnet_b16")}
    assert len(set(expected.values())) == 2 and list(plan.named_networks()) == list(expected)
    for name, epochs in expected.items():
        assert (plan.settings("train", name)["epochs"], plan.total_epochs(name)) == (epochs, 2 * epochs)
    assert plan.settings("export")["parity_images"] == 3 and not plan.controls


def test_epochs_follow_from_the_cost_of_a_network() -> None:
    config = NetworksSettings()
    chosen = {
        name: every_network.epochs_for(name, 560, config)
        for name in ("deeplabv3_resnet50", "hrsegnet_b64", "hrsegnet_b16")
    }
    assert (
        chosen["deeplabv3_resnet50"] == 1 < chosen["hrsegnet_b64"] < chosen["hrsegnet_b16"] == every_network.MOST_EPOCHS
    )
    assert every_network.epochs_for("deeplabv3_resnet101", 560, NetworksSettings(epochs=50)) == 50


def test_an_unknown_network_is_named_before_anything_runs(data: Path, here: Path) -> None:
    with refused("unknown network 'hrsegnet_b17', did you mean hrsegnet_b16"):
        every_network.plan_of(NetworksSettings(data=str(data), models="hrsegnet_b17"))


@pytest.mark.slow
def test_the_speed_of_a_network_on_every_runtime(tmp_path: Path) -> None:
    # A torn file and the rows of another machine are replaced.
    (tmp_path / "networks.json").write_text('{"rows": [{"name": "unet"}], "machine": {}}')
    machine: dict[str, Any] = {"device": "a", "cores": 2, "threads": 2, "system": "s", "python": "3", "kind": "avx2"}
    machine |= {"peaks": {"fp32": 100.0, "int8": 400.0}}
    assert networks_speed(tmp_path / "networks.json", 1, ["deeplabv3_tiny"], machine) == []
    rows = json.loads((tmp_path / "networks.json").read_text())["rows"]
    assert len(rows) == 10 and rows[0]["speedup"] == 1 and {r["channel_ratio"] for r in rows} == {0, 0.5}
    for found in rows:
        assert (found["images_per_second_one_per_core"] is None) == (found["runtime"] == "pytorch")
        assert found["share_of_peak"] == pytest.approx(found["gmacs_per_second"] / machine["peaks"][found["precision"]])
    networks_speed(tmp_path / "networks.json", 1, ["hrsegnet_b16"], machine)
    both = json.loads((tmp_path / "networks.json").read_text())["rows"]
    assert [row for row in both if row["name"] == "deeplabv3_tiny"] == rows and len(both) == 20
    partly = [row for row in both if (row["runtime"], row["name"]) != ("ncnn", "deeplabv3_tiny")]
    header, *lines = table(partly).splitlines()
    assert header.split()[:2] == ["network", "removed"] and "ncnn" in header.split()
    assert all(len(line) >= header.index("% of peak") for line in lines[:4])
    assert "deeplabv3_tiny" in table(rows) and speed_chart(rows, tmp_path / "again.png").exists()
