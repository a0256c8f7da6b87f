"""Which means of INT8 is taken: the first that passes, else the one that misses its limits by least."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from prune.data.find_split import find_split
from prune.data.labels import CRACK, S2DS
from prune.deployment.export import export
from prune.deployment.means import JUDGED_IMAGES, best_means, described, judged_images, shortfall
from prune.deployment.parity import Gate
from prune.deployment.settings import ExportSettings
from prune.deployment.target import ExportTarget
from prune.errors import UserError
from prune.inference.load import load_predictor
from prune.models.checkpoint import Network
from tests.conftest import make_data, refused


def lost(points: float | None) -> list[Gate]:
    return [Gate("agreement", 99.0, ">=", 95.0, "%"), Gate("mIoU lost", points, "<=", 1.0, "points", "no label")]


def test_the_worst_condition_counts() -> None:
    assert shortfall(lost(0.2)) == 0 and shortfall(lost(3.5)) == 2.5 and shortfall(lost(None)) == 0
    assert shortfall([Gate("agreement", 90.0, ">=", 95.0, "%"), *lost(2.0)]) == 5


def attempts(points: dict[str, float | None], made: list[str]) -> object:
    def attempt(name: str) -> Sequence[Gate]:
        made.append(name)
        if points[name] is None:
            raise UserError(f"{name} cannot be made")
        return lost(points[name])

    return attempt


def test_the_first_that_passes_is_taken() -> None:
    made: list[str] = []
    found = best_means(("a", "b", "c"), attempts({"a": 4.0, "b": 0.5, "c": 0.0}, made))  # type: ignore[arg-type]
    assert found == ("b", {"a": 3.0, "b": 0.0}) and made == ["a", "b"]


def test_of_those_that_fail_the_best_is_taken_and_what_cannot_be_made_is_left_out() -> None:
    found = best_means(("a", "b", "c"), attempts({"a": 4.0, "b": None, "c": 2.0}, []))  # type: ignore[arg-type]
    assert found == ("c", {"a": 3.0, "b": float("inf"), "c": 1.0})
    assert [described(found[1][name]) for name in "abc"] == ["misses a limit by 3", "no file", "misses a limit by 1"]
    with pytest.raises(UserError, match="a cannot be made"):
        best_means(("a",), attempts({"a": None}, []))  # type: ignore[arg-type]


def test_a_file_is_judged_on_images_it_was_not_calibrated_with(data: Path, tmp_path: Path) -> None:
    train = find_split(data, S2DS, role="train")
    judged = judged_images(train, 3)
    assert len(judged.pairs) == 5
    assert len(judged_images(train, 0).pairs) == len(train.pairs)  # all of them calibrate
    many = find_split(make_data(tmp_path / "many", (JUDGED_IMAGES + 10, 1, 1), 32), S2DS, role="train")
    assert len(judged_images(many, 2).pairs) == JUDGED_IMAGES


class Absence(nn.Module):
    """Finds a crack where its one feature is 0: the logits are then the biases, 0.01 apart in a range of 6."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 1, 1, bias=False), nn.Conv2d(1, 2, 1)
        with torch.no_grad():
            self.first.weight.copy_(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1))
            self.last.weight.copy_(torch.tensor([6.0, -6.0]).view(2, 1, 1, 1))
            self.last.bias.copy_(torch.tensor([0.13, 0.14]))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(image).relu())


def test_classes_that_differ_by_less_than_a_level_of_the_logits_stay_apart(tmp_path: Path) -> None:
    image = np.linspace(-1, 1, 3 * 32 * 32, dtype=np.float32).reshape(1, 3, 32, 32)[:, ::-1].copy()
    image[0, 0, :16] = -0.5
    image[0, 0, 16:] = 0.5
    file = export(
        Network(Absence().eval(), "absence", CRACK), ExportTarget("onnx", "int8"), tmp_path / "a.onnx", batches=[image]
    )
    found = load_predictor(file, threads=1).run(image).argmax(1)
    assert found[0, :16].all() and not found[0, 16:].any()


def test_means_that_a_runtime_does_not_have_are_named() -> None:
    with refused("--int8_means: onnx has auto, minmax, .*, found 'smooth'"):
        ExportTarget("onnx", "int8", means="smooth")
    with refused("--int8_means: expected --precision int8, found fp32"):
        ExportSettings(int8_means="mse")
