"""Every network through one command: what runs, what is skipped the second time, and the table and charts it leaves."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from prune.benchmark.networks import networks_speed, table
from prune.cli import networks
from prune.cli.verbs import run_command
from prune.report.network_charts import accuracy_over_cost, kept_scores, speed_chart
from prune.studies import journal
from prune.studies import networks as networks_work
from prune.studies.settings import NetworksSettings
from tests.conftest import refused

WORDS = ["--models", "deeplabv3_tiny", "--epochs", "1", "--crop_size", "64", "--latency_size", "64", "--workers", "0"]
WORDS += ["--latency_repeats", "1", "--val_images", "1", "--weights", "none"]


def score(value: float | None) -> dict[str, float | None]:
    return {
        "value": value,
        "low": None if value is None else value - 0.1,
        "high": None if value is None else value + 0.1,
    }


def row(network: str, stage: str, value: float | None) -> dict[str, object]:
    scores = {key: score(value) for key in networks_work.SCORES}
    differences = {} if stage == "dense" else {"lt_iou@4": score(value)}
    return {
        "network": network,
        "stage": stage,
        "macs": 1e9,
        "latency_ms": 5.0,
        "scores": scores,
        "differences": differences,
    }


@pytest.mark.slow  # 20 s
def test_one_network_is_trained_pruned_tested_exported_and_tabulated(
    data: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    networks.main([str(data), *WORDS])
    said = capsys.readouterr().out
    stored = json.loads(Path("results/networks/table.json").read_text())
    dense, pruned = stored["rows"]
    assert (dense["stage"], pruned["stage"]) == ("dense", "pruned 50 %, fine-tuned")
    assert pruned["parameters"] < 0.3 * dense["parameters"] and pruned["macs"] < 0.3 * dense["macs"]
    assert set(dense["scores"]) == {"miou", "iou", "lt_iou@4", "f1_tolerant@2"} and stored["images"]["test"] == 3
    assert (
        pruned["export"]["fp32_passed"]
        and pruned["export"]["fp32_ms"] > 0
        and pruned["export"]["int8_miou_points"] is not None
    )
    assert all(
        Path("results/networks", name).stat().st_size for name in ("table.csv", "accuracy_over_cost.png", "kept.png")
    )
    assert "$DATA" in Path("results/networks/table.md").read_text() and "deeplabv3_tiny" in said
    networks.main([str(data), *WORDS])
    assert capsys.readouterr().out.count("done before") == 6


def test_a_step_runs_again_when_what_it_is_made_from_is_newer(here: Path) -> None:
    ran: list[str] = []

    def verb(_: str, words: Sequence[str]) -> None:
        ran.append(words[0])
        Path(words[0]).write_text("made")
        os.utime(words[0], (len(ran), len(ran)))

    for expected in (["a.pth", "a.json", "a.onnx"], []):
        ran.clear()
        notes = journal.Journal(Path("journal.json"), Path("data"), verb)
        notes.run(Path("a.pth"), "train.py", "a.pth", "a")
        notes.run(Path("a.json"), "test.py", "a.json", "a")
        notes.run(Path("a.onnx"), "test.py", "a.onnx", "a")
        assert ran == expected
    os.utime("a.pth", (100, 100))
    notes.run(Path("a.json"), "test.py", "a.json", "a")
    assert ran == ["a.json"]


def test_what_other_settings_made_is_not_replaced_silently(here: Path) -> None:
    def verb(_: str, words: Sequence[str]) -> None:
        Path(words[0]).write_text(" ".join(words))

    def notes(force: bool = False) -> journal.Journal:
        return journal.Journal(Path("journal.json"), Path("data"), verb, force=force)

    notes().run(Path("a.pth"), "train.py", "a.pth", "--epochs", 1)
    for again in (notes().run, notes().attempt):
        with refused(
            r"a.pth was made with other settings \(python train.py a.pth --epochs 1\): choose another NAME or"
        ):
            again(Path("a.pth"), "train.py", "a.pth", "--epochs", 2)
    assert Path("a.pth").read_text() == "a.pth --epochs 1"
    notes(force=True).run(Path("a.pth"), "train.py", "a.pth", "--epochs", 2)
    assert Path("a.pth").read_text() == "a.pth --epochs 2 --force"
    Path("a.pth").unlink()  # nothing is lost
    notes().run(Path("a.pth"), "train.py", "a.pth", "--epochs", 3)
    assert len(json.loads(Path("journal.json").read_text())) == 1


def test_epochs_follow_from_the_cost_of_a_network() -> None:
    config = NetworksSettings()
    chosen = {
        name: networks_work.epochs_for(name, 560, config)
        for name in ("deeplabv3_resnet50", "hrsegnet_b64", "hrsegnet_b16")
    }
    assert (
        chosen["deeplabv3_resnet50"] == 1 < chosen["hrsegnet_b64"] < chosen["hrsegnet_b16"] == networks_work.MOST_EPOCHS
    )
    assert networks_work.epochs_for("deeplabv3_resnet101", 560, NetworksSettings(epochs=50)) == 50


def test_an_unknown_network_is_named_before_anything_runs(data: Path, here: Path) -> None:
    with refused("unknown network 'hrsegnet_b17', did you mean hrsegnet_b16"):
        networks_work.networks(NetworksSettings(data=str(data), models="hrsegnet_b17"), run_command)
    assert not Path("results").exists()


def test_charts_take_networks_without_a_crack_score(tmp_path: Path) -> None:
    rows = [row(name, stage, value) for name, value in (("a", 0.4), ("b", None)) for stage in ("dense", "pruned")]
    assert accuracy_over_cost(rows, tmp_path / "a.png").stat().st_size > 10_000
    assert kept_scores(rows, tmp_path / "b.png").stat().st_size > 5_000


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


@pytest.mark.slow
def test_networks_run_beside_each_other(data: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(data), *WORDS, "--models", "deeplabv3_tiny,hrsegnet_b16", "--jobs", "2"]
    networks.main(words)
    rows = json.loads(Path("results/networks/table.json").read_text())["rows"]
    assert [row["network"] for row in rows] == ["deeplabv3_tiny"] * 2 + ["hrsegnet_b16"] * 2
    for name in ("deeplabv3_tiny", "hrsegnet_b16"):
        assert f"$ python train.py {data}" in Path(f"results/runs/networks_{name}.log").read_text()
    assert capsys.readouterr().out.count("  done\n") == 2
