"""``prune.evaluate``, ``prune.score`` and ``prune.compare``: the numbers of the command line as objects, and their misuse."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas
import pytest
import torch
from PIL import Image

import prune
from prune import tables
from prune.data.find_split import find_split
from prune.data.labels import CRACK, S2DS
from prune.models import build_model
from prune.models.checkpoint import Network, load_checkpoint
from prune.report import evaluation_result
from tests.conftest import ROOT, refused
from tests.evaluation.test_stored_scores import DATA, RUNS, check, draw_images

QUICK: dict[str, Any] = {"latency_repeats": 0, "workers": 0, "threads": 1}


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stored checkpoint ``tiny.pth`` and its three images, in ``drawn``; do not write into it."""
    folder = tmp_path_factory.mktemp("scores")
    shutil.copy(DATA / "tiny.pth", folder / "tiny.pth")
    draw_images(folder / "drawn")
    return folder


@pytest.fixture(scope="module")
def scored(material: Path) -> Any:
    return prune.evaluate(material / "tiny.pth", material / "drawn/test", **QUICK)


@pytest.fixture
def masks(here: Path) -> Path:
    """Labels of two images, right masks and masks without a crack."""
    for number in range(2):
        label = np.zeros((48, 48), np.uint8)
        label[4:-4, 20 + number : 22 + number] = 1
        for folder, mask in (("labels", label), ("right", label), ("blind", 0 * label)):
            (here / folder).mkdir(exist_ok=True)
            Image.fromarray(255 * mask).save(here / folder / f"{number}.png")
    return here


def test_the_library_gives_the_scores_of_the_command_line(scored: Any) -> None:
    check(scored.content, "plain")
    assert scored.content == json.loads(json.dumps(scored.content))
    assert scored.summary["miou"] == scored.content["summary"]["miou"] and scored.crack["lt_iou"]["4"]["value"] > 0


def test_nothing_is_printed_nor_written(
    material: Path, here: Path, capsys: pytest.CaptureFixture[str], masks: Path
) -> None:
    before = sorted(here.rglob("*"))
    first = prune.evaluate(material / "tiny.pth", material / "drawn", **QUICK)
    second = prune.score("right", "labels", workers=0)
    prune.compare([second, prune.score("blind", "labels", workers=0)])
    said = capsys.readouterr()
    assert said.out == said.err == "" and sorted(here.rglob("*")) == before
    assert not first.files and not (material / "results").exists()


@pytest.mark.parametrize("kind", ["str", "model", "network", "split"])
def test_paths_and_objects_give_the_same_scores(material: Path, kind: str) -> None:
    file, folder = material / "tiny.pth", material / "drawn/test"
    network = load_checkpoint(file)
    forms: dict[str, Callable[[], Any]] = {
        "str": lambda: prune.evaluate(str(file), str(folder), **QUICK),
        "model": lambda: prune.evaluate(prune.load(file), folder, **QUICK),
        "network": lambda: prune.evaluate(network, folder, **QUICK),
        "split": lambda: prune.evaluate(file, find_split(folder, S2DS), **QUICK),
    }
    check(forms[kind]().content, "plain")


def test_somebody_elses_module_is_scored_and_left_as_it_is(material: Path) -> None:
    module = load_checkpoint(material / "tiny.pth").model.train()
    result = prune.evaluate(module, material / "drawn/test", classes="s2ds", **QUICK)
    assert result.content["confusion"]["counts"] and result.summary["parameters"] > 0
    own = prune.evaluate(module, material / "drawn/test", classes=S2DS.classes, **QUICK)
    assert own.content["confusion"] == result.content["confusion"]
    assert module.training and next(module.parameters()).device == torch.device("cpu")


def test_settings_are_those_of_the_command_line(material: Path) -> None:
    settings: dict[str, Any] = {"protocol": "s2ds", "tolerances": (0, 4), "mm_per_pixel": 0.5}
    check(prune.evaluate(material / "tiny.pth", material / "drawn/test", **settings, **QUICK).content, "s2ds")
    assert RUNS["s2ds"][1] == "s2ds"


def test_the_table_per_class_is_a_data_frame(scored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    table = scored.per_class
    assert isinstance(table, pandas.DataFrame) and list(table["class"]) == list(S2DS.classes)
    crack = table.set_index("class").loc["Crack"]
    stored = scored.content["per_class"][6]
    assert crack["iou"] == stored["iou"] and crack["support"] == stored["support"] == 384
    assert [crack["iou_low"], crack["iou_high"]] == stored["intervals"]["iou"]
    assert table["precision"].dtype == float and np.isnan(table["precision"][1])  # never predicted
    monkeypatch.setitem(sys.modules, "pandas", None)
    plain = scored.per_class
    assert isinstance(plain, list) and plain[6]["iou"] == stored["iou"] and plain[1]["precision"] is None


def test_text_and_html_show_the_same_numbers(scored: Any) -> None:
    text, html = str(scored), scored._repr_html_()
    iou = f"{scored.content['per_class'][6]['iou']:.4f}"
    assert iou in text and f">{iou}</td>" in html and "<th" in html and "ltIoU @ 4 px" in html
    assert "workbook" not in text


def test_an_html_table_escapes_and_aligns() -> None:
    table = tables.html_table(["name", "n"], [["<b>", 1], [None, 22]])
    assert '<td style="text-align:left">&lt;b&gt;</td>' in table and '<td style="text-align:right">22</td>' in table
    with pytest.raises(ValueError):
        tables.html_table(["name"], [["a", "b"]])


def test_files_are_written_where_they_are_named(material: Path, here: Path) -> None:
    result = prune.evaluate(
        material / "tiny.pth", material / "drawn/test", workbook="a/b.xlsx", calibration=True, **QUICK
    )
    assert [str(file) for file in result.files] == ["a/b.xlsx", "a/b.json", "a/b_reliability.png"]
    assert json.loads(Path("a/b.json").read_text()) == result.content
    assert "workbook a/b.xlsx" in str(result) and "figure   a/b_reliability.png" in str(result)
    assert result.to_excel("c.xlsx") == Path("c.xlsx") and result.to_json("c.json") == Path("c.json")
    assert openpyxl.load_workbook("c.xlsx").sheetnames == openpyxl.load_workbook("a/b.xlsx").sheetnames
    assert sorted(file.name for file in here.iterdir()) == ["a", "c.json", "c.xlsx"]


def test_labels_that_are_all_ignored_are_scored_as_nothing(material: Path, here: Path) -> None:
    shutil.copytree(material / "drawn/test", here / "test")
    for file in (here / "test/Labels_grayscale").iterdir():
        Image.fromarray(np.full_like(np.asarray(Image.open(file)), 255)).save(file)
    result = prune.evaluate(material / "tiny.pth", here / "test", workbook="a.xlsx", **QUICK)
    assert result.content["summary"]["miou"] is None and result.per_class["support"].sum() == 0
    assert json.loads(Path("a.json").read_text()) == result.content and "Crack" in str(result)


def test_several_networks_are_timed_in_turns_and_compared(material: Path, here: Path) -> None:
    file, folder = material / "tiny.pth", material / "drawn/test"
    quick = QUICK | {"latency_repeats": 1, "latency_size": 64}
    first, second = prune.evaluate([file, prune.load(file)], folder, workbook=["a.xlsx", "b.xlsx"], **quick)
    assert first.summary["latency_started"] == second.summary["latency_started"] != ""
    assert first.summary["latency_ms"] > 0 and Path("a.json").exists() and Path("b.xlsx").exists()
    found = prune.compare([first, second])
    assert [row["verdict"] for row in found.content["rows"]] == ["baseline", "kept"] and not found.files
    assert prune.compare(["a.json", Path("b.xlsx")]).content["rows"] == found.content["rows"]
    again = prune.compare([second], baseline=first, workbook="c.xlsx")
    assert again.content["rows"][0]["file"] == "a.json"
    assert {"c.xlsx", "c.json", "c_miou.png"} <= {file.name for file in again.files}


def test_a_comparison_is_a_table_too(masks: Path) -> None:
    right, blind = (prune.score(name, "labels", workers=0) for name in ("right", "blind"))
    found = prune.compare([right, blind], keep_miou=90)
    table = found.table.set_index("name")
    assert table.loc["blind", "verdict"] == "mIoU kept, cracks lost" and table.loc["right", "lt_iou@4"] == 1
    assert table.loc["blind", "lt_iou@4_difference"] == -1 and np.isnan(table.loc["right", "miou_difference"])
    assert np.isnan(table.loc["blind", "macs"])
    assert "mIoU kept, cracks lost" in found._repr_html_() and "minus right" in str(found)
    assert "verdict  blind: mIoU kept, cracks lost (" in str(found)
    assert max(map(len, str(found).splitlines())) <= 100
    same = prune.compare([right, prune.score("right", "labels", workers=0)])
    assert [row["file"] for row in same.content["rows"]] == ["right", "right'"]


def test_masks_are_scored_from_paths_of_any_kind(masks: Path) -> None:
    result = prune.score(Path("right"), "labels", workbook=Path("out.xlsx"), mm_per_pixel=0.5, workers=0)
    assert result.crack is not None and result.crack["length_mm"]["value"] > 0 and result.summary["macs"] is None
    assert result.content["run"]["arguments"]["pred_dir"] == "right" and Path("out.json").exists()
    assert list(result.per_class["class"]) == list(CRACK.classes)


NO_TORCH = f"""
import importlib.abc, runpy, sys
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision", "pandas", "openpyxl", "matplotlib", "tqdm", "psutil"):
            raise ModuleNotFoundError(f"{{name}} is not on this box", name=name)
sys.meta_path.insert(0, Blocker())
sys.path.insert(0, {str(ROOT)!r})
"""


def test_masks_are_scored_without_pytorch_and_without_a_spreadsheet_library(masks: Path) -> None:
    Path("box.py").write_text(NO_TORCH + "import prune\nprint(prune.score('right', 'labels').crack['lt_iou']['4'])\n")
    finished = subprocess.run([sys.executable, "box.py"], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip() == "{'value': 1.0, 'low': 1.0, 'high': 1.0}"
    Path("line.py").write_text(NO_TORCH + "from prune.cli.start import program\nsys.exit(program())\n")
    words = [sys.executable, "line.py", "score", "right", "labels"]
    finished = subprocess.run(words, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert "no workbook: openpyxl and pandas are not installed" in finished.stdout and "ltIoU @ 4 px" in finished.stdout
    content = json.loads(Path("results/metrics/right.json").read_text())
    assert "torch" not in content["run"]["versions"] and content["run"]["machine"]["cores"]
    finished = subprocess.run([*words, "--output", "out.xlsx"], capture_output=True, text=True)
    assert (
        finished.returncode == 2 and "out.xlsx: needs openpyxl and pandas, which are not installed" in finished.stderr
    )


def test_without_matplotlib_there_is_no_diagram(
    scored: Any, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "prune.report.reliability", None)
    result = evaluation_result.EvaluationResult(scored.content | {"calibration": {}, "run": {"seconds": {}}})
    prune.progress.show()
    try:
        result._diagram(Path("a.png"))
    finally:
        prune.progress.show(False)
    assert "note     no reliability diagram" in capsys.readouterr().out and not Path("a.png").exists()


def test_unknown_arguments_and_wrong_types_are_named(material: Path, masks: Path) -> None:
    file, folder = material / "tiny.pth", material / "drawn/test"

    def error(function: Callable[..., Any], *arguments: Any, **settings: Any) -> str:
        with pytest.raises(TypeError) as caught:
            function(*arguments, **settings)
        return str(caught.value)

    assert "evaluate() has no argument 'tolerance', did you mean tolerances?" in error(
        prune.evaluate, file, folder, tolerance=4
    )
    assert "evaluate(): workers: expected int, found '1' (str)" in error(prune.evaluate, file, folder, workers="1")
    assert "model: expected a path, a Model or a torch.nn.Module, found int" in error(prune.evaluate, 7, folder)
    assert "data: expected a path or a Split, found int" in error(prune.evaluate, file, 7, **QUICK)
    assert "workbook: expected a path, found 7 (int)" in error(prune.evaluate, file, folder, workbook=7)
    assert "score() has no argument 'class', did you mean classes?" in error(
        prune.score, "right", "labels", **{"class": "crack"}
    )
    assert "pred_dir: expected a path, found None (NoneType)" in error(prune.score, None, "labels")
    assert "probabilities: expected a path, found 3" in error(prune.score, "right", "labels", probabilities=3)
    assert "compare() has no argument 'keepmiou', did you mean keep_miou?" in error(
        prune.compare, ["a", "b"], keepmiou=2
    )
    assert "evaluations: expected a list of evaluations, found str" in error(prune.compare, "a.json")
    assert "evaluations: expected a path or an EvaluationResult, found int" in error(prune.compare, [1, 2])


def test_wrong_paths_and_values_are_named(material: Path, masks: Path) -> None:
    file, folder = material / "tiny.pth", material / "drawn/test"
    with refused("--model: expected a file, found none called nothing.pth"):
        prune.evaluate("nothing.pth", folder, **QUICK)
    with refused("data folder nowhere not found"):
        prune.evaluate(file, "nowhere", **QUICK)
    with refused("model: expected at least one network, found an empty list"):
        prune.evaluate([], folder)
    with refused("--workbook: expected a file name ending in .xlsx, found 'a.csv'"):
        prune.evaluate(file, folder, workbook="a.csv")
    with refused("--workbook: expected 2 different files, one for each network, found a.xlsx"):
        prune.evaluate([file, file], folder, workbook="a.xlsx")
    with refused("--tolerances: expected different numbers from 0 to 64, found 4,4"):
        prune.evaluate(file, folder, tolerances=(4, 4))
    with refused("--classes: expected one of auto, s2ds, crack, found 'cracks'"):
        prune.score("right", "labels", classes="cracks")
    with refused("--classes: expected s2ds, crack or a list of names, found 'cracks'"):
        prune.evaluate(file, folder, classes="cracks")
    with refused("folder nowhere not found"):
        prune.score("nowhere", "labels")
    with refused("evaluations: expected at least two, found 1"):
        prune.compare([prune.score("right", "labels", workers=0)])
    with refused("--evaluations: expected a file, found none called nothing.json"):
        prune.compare(["nothing.json", "other.json"])
    with refused("found a.json twice"):
        prune.score("right", "labels", workbook="a.xlsx", workers=0)
        prune.compare(["a.json", "./a.json"])


def test_networks_of_other_classes_than_the_labels_are_refused(material: Path) -> None:
    split = find_split(material / "drawn/test", CRACK)
    with refused("tiny.pth: the data has the 2 classes of .*, found a network of 7 classes"):
        prune.evaluate(material / "tiny.pth", split, **QUICK)
    with refused("the data has the 7 classes of .*, found a network of 2 classes"):
        module = build_model("deeplabv3_tiny", 2)
        prune.evaluate([material / "tiny.pth", Network(module, "deeplabv3_tiny", CRACK)], split, **QUICK)
