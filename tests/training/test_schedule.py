import csv
import random
from pathlib import Path

import pytest
import torch

from prune.cli.train import TrainOptions, train
from prune.training.history import history_row
from prune.training.schedule import Plateau, lr_factor


def some_optimizer(lr: float = 0.3) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("lr", "patience", "factor", "min_lr"), [(1e-3, 5, 0.1, 1e-8), (0.1, 0, 0.5, 1e-3)])
def test_plateau_equals_pytorch(seed: int, lr: float, patience: int, factor: float, min_lr: float) -> None:
    """A scheduler that lives for the whole run, and ours, of which only six numbers are kept from epoch to epoch."""
    optimizer, other = some_optimizer(lr), some_optimizer()
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "min", factor, patience, min_lr=min_lr)
    ours, draw = Plateau(lr, patience, factor, min_lr), random.Random(seed)
    loss, rates = 1.0, set()
    for _ in range(150):
        loss *= draw.choice([0.9, 0.99995, 1.0, 1.0, 1.02])
        theirs.step(loss)
        ours = Plateau(**vars(ours))
        ours.update(other, loss)
        assert ours.lr == optimizer.param_groups[0]["lr"]
        rates.add(ours.lr)
    assert len(rates) > 2


def test_a_loss_lower_by_less_than_the_threshold_is_none() -> None:
    plateau = Plateau(1.0, patience=0)
    plateau.update(some_optimizer(), 0.5)
    plateau.update(some_optimizer(), 0.5 - 1e-5)
    assert (plateau.lr, plateau.best) == (pytest.approx(0.1), 0.5)


def test_plateau_stops_at_the_lowest_rate_and_never_raises_it() -> None:
    plateau = Plateau(1e-5, patience=0, min_lr=1e-8)
    for _ in range(9):
        plateau.update(some_optimizer(), 1.0)
    assert plateau.lr == pytest.approx(1e-8, rel=1e-6, abs=0)
    raised = Plateau(1e-3, patience=0, min_lr=1.0)
    for _ in range(3):
        raised.update(some_optimizer(), 1.0)
    assert raised.lr == 1e-3


def test_poly_takes_its_power() -> None:
    assert lr_factor("poly", 50, 100, 0, 2.0) == 0.25 and lr_factor("poly", 50, 100, 0, 0.0) == 1
    assert lr_factor("poly", 50, 100, 0) == pytest.approx(0.5**0.9)


@pytest.mark.slow
def test_a_resumed_plateau_goes_on_where_it_was(data: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prune.training import loop as fit

    real, calls = fit.train_one_epoch, []

    def interrupted(*arguments: object) -> float:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    def run(name: str, resume: bool = False) -> list[float]:
        settings = {"model": "deeplabv3_tiny", "crop_size": 32, "batch_size": 4, "workers": 0, "weights": "none"}
        settings |= {"scheduler": "plateau", "plateau_patience": 1, "plateau_factor": 0.5, "min_lr": 0.2, "lr": 1.0}
        settings |= {"epochs": 6, "warmup_epochs": 0.0, "optimizer": "sgd", "momentum": 0.0, "augment": "none"}
        folders = {"train_dir": str(data / "train"), "val_dir": str(data / "val")}
        train(TrainOptions(name=name, resume=resume, **folders, **settings))  # type: ignore[arg-type]
        with open(f"results/runs/{name}/history.csv", encoding="utf-8") as file:
            return [float(row["lr"]) for row in csv.DictReader(file)]

    # A validation loss that never falls, so that the cuts come when they must: after epochs 3 and 5.
    monkeypatch.setattr(fit, "history_row", lambda *a: {**history_row(*a), "val_loss": 1.0})
    whole = run("whole")
    monkeypatch.setattr(fit, "train_one_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("part")
    monkeypatch.setattr(fit, "train_one_epoch", real)
    assert whole == [1.0, 1.0, 1.0, 0.5, 0.5, 0.25] and run("part", resume=True) == whole
