"""Knowledge distillation: the losses by hand, and what a teacher may and may not do."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import prune
from prune.cli.train import train
from prune.data.labels import CRACK, IGNORE_INDEX, S2DS
from prune.data.preprocessing import Preprocessing
from prune.models import build_model
from prune.models.checkpoint import Network, load_checkpoint
from prune.models.torch_file import read_torch
from prune.training.distillation import (
    PARTS,
    Distillation,
    Lesson,
    SharedFeatures,
    channelwise_kl,
    pixelwise_kl,
    require_fitting_teacher,
)
from prune.training.losses import make_loss
from prune.training.settings import DISTILL_LOSSES, TrainSettings
from prune.training.step import TrainingStep, make_optimizer, train_one_epoch
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


def test_the_channel_wise_divergence_by_hand() -> None:
    student = pixels((0.0, 1.0), (0.0, -1.0), (9.0, -9.0)).requires_grad_()
    teacher = pixels(
        (2 * math.log(3), 4.0), (0.0, 2.0), (-9.0, 9.0)
    )  # at T = 2 channel 0 is 3/4 and 1/4, channel 1 equal
    label = torch.tensor([[[0, 1, IGNORE_INDEX]]])
    loss = channelwise_kl(student, teacher, label, temperature=2.0)
    assert loss.item() == pytest.approx(4 * ONCE / 2, rel=1e-5)
    loss.backward()  # T / C · (p − q) of every pixel and channel
    assert student.grad is not None
    assert student.grad[0, :, 0].flatten().tolist() == pytest.approx([-0.25, 0.25, 0, 0, 0, 0], abs=1e-6)
    both, labels = torch.cat([student, student + 1]), torch.cat([label, torch.full_like(label, IGNORE_INDEX)])
    alone = channelwise_kl(both, teacher.expand(2, -1, -1, -1), labels, 2.0)
    assert alone.item() == pytest.approx(loss.item())  # an image without labels is no image
    raised = student.detach() + torch.tensor([3.0, -2.0])[None, :, None, None]
    assert channelwise_kl(raised, teacher, label, 2.0).item() == pytest.approx(
        loss.item(), rel=1e-5
    )  # where, not how strong


def test_every_named_loss_is_a_sum_of_parts() -> None:
    assert {part for name in DISTILL_LOSSES for part in name.split("+")} == set(PARTS)
    student, teacher, label = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    found = {
        kind: Distillation(nn.Identity(), 2.0, 3.0, kind).loss(student, Lesson(teacher), label)
        for kind in DISTILL_LOSSES
    }
    assert found["cwd"].item() == pytest.approx(2 * channelwise_kl(student, teacher, label, 3.0).item())
    assert found["kl+cwd"].item() == pytest.approx((found["kl"] + found["cwd"]).item())


@pytest.mark.parametrize("loss_of", [pixelwise_kl, channelwise_kl])
def test_no_valid_pixel_gives_zero_with_a_graph(loss_of: Callable[..., torch.Tensor]) -> None:
    student = pixels((1.0, 0.0)).requires_grad_()
    loss = loss_of(student, pixels((0.0, 1.0)), torch.full((1, 1, 1), IGNORE_INDEX), 1.0)
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


def strided(width: int) -> nn.Sequential:
    """Logits of 7 classes from features of a quarter of the size."""
    return nn.Sequential(nn.Conv2d(3, width, 1, stride=4), nn.Conv2d(width, 7, 1), nn.Upsample(scale_factor=4))


def test_features_are_what_the_last_layer_reads_through_a_projection() -> None:
    torch.manual_seed(0)
    student, teacher = strided(2), strided(5)
    images, label = torch.rand(2, 3, 16, 16), torch.randint(0, 7, (2, 16, 16))
    label[0, :, ::8], label[1, 1::2] = IGNORE_INDEX, IGNORE_INDEX  # the second is ignored between the features only
    features = SharedFeatures(student, teacher, weight=3.0)
    step = TrainingStep(
        student, make_loss("ce"), torch.device("cpu"), distillation=Distillation(teacher, 0.0, 2.0, "cwd", features)
    )
    extra = step((images, label)) - make_loss("ce")(student(images), label)
    assert isinstance(features.projection, nn.Conv2d) and features.projection.weight.shape == (5, 2, 1, 1)
    projected = features.projection(student[0](images))
    wanted = 3 * channelwise_kl(projected, teacher[0](images), label[:, ::4, ::4], 2.0)
    assert extra.item() == pytest.approx(wanted.item(), rel=1e-4) and wanted.item() > 0
    assert not any(layer._forward_pre_hooks for layer in features.layers)


def test_features_are_compared_at_one_size_of_a_quarter_at_most() -> None:
    features, images = SharedFeatures(strided(2), strided(2), 1.0), torch.rand(1, 3, 18, 16)
    fine, coarse = torch.arange(72.0).reshape(1, 1, 9, 8).expand(1, 2, 9, 8), torch.rand(1, 2, 3, 2)
    student, teacher = features.aligned(fine, coarse, images)
    assert student.shape == teacher.shape == (1, 2, 5, 4)
    assert student[0, 0, :2, 0].tolist() == [(0 + 1 + 8 + 9) / 4, (16 + 17 + 24 + 25) / 4]
    assert student[0, 0, 4].tolist() == [64.5, 66.5, 68.5, 70.5]  # the last row has no other below it
    assert torch.equal(features.aligned(coarse, coarse, images)[0], coarse)


def test_equal_features_need_no_projection_and_equal_networks_have_no_loss() -> None:
    torch.manual_seed(0)
    model = strided(4)
    features = SharedFeatures(model, model, 1.0)
    assert not list(features.projection.parameters())
    distillation, images = Distillation(model, 1.0, 2.0, "kl+cwd", features), torch.rand(1, 3, 8, 8)
    heads, lesson = distillation.taught(lambda images: {"out": model(images)}, images)
    loss = distillation.loss(heads["out"], lesson, torch.zeros(1, 8, 8, dtype=torch.long))
    assert loss.item() == pytest.approx(0, abs=1e-6)


def test_the_projection_learns_with_the_student_and_starts_from_the_seed() -> None:
    student, teacher = strided(2), strided(5)
    state = torch.get_rng_state()
    features, same, other = (SharedFeatures(student, teacher, 1.0, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    weights = [one.projection.state_dict()["weight"] for one in (features, same, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    step = TrainingStep(
        student, make_loss("ce"), torch.device("cpu"), distillation=Distillation(teacher, features=features)
    )
    config = TrainSettings(optimizer="sgd", lr=0.1, momentum=0, weight_decay=0, clip=0.0)
    optimizer = make_optimizer(student, config, step.projection)
    batch = torch.rand(2, 3, 8, 8), torch.randint(0, 7, (2, 8, 8))
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    train_one_epoch(step, [batch], optimizer, scaler, config, lambda number, loss: None)
    assert not torch.equal(features.projection.state_dict()["weight"], same.projection.state_dict()["weight"])


@pytest.mark.slow
def test_a_projection_is_kept_for_resuming_and_never_in_the_checkpoint(
    data: Path, here: Path, stop_in_epoch: Callable[[int], None]
) -> None:
    teacher = Network(build_model("hrsegnet_b32", 7), "hrsegnet_b32", S2DS)
    settings = {**SMALL, "epochs": 3, "ema": 0.9, "sparsity": 1e-4, "teacher": teacher}
    settings |= {"distill_loss": "kl+cwd", "distill_features": 2.0}
    whole = prune.train(data, run="whole", **settings)
    stop_in_epoch(3)
    with pytest.raises(KeyboardInterrupt):
        prune.train(data, run="part", **settings)
    resumed = prune.train(data, run="part", teacher=teacher, resume=True)
    assert resumed.history == whole.history
    last = [read_torch(Path(name) / "last.pth") for name in ("whole", "part")]
    assert last[0]["projection"]["weight"].shape == (32, 16, 1, 1)
    assert torch.equal(last[0]["projection"]["weight"], last[1]["projection"]["weight"])
    assert all(
        torch.equal(value, last[1]["average"]["weights"][name]) for name, value in last[0]["average"]["weights"].items()
    )
    kept = load_checkpoint(Path("part/best.pth")).model
    assert kept.state_dict().keys() == build_model("deeplabv3_tiny", 7).state_dict().keys()


class Tokens(nn.Module):
    """A network whose classes come from a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 7)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images.movedim(1, 3)).movedim(3, 1)


def test_networks_without_a_last_convolution_are_refused() -> None:
    refusal = "--distill_features: expected a convolution that gives the classes of Tokens, found Linear"
    for pair in ((Tokens(), strided(2)), (strided(2), Tokens())):
        with refused(refusal):
            SharedFeatures(*pair, 1.0)
    with refused("--distill_features: cannot tell which layer of Identity gives its logits"):
        SharedFeatures(nn.Identity(), strided(2), 1.0)


@pytest.mark.slow
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


@pytest.mark.slow
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
    with refused("--distill_loss: expected one of kl, cwd, kl.cwd, found 'mse'"):
        prune.train(data, distill_loss="mse")
    with refused("--distill_features: expected at least 0, found -1"):
        prune.train(data, distill_features=-1.0)
