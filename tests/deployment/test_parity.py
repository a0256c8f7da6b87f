"""The parity gate: what it judges, and what it says when it cannot."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from prune.cli import export
from prune.data.dataset import Sample
from prune.data.labels import CRACK, S2DS, ClassSet
from prune.deployment.parity import Gate, Parity, compare
from prune.inference.predictor import Card, Predictor
from tests.cli.test_commands import error_of, tiny_model
from tests.conftest import make_data, refused

SCORES: dict[str, float | None] = {"miou": 0.5, "crack_iou": 0.4, "crack_lt_iou_4": 0.6}
SAME = Parity(3, 300, 300, 20, 1.0, 0.0, SCORES, SCORES)


class Drawn(Predictor):
    """Gives the logits it was made with, for an image of their size."""

    def __init__(self, logits: np.ndarray, classes: ClassSet = CRACK) -> None:
        self.logits, self.card = logits.astype(np.float32), Card("drawn", Path("drawn.onnx"), classes)

    def run(self, batch: np.ndarray) -> np.ndarray:
        return self.logits[None]


def sample(label: np.ndarray) -> Sample:
    image = torch.zeros(3, *label.shape, dtype=torch.uint8)
    return Sample("one", image, torch.from_numpy(label.astype(np.int64)))


def logits_of(class_map: np.ndarray) -> np.ndarray:
    return np.stack([class_map == 0, class_map == 1]).astype(np.float32)


def test_a_gate_holds_its_value_against_its_bound() -> None:
    assert Gate("lost", 1.0, "<=", 1.0, "points").passed and not Gate("lost", 1.01, "<=", 1.0, "points").passed
    assert Gate("equal", 99.0, ">=", 99.0, "%").passed and not Gate("equal", 98.9, ">=", 99.0, "%").passed


def test_a_gate_that_cannot_be_judged_does_not_pass() -> None:
    gate = Gate("crack ltIoU@4 lost", None, "<=", 1.0, "points", "no labeled crack in the 3 images compared")
    assert not gate.judged and not gate.passed
    assert str(gate) == "crack ltIoU@4 lost not judged, no labeled crack in the 3 images compared"


def test_cracks_are_judged_on_labeled_ones_only() -> None:
    crack = SAME.gates(99.9, 1, 1)[2]
    assert crack.judged and crack.passed
    # Without labels both sides score 0 when they predict some, which would look like no loss.
    unlabeled = replace(
        SAME, crack=0, reference=SCORES | {"crack_lt_iou_4": 0.0}, exported=SCORES | {"crack_lt_iou_4": 0.0}
    )
    assert [gate.judged for gate in unlabeled.gates(99.9, 1, 1)] == [True, True, False]
    assert "no labeled crack in the 3 images" in str(unlabeled.gates(99.9, 1, 1)[2])
    nothing = replace(SAME, labeled=0, crack=0)
    assert [gate.judged for gate in nothing.gates(99.9, 1, 1)] == [True, False, False]
    assert "no labeled pixel" in str(nothing.gates(99.9, 1, 1)[1])


def test_a_network_without_cracks_has_no_gate_for_them() -> None:
    assert [gate.name for gate in replace(SAME, crack=None).gates(99.9, 1, 1)] == [
        "agreement of the class maps",
        "mIoU lost",
    ]


def test_labeled_and_crack_pixels_are_counted() -> None:
    label = np.zeros((16, 20), np.uint8)
    label[:, 5] = 1
    ignored = label.copy()
    ignored[0] = 255
    network = Drawn(logits_of(label))
    parity = compare(network, network, [sample(ignored)])
    assert (parity.pixels, parity.labeled, parity.crack, parity.agreement) == (320, 300, 15, 1.0)
    other = ClassSet("two", ("background", "leaf"), ((0, 0, 0), (9, 9, 9)))
    leaves = Drawn(logits_of(label), other)
    assert compare(leaves, leaves, [sample(label)]).crack is None


def test_a_logit_that_is_not_finite_is_no_parity() -> None:
    label = np.zeros((16, 20), np.uint8)
    broken = logits_of(label)
    broken[1, 3, 4] = np.nan
    with refused(r"drawn\.onnx does not match the network: a logit of one is not finite"):
        compare(Drawn(logits_of(label)), Drawn(broken), [sample(label)])


@pytest.mark.slow
def test_an_export_that_cannot_be_judged_fails_and_says_the_way_out(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_data(here / "no_cracks", (2, 2, 2), 32)
    for file in data.rglob("Labels_grayscale/*.png"):
        label = np.array(Image.open(file))
        Image.fromarray(np.where(label == S2DS.index("crack"), 0, label).astype(np.uint8)).save(file)
    tiny_model()
    words: list[object] = ["tiny", "--data", data, "--to", "pt2"]
    said = error_of(export.main, words, capsys)
    assert "tiny.pt2: crack ltIoU@4 lost not judged, no labeled crack in the 2 images compared" in said
    assert "(--data, --parity_images), or add --accept_unjudged True" in said
    assert not Path("results/exports/tiny.pt2").exists()
    report = json.loads(Path("results/exports/tiny.pt2.json").read_text())
    assert report["passed"] is False and report["judged"] is False
    assert [gate["judged"] for gate in report["gates"]] == [True, True, False]
    export.main([*map(str, words), "--accept_unjudged", "True"])
    assert "WARNING  crack ltIoU@4 lost not judged" in capsys.readouterr().out
    assert Path("results/exports/tiny.pt2").is_file()
    assert json.loads(Path("results/exports/tiny.pt2.json").read_text())["passed"] is True
