import csv
import math
from pathlib import Path

import pytest
import torch

from prune.cli import prune
from prune.cli.train import TrainOptions, train
from prune.data.labels import S2DS, ClassSet
from prune.errors import TrainingDiverged
from prune.models import build_model, mode, without_auxiliary
from prune.models.checkpoint import load_checkpoint
from prune.models.freezing import freeze, unfreeze
from prune.models.pretrained import initialize, load_matching
from prune.training import loop as fit
from prune.training.loop import chosen_monitor, monitored
from prune.training.schedule import Plateau, lr_factor
from prune.training.step import TrainingStep
from tests.conftest import refused

SMALL = {"model": "deeplabv3_tiny", "crop_size": 64, "batch_size": 4, "workers": 0, "weights": "none"}
SMALL |= {"amp": "off", "channels_last": True}  # auto is measured, and may differ from training to training


def run(data: Path, name: str, **changed: object) -> TrainOptions:
    return TrainOptions(
        **{"train_dir": str(data / "train"), "val_dir": str(data / "val"), "name": name, **SMALL, **changed}
    )  # type: ignore[arg-type]


def history(name: str) -> list[dict[str, str]]:
    with open(f"results/runs/{name}/history.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_training_learns_and_leaves_its_files(
    data: Path, here: Path, shown: None, capsys: pytest.CaptureFixture[str]
) -> None:
    result = train(run(data, "a", epochs=6, lr=2e-3, warmup_epochs=0))
    rows = history("a")
    assert len(rows) == 6 and float(rows[-1]["train_loss"]) < 0.9 * float(rows[0]["train_loss"])
    assert rows[0]["val_iou_Crack"] != "" and 0 <= float(rows[0]["val_crack_lt_iou_4"]) <= 1
    assert {f.name.split(".")[0] for f in result.run.iterdir()} == {"config", "history", "last", "events", "curves"}
    network = load_checkpoint(result.checkpoint)
    assert network.history()[0].startswith(f"train: on {data / 'train'}, epochs")
    assert "random weights" in capsys.readouterr().out


def test_a_loss_that_is_not_a_number_stops_and_keeps_the_last_good_checkpoint(
    data: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = TrainingStep.__call__, []

    def poisoned(self: TrainingStep, batch: object) -> torch.Tensor:
        calls.append(1)
        loss = real(self, batch)  # type: ignore[arg-type]
        return loss * float("nan") if len(calls) == 4 else loss

    monkeypatch.setattr(TrainingStep, "__call__", poisoned)
    with pytest.raises(
        TrainingDiverged, match="epoch 2: the loss became nan in batch 2.*after 1 complete epochs, whose best is kept"
    ):
        train(run(data, "a", epochs=3))
    weights = load_checkpoint(Path("results/models/a.pth")).model.state_dict()
    assert all(torch.isfinite(w).all() for w in weights.values())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.inf, "epoch 1: backbone.conv1.weight holds NaN or infinity: try a smaller --lr or --amp off; stopped"),
        (
            1e30,
            "epoch 1: the validation loss became (nan|inf): try a smaller --lr or --amp off; stopped, nothing saved",
        ),
    ],
)
def test_a_diverging_run_leaves_the_earlier_model_as_it_was(
    data: Path, here: Path, monkeypatch: pytest.MonkeyPatch, value: float, message: str
) -> None:
    model = train(run(data, "a", epochs=1)).checkpoint
    before = model.read_bytes()

    def diverging(step: TrainingStep, *arguments: object) -> float:
        torch.nn.init.constant_(step.model.get_submodule("backbone.conv1").weight, value)
        for norm in (m for m in step.model.modules() if isinstance(m, torch.nn.BatchNorm2d)):
            norm.weight.data.fill_(1e30)
        return 0.5

    monkeypatch.setattr(fit, "train_one_epoch", diverging)
    with refused(message):
        train(run(data, "a", epochs=2, force=True))
    assert model.read_bytes() == before and not Path("results/runs/a/last.pth").exists()


def test_a_far_too_large_learning_rate_never_reaches_the_model_file(data: Path, here: Path) -> None:
    settings = {"epochs": 3, "lr": 1e30, "optimizer": "sgd", "warmup_epochs": 0, "clip": 0.0}
    with refused("try a smaller --lr"):
        train(run(data, "a", **settings))
    assert not Path("results/models/a.pth").exists()


def test_the_best_epoch_is_chosen_by_all_classes_and_the_crack() -> None:
    row: fit.Row = {"val_miou": 0.5, "val_crack_lt_iou_4": 0.1, "val_loss": 0.25, "val_iou_Crack": 0.0}
    scores = {name: monitored(row, name) for name in ("miou_crack", "miou", "crack_iou", "crack_lt_iou_4", "loss")}
    assert scores == {"miou_crack": 0.3, "miou": 0.5, "crack_iou": 0.0, "crack_lt_iou_4": 0.1, "loss": -0.25}
    assert monitored({**row, "val_crack_lt_iou_4": None}, "miou_crack") == 0.5
    assert monitored({**row, "val_miou": None}, "miou_crack") == -math.inf


def test_the_default_score_follows_from_the_classes() -> None:
    spalls = ClassSet("spalls", ("Background", "Spalling"), ((0, 0, 0), (255, 0, 0)))
    assert (chosen_monitor("auto", S2DS), chosen_monitor("auto", spalls)) == ("miou_crack", "miou")
    assert (chosen_monitor("loss", S2DS), chosen_monitor("miou", spalls)) == ("loss", "miou")
    with refused("--monitor crack_iou: expected a class crack, found Background, Spalling"):
        chosen_monitor("crack_iou", spalls)


@pytest.mark.slow
def test_the_first_epoch_that_sees_the_crack_beats_a_better_miou(
    data: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = iter([(0.40, 0.3, 0.2), (0.49, 0.0, 0.0), (0.48, 0.0, 0.0)])

    def row(*arguments: object) -> fit.Row:
        miou, crack, line = next(told)
        scores = {"val_miou": miou, "val_iou_Crack": crack, "val_crack_lt_iou_4": line}
        return {**real(*arguments), **scores}  # type: ignore[arg-type]

    real = fit.history_row
    monkeypatch.setattr(fit, "history_row", row)
    result = train(run(data, "a", epochs=3))
    assert result.progress.best_epoch == 1 and "miou_crack 0.3000" in str(result) and not result.warning
    assert "warning" not in load_checkpoint(result.checkpoint).lineage[-1]["scores"]


@pytest.mark.slow
def test_a_best_epoch_without_cracks_is_said_loudly(data: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = fit.history_row
    blind = {"val_iou_Crack": 0.0, "val_crack_lt_iou_4": 0.0}
    monkeypatch.setattr(fit, "history_row", lambda *a: {**real(*a), **blind})
    result = train(run(data, "a", epochs=1))
    assert str(result).splitlines()[-1] == (
        "WARNING  the best epoch finds no crack, none of 384 labeled pixels: train longer, or give the class more weight, "
        "--class_weights crack=10"
    )
    network = load_checkpoint(result.checkpoint)
    assert network.lineage[-1]["scores"]["warning"] == "finds no crack"
    assert network.history()[0].endswith("seed 0, finds no crack")


def test_a_warm_up_shorter_than_the_training_is_chosen_and_a_longer_one_refused(data: Path, here: Path) -> None:
    assert [TrainOptions(epochs=epochs).warmup for epochs in (1, 5, 10, 100)] == [0.1, 0.5, 1.0, 1.0]
    assert TrainOptions(epochs=5, warmup_epochs=2).warmup == 2 and TrainOptions(epochs=1, warmup_epochs=0).warmup == 0
    with refused("--warmup_epochs: expected less than --epochs 7, found 7"):
        TrainOptions(epochs=7, warmup_epochs=7)


@pytest.mark.slow
def test_early_stopping_ends_after_patience(data: Path, here: Path) -> None:
    result = train(run(data, "a", epochs=9, lr=0.0, patience=2, optimizer="sgd", weight_decay=0.0, monitor="crack_iou"))
    assert result.progress.epoch <= result.progress.best_epoch + 2 < 9


@pytest.mark.parametrize(
    "flags",
    [
        {"optimizer": "sgd", "scheduler": "cosine", "loss": "ce", "class_weights": "inverse"},
        {"optimizer": "adam", "scheduler": "plateau", "loss": "dice", "accumulate": 2},
        {"scheduler": "constant", "amp": "bf16", "channels_last": False, "cache": True, "keep_feature_extract": True},
    ],
)
def test_every_setting_runs(data: Path, here: Path, flags: dict[str, object]) -> None:
    if flags.get("amp") == "bf16":
        flags = {**flags, "crop_size": 32, "batch_size": 2}
    assert train(run(data, "a", epochs=1, **flags)).checkpoint.exists()


@pytest.mark.slow
def test_finetuning_keeps_the_pruned_structure_and_can_train_the_heads_only(data: Path, here: Path) -> None:
    train(run(data, "dense", epochs=1))
    for word in ("Magnitude", "Taylor"):
        flags = ["--importance_type", word, "--model_name", word, "--latency_repeats", "0", "--batches", "2"]
        prune.main([*flags, "--data_dir", str(data)])
    pruned = load_checkpoint(Path("results/models/Taylor.pth")).model.state_dict()
    train(run(data, "heads", epochs=1, pruned_model="Taylor", train_pruned_fully=False))
    tuned = load_checkpoint(Path("results/models/heads.pth"))
    state = tuned.model.state_dict()
    assert {k: v.shape for k, v in pruned.items()} == {k: v.shape for k, v in state.items()}
    assert all(torch.equal(pruned[k], v) for k, v in state.items() if k.startswith("backbone"))
    assert not torch.equal(pruned["classifier.4.weight"], state["classifier.4.weight"])
    assert [line.split(":")[0] for line in tuned.history()] == ["train", "prune", "fine-tune"]


def test_pretrained_weights_of_a_file_fill_what_fits(here: Path) -> None:
    source, target = build_model("deeplabv3_tiny", 3), build_model("deeplabv3_tiny", 7)
    fitted, total = load_matching(target, source.state_dict())
    assert fitted == total - 4
    assert torch.equal(source.backbone.conv1.weight, target.backbone.conv1.weight)


def test_without_a_network_the_weights_fall_back_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from prune.models import pretrained

    def offline() -> dict[str, torch.Tensor]:
        raise OSError("no route to host")

    offered = {"coco": ("COCO", offline), "imagenet": ("ImageNet", offline)}
    monkeypatch.setattr(pretrained, "sources", lambda architecture: offered)
    model = build_model("deeplabv3_tiny", 7)
    said = initialize(model, "deeplabv3_resnet101", "auto")
    assert said.startswith("random weights: neither COCO nor ImageNet weights can be downloaded (no route to host)")
    with refused("--weights coco: cannot be downloaded"):
        initialize(model, "deeplabv3_resnet101", "coco")
    state = {**build_model("deeplabv3_tiny", 21).state_dict()}
    monkeypatch.setattr(pretrained, "sources", lambda architecture: {"coco": ("COCO", lambda: state)})
    assert "COCO: " in initialize(model, "deeplabv3_resnet101", "auto")
    assert torch.equal(model.backbone.conv1.weight, state["backbone.conv1.weight"])


def test_random_blocks_start_as_the_identity() -> None:
    model = build_model("deeplabv3_tiny", 7)
    initialize(model, "deeplabv3_tiny", "none")
    block = model.backbone.layer1[0]
    assert not block.bn3.weight.any() and block.bn2.weight.all() and block.downsample[1].weight.all()


def test_freezing_covers_batch_norm_and_survives_train() -> None:
    model = build_model("deeplabv3_tiny", 7)
    freeze(model.backbone)
    model.train()
    assert not model.backbone.training and not model.backbone.bn1.training and model.classifier.training
    assert not any(p.requires_grad for p in model.backbone.parameters())
    unfreeze(model.backbone)
    model.train()
    assert model.backbone.bn1.training and all(p.requires_grad for p in model.parameters())


def test_modes_and_the_auxiliary_head_come_back() -> None:
    model = build_model("deeplabv3_tiny", 7).train()
    model.backbone.bn1.eval()
    with pytest.raises(RuntimeError), mode(model, training=False), without_auxiliary(model):
        assert model.aux_classifier is None and not model.training
        raise RuntimeError
    assert model.aux_classifier is not None and model.training and not model.backbone.bn1.training


def test_schedules_are_functions_of_the_step() -> None:
    assert lr_factor("poly", 0, 100, 4) == pytest.approx(0.2) and lr_factor("poly", 4, 100, 4) == 1
    assert lr_factor("poly", 52, 100, 4) == pytest.approx(0.5**0.9) and lr_factor(
        "cosine", 52, 100, 4
    ) == pytest.approx(0.5)
    assert lr_factor("poly", 100, 100, 4) == 0 and lr_factor("constant", 99, 100, 0) == 1
    plateau, optimizer = Plateau(lr=1.0, patience=1), torch.optim.SGD([torch.zeros(1)], 0.7)
    for loss in (1.0, 0.5, 0.6, 0.6, 0.4):
        plateau.update(optimizer, loss)
    assert plateau.lr == pytest.approx(0.1) and plateau.best == 0.4


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"batch_size": 1}, "--batch_size: expected at least 2"),
        ({"loss": "hinge"}, "--loss: expected one of ce, bce, focal, dice, ce_dice"),
        ({"plateau_factor": 1.0}, "--plateau_factor: expected less than 1, found 1"),
        ({"augment": "some"}, "--augment: expected one of full, flips, none, found 'some'"),
        ({"name": "a/b"}, "expected a plain file name"),
        ({"scale_max": 0.1}, "--scale_max"),
        ({"epochs": 0}, "--epochs: expected at least 1"),
        ({"lr": math.nan}, "--lr: expected at least 0, found nan"),
    ],
)
def test_settings_are_checked(flags: dict[str, object], message: str) -> None:
    with refused(message):
        TrainOptions(**flags)  # type: ignore[arg-type]


def test_a_set_of_one_image_is_refused(data: Path, here: Path) -> None:
    from tests.conftest import make_data

    make_data(here / "one", (1, 1, 1))
    with refused("expected at least 2 images to train on, found 1"):
        train(run(here / "one", "a"))
