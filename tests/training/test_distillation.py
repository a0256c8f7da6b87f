"""Knowledge distillation: the loss by hand, and what a teacher may and may not do."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch

import prune
from prune.cli.train import train
from prune.data.labels import CRACK, IGNORE_INDEX, S2DS
from prune.data.preprocessing import Preprocessing
from prune.models import build_model
from prune.models.checkpoint import Network, load_checkpoint
from prune.training.distillation import Distillation, pixelwise_kl, require_fitting_teacher
from prune.training.losses import make_loss
from prune.training.step import TrainingStep
from tests.conftest import refused
from tests.training.test_loop import SMALL, run

ONCE = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
"""Divergence of (1/2, 1/2) from (3/4, 1/4)."""


def pixels(*logits: tuple[float, float]) -> torch.Tensor:
    """Logits (1, 2, 1, W) of one row of pixels."""
    return torch.tensor(logits).T[None, :, None]


def test_the_divergence_by_hand() -> None:
    student = pixels((0.0, 0.0), (1.0, -1.0), (9.0, -9.0)).requires_grad_()
    teacher = pixels((2 * math.log(3), 0.0), (3.0, 1.0), (-9.0, 9.0))  # at T = 2: 3/4 and 1/4; the same; ignored
    label = torch.tensor([[[0, 1, IGNORE_INDEX]]])
    loss = pixelwise_kl(student, teacher, label, temperature=2.0)
    assert loss.item() == pytest.approx(4 * ONCE / 2, rel=1e-5)
    loss.backward()  # T · (p − q) over two valid pixels
    assert student.grad is not None
    assert student.grad[0, :, 0].flatten().tolist() == pytest.approx([-0.25, 0, 0, 0.25, 0, 0], abs=1e-6)


def test_no_valid_pixel_gives_zero_with_a_graph() -> None:
    student = pixels((1.0, 0.0)).requires_grad_()
    loss = pixelwise_kl(student, pixels((0.0, 1.0)), torch.full((1, 1, 1), IGNORE_INDEX), 1.0)
    loss.backward()
    assert loss.item() == 0 and student.grad is not None and not student.grad.any()


def test_a_step_adds_the_weighted_divergence_and_leaves_the_teacher_as_it_was() -> None:
    torch.manual_seed(0)
    student, teacher = build_model("deeplabv3_tiny", 7).train(), build_model("deeplabv3_tiny", 7).train()
    batch = torch.rand(2, 3, 64, 64), torch.randint(0, 7, (2, 64, 64))
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    distillation = Distillation(teacher, weight=3.0, temperature=2.0)
    wanted = distillation.logits(batch[0])
    values = []
    for extra in (None, distillation):
        torch.manual_seed(1)  # dropout
        values.append(TrainingStep(student, make_loss("ce"), torch.device("cpu"), distillation=extra)(batch))
    torch.manual_seed(1)
    expected = 3 * pixelwise_kl(student(batch[0])["out"], wanted, batch[1], 2.0)
    assert (values[1] - values[0]).item() == pytest.approx(expected.item(), rel=1e-4)
    values[1].backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert teacher.training and teacher.aux_classifier is not None
    assert not torch.equal(wanted, teacher(batch[0])["out"])  # taken in evaluation mode


def test_a_teacher_changes_what_is_learned_and_one_without_weight_nothing(data: Path, here: Path) -> None:
    settings = {**SMALL, "epochs": 2}
    dense = prune.train(data, **settings)
    before = {name: value.clone() for name, value in dense.model.module.state_dict().items()}
    alone, ignored, taught = (
        prune.train(data, **settings, seed=1),
        prune.train(data, **settings, seed=1, teacher=dense.model, distill_weight=0.0),
        prune.train(data, **settings, seed=1, teacher=dense.model),
    )
    assert ignored.history == alone.history
    assert taught.history[0]["train_loss"] > alone.history[0]["train_loss"]  # type: ignore[operator]
    assert all(torch.equal(value, before[name]) for name, value in dense.model.module.state_dict().items())


def test_the_command_line_takes_a_teacher_by_its_name(data: Path, here: Path) -> None:
    train(run(data, "dense", epochs=1))
    train(run(data, "small", epochs=1, teacher="dense", distill_temperature=4.0))
    settings = load_checkpoint(Path("results/models/small.pth")).lineage[-1]["settings"]
    told = {name: settings[name] for name in ("teacher", "distill_weight", "distill_temperature")}
    assert told == {"teacher": "dense", "distill_weight": 1.0, "distill_temperature": 4.0}
    with refused("--resume: --teacher was 'dense' when .*last.pth was made, found None"):
        train(run(data, "small", epochs=1, distill_temperature=4.0, resume=True))


def test_a_teacher_of_other_classes_or_normalization_is_refused(data: Path, here: Path) -> None:
    model = build_model("deeplabv3_tiny", 7)
    student = Network(model, "deeplabv3_tiny", S2DS)
    require_fitting_teacher(student, student)
    with refused("--teacher: expected the classes Background, .*, found Background, Crack in deeplabv3_tiny"):
        require_fitting_teacher(Network(model, "deeplabv3_tiny", CRACK), student)
    other = dataclasses.replace(student, preprocessing=Preprocessing((0.5, 0.5, 0.5)))
    with refused("--teacher: expected the normalization of the network that learns, found another in deeplabv3_tiny"):
        require_fitting_teacher(other, student)
    with refused("--teacher: expected the classes"):
        prune.train(data, teacher=Network(build_model("deeplabv3_tiny", 2), "deeplabv3_tiny", CRACK), **SMALL)
    with refused("--distill_temperature: expected at least 0.01, found 0"):
        prune.train(data, distill_temperature=0)
