"""Whole studies with work that takes no time: what runs, what fails, what is tried again, and what is written."""

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from prune.errors import PartlyDone
from prune.files import locked
from prune.studies.kinds import compute
from prune.studies.run import StudyResult, report, study
from tests.conftest import ROOT, make_data, refused
from tests.studies.fake import PLAN, work

FILES = {"table.json", "table.csv", "table.md", "table.tex", "table.xlsx", "report.html", "study.json"}


@pytest.fixture(autouse=True)
def fast(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts are drawn in one test only."""
    if "writes_every_file" not in request.node.name:
        monkeypatch.setattr("prune.studies.run._charts", lambda cells, facts, folder: [])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    make_data(tmp_path / "data")
    return tmp_path


def run(place: Path, **keys: Any) -> StudyResult:
    options: dict[str, Any] = {"output": place / "s", "jobs": 1, "work": work, "data": str(place / "data")}
    return study(PLAN, **{**options, **keys})


def ran(place: Path) -> list[str]:
    """Labels of the trials that ran, in order; forgotten afterwards."""
    file = place / "s/trials/ran.txt"
    labels = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return labels


def trouble(place: Path, text: str) -> None:
    (place / "s/trials").mkdir(parents=True, exist_ok=True)
    (place / "s/trials/trouble.txt").write_text(text)


def table(place: Path) -> list[dict[str, Any]]:
    return json.loads((place / "s/table.json").read_text())["rows"]


def test_a_study_runs_once_and_writes_every_file(place: Path) -> None:
    found = run(place)
    assert len(ran(place)) == len(found.ran) == 26 and not found.failed
    assert {f.name for f in (place / "s").iterdir()} >= FILES | {
        "pareto_macs.png",
        "pareto_mib.png",
        "pareto_latency_pytorch.png",
    }
    assert [(c.method, c.level, c.seeds) for c in found.cells] == [
        ("dense", "", (0, 1)),
        ("L2", "50%", (0, 1)),
        ("Random", "50%", (0, 1)),
        ("from scratch", "50%", (0, 1)),
    ]
    dense, pruned, random, _ = found.cells
    assert (dense.macs, pruned.macs, dense.verdict) == (2e9, 6e8, "baseline")
    assert pruned.latency == {"pytorch": 5.0} and pruned.speedup == {"pytorch": 2.0}
    gained = pruned.scores["lt_iou@4"].value - random.scores["lt_iou@4"].value
    assert pruned.to_random["lt_iou@4"].value == pytest.approx(gained) and not random.to_random
    lost = pruned.scores["miou"].value - dense.scores["miou"].value
    assert pruned.to_dense["miou"].value == pytest.approx(lost) and lost < 0
    assert "miou over macs" in dense.fronts
    first = (place / "s/table.json").read_bytes()
    again = run(place)
    assert ran(place) == again.ran == [] and (place / "s/table.json").read_bytes() == first
    with (place / "s/table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[1]["lt_iou@4 minus dense"]) == pytest.approx(pruned.to_dense["lt_iou@4"].value)
    assert list(again.table["method"]) == ["dense", "L2", "Random", "from scratch"]
    page = (place / "s/report.html").read_text()
    assert page.count("data:image/png;base64,") == 3 and "http" not in page and "from scratch" in page
    latex = (place / "s/table.tex").read_text()
    assert latex.count(r"\\") == 5 and r"\toprule" in latex and r"50\%" in latex and r"deeplabv3\_tiny" in latex


def test_a_new_seed_and_a_new_criterion_run_only_what_is_missing(place: Path) -> None:
    run(place, seeds=[0])
    ran(place)
    run(place, seeds=[0, 1])
    assert len(labels := ran(place)) == 13 and all("seed 1" in label for label in labels)
    run(place, criteria=["L2", "L1"])
    assert [label.split()[1] for label in ran(place)] == ["L1"] * 8


def test_a_trial_that_fails_stops_no_other_and_is_tried_again(place: Path) -> None:
    trouble(place, "L2 50%, seed 0: prune=refuse\nL2 50%, seed 1: fine-tune=full")
    found = run(place)
    assert len(ran(place)) == 26 - 2 * 2 - 1
    assert found.failed["deeplabv3_tiny L2 50%, seed 0: prune"] == "--pruning_ratio: nothing is left"
    assert "No space left on device" in found.failed["deeplabv3_tiny L2 50%, seed 1: fine-tune"]
    assert found.failed["deeplabv3_tiny L2 50%, seed 0: fine-tune"].startswith("not run, because this failed: ")
    assert [cell.method for cell in found.cells] == ["dense", "Random", "from scratch"]
    assert "failed: deeplabv3_tiny L2 50%, seed 0: prune" in (place / "s/table.md").read_text()
    (place / "s/trials/trouble.txt").unlink()
    assert not run(place).failed and len(labels := ran(place)) == 7 and all("L2" in label for label in labels)
    assert len(table(place)) == 4 and not list((place / "s/trials").glob("*/failure.json"))


def test_a_worker_that_is_killed_fails_its_trial_only(place: Path) -> None:
    trouble(place, "L2 50%, seed 0: prune=die")
    found = run(place)
    assert found.failed["deeplabv3_tiny L2 50%, seed 0: prune"] == "its process was killed (out of memory?)"
    assert all("L2 50%, seed 0" in label for label in found.failed) and found.cells[1].seeds == (1,)


def test_when_everything_fails_the_first_cause_is_told(place: Path) -> None:
    trouble(place, "train=refuse")
    with refused("every trial failed, the first: .*train: --pruning_ratio: nothing is left"):
        run(place)


def test_a_second_study_on_the_same_folder_refuses(place: Path) -> None:
    with locked(place / "s"), refused("s is being written by another process"):
        run(place)


def test_other_data_and_another_trial_in_a_folder_are_refused(place: Path) -> None:
    run(place, seeds=[0])
    results = sorted((place / "s/trials").glob("*/settings.json"))
    wrong = json.loads(results[0].read_text())
    wrong["identity"]["data"] = {"train": "other"}
    results[0].write_text(json.dumps(wrong))
    with refused("expected the trial its name stands for, found one with other data.*remove the folder"):
        run(place, seeds=[0])
    image = next((place / "data/test/Images").iterdir())
    image.write_bytes(image.read_bytes() + b"x")
    with refused("found one whose test images differ .*choose another name"):
        run(place, seeds=[0])


def test_missing_data_an_unknown_network_and_no_study_are_refused(place: Path) -> None:
    with refused("--data: expected a data folder"):
        study(PLAN, output=place / "s")
    with refused("unknown network 'deeplabv3_tny', did you mean deeplabv3_tiny"):
        run(place, networks=["deeplabv3_tny"])
    with refused("expected the folder of a study, found no study.json"):
        report(place / "nothing")
    with refused("--address auto: expected --executor ray beside it"):
        run(place, address="auto")
    assert not (place / "s/study.json").exists()


@pytest.mark.parametrize("text", ["{", "[1]", '{"plan": 3}', "[" * 100_000])
def test_a_damaged_study_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "study.json").write_text(text)
    with refused("study.json: expected "):
        report(tmp_path)


def test_report_only_needs_no_data_and_gives_the_same(place: Path) -> None:
    with refused("expected the folder of a study, found no study.json"):
        study(output=place / "s", report_only=True)
    run(place, seeds=[0])
    before = {name: (place / "s" / name).read_bytes() for name in ("table.json", "table.tex", "table.csv")}
    (place / "data").rename(place / "gone")
    for name in before:
        (place / "s" / name).unlink()
    code = "import sys; from prune.studies.run import report; report(sys.argv[1]); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, str(place / "s")], check=True, cwd=ROOT)
    assert {name: (place / "s" / name).read_bytes() for name in before} == before


def test_results_say_nothing_of_the_machines_folders(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    run(place, data="data", seeds=[0], output="s")
    for file in (*place.glob("s/*"), *place.glob("s/trials/*/*.json")):
        if file.is_file() and file.suffix in (".json", ".html", ".md", ".csv", ".tex") and file.stem != "fingerprints":
            assert str(place) not in file.read_text(), file
    settings = next(place.glob("s/trials/*/settings.json"))
    assert json.loads(settings.read_text())["data"] == "data"


@pytest.mark.parametrize(("keep", "kept"), [("all", 8), ("best", 2), ("none", 0)])
def test_checkpoints_are_kept_as_the_plan_says(place: Path, keep: str, kept: int) -> None:
    run(place, seeds=[0, 1], keep=keep)
    networks = list((place / "s/trials").glob("*/network.pth"))
    assert len(networks) >= kept if keep != "none" else not networks
    ran(place)
    run(place, seeds=[0, 1], keep=keep)
    assert ran(place) == []
    run(place, criteria=["L2", "L1"], keep=keep)
    again = [label for label in ran(place) if "L1" not in label]
    assert bool(again) == (keep == "none") and all(label.endswith(": train") for label in again)


def test_kept_code_counts(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(place, seeds=[0])
    ran(place)
    monkeypatch.setattr("prune.studies.trials.code_version", lambda kind: "newer")
    run(place, seeds=[0], keep_code=True)
    assert ran(place) == []
    run(place, seeds=[0])
    assert len(ran(place)) == 13


def test_one_image_has_no_interval_and_one_seed_says_so(place: Path) -> None:
    found = run(place, seeds=[3])
    assert "one seed: the intervals are over images only" in found.notes
    assert not math.isnan(found.cells[0].scores["miou"].low)


def test_the_command_line_lists_what_failed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prune.cli.study import StudyOptions
    from prune.cli.study import run as run_verb

    monkeypatch.chdir(place)
    trouble(place, "L2 50%, seed 0: prune=refuse")
    (place / "s.toml").write_text('data = "data"\nratios = [50]\ncriteria = ["L2"]\nnetworks = ["deeplabv3_tiny"]\n')
    monkeypatch.setattr("prune.studies.run.compute", work)
    monkeypatch.setattr(study, "__kwdefaults__", {**(study.__kwdefaults__ or {}), "work": work})
    with pytest.raises(PartlyDone, match="4 trials failed; run the same command again") as caught:
        run_verb(StudyOptions(data="s.toml", jobs=1, output="s"))
    assert caught.value.exit_code == 1
    (place / "s/trials/trouble.txt").unlink()
    run_verb(StudyOptions(data="s.toml", jobs=1, output="s", seeds="0,1"))
    assert len(table(place)) == 4
    with refused("--seeds: expected whole numbers separated by commas, found '0,x'"):
        run_verb(StudyOptions(data="s.toml", seeds="0,x"))


STARTED = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.studies.test_study import run
if __name__ == "__main__":
    run(Path({place!r}), jobs=2)
"""


@pytest.mark.slow
def test_killed_anywhere_it_goes_on_and_gives_the_same_table(place: Path) -> None:
    run(place, output=place / "whole")
    expected = (place / "whole/table.json").read_bytes()
    (place / "go.py").write_text(STARTED.format(root=str(ROOT), place=str(place)))
    finished: set[str] = set()
    for wanted in (2, 7, 14):
        trouble(place, "seed=0.3")
        process = subprocess.Popen([sys.executable, str(place / "go.py")], cwd=ROOT, start_new_session=True)
        deadline = time.monotonic() + 120
        while len(results(place)) < wanted and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + 30
        while orphans(place) and time.monotonic() < deadline:  # the processes end with their parent
            time.sleep(0.1)
        assert not orphans(place)
        labels = ran(place)
        assert not finished & set(labels)  # nothing that has a result ran again
        finished |= {json.loads((p.parent / "settings.json").read_text())["label"] for p in results(place)}
        assert len(finished) >= wanted
    (place / "s/trials/trouble.txt").unlink()
    run(place)
    assert not finished & set(ran(place)) and (place / "s/table.json").read_bytes() == expected


def results(place: Path) -> list[Path]:
    return list((place / "s/trials").glob("*/result.json"))


def orphans(place: Path) -> list[str]:
    """Processes that still work for a study in ``place``, by the files they hold open."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            links = [str(link.readlink()) for link in (folder / "fd").iterdir()]
        except OSError:
            continue
        if int(folder.name) != os.getpid() and any(str(place / "s") in link for link in links):
            found.append(folder.name)
    return found


def test_layer_times_of_latency_allocation_are_kept_for_all_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[dict[str, Any]] = []

    def prune_with(source: object, **how: Any) -> Any:
        found.append(how)
        return SimpleNamespace(report=SimpleNamespace(to_json=lambda: {"after": 3}))

    monkeypatch.setattr("prune.api.prune.prune", prune_with)
    monkeypatch.setattr("prune.studies.kinds.network_of", lambda folder: folder)
    for allocation in ("latency", "local"):
        task: Any = {"kind": "prune", "folder": str(tmp_path / "trials" / allocation), "how": {}, "data": {}}
        assert compute({**task, "parents": {"network": "x"}, "settings": {"allocation": allocation}}) == {"after": 3}
    assert found[0]["layer_times"] == str(tmp_path / "layer_times.json") and "layer_times" not in found[1]
