"""What the processes of ``test_ranks.py`` and ``test_torchrun.py`` run: a module that imports little, because each of them imports it.

As a program it is ``train.py`` in float64, where two processes differ from one by 1e-13 and a mistake by far more.
"""

import os
import socket
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from prune.errors import UserError
from prune.options import LOSSES
from prune.training import ranks
from prune.training.averaging import AveragedWeights
from prune.training.distillation import Distillation, Lesson, SharedFeatures
from prune.training.group_lasso import GroupLasso
from prune.training.losses import make_loss
from prune.training.parallel import data_parallel
from prune.training.settings import TrainSettings
from prune.training.step import TrainingStep, make_optimizer, train_one_epoch

CPU = torch.device("cpu")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def environment(rank: int, size: int, port: int) -> dict[str, str]:
    """What torchrun sets."""
    numbers = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
    return {name: str(number) for name, number in numbers.items()} | {"MASTER_ADDR": "127.0.0.1"}


class Small(nn.Module):
    """Convolutions with batch norm, one of them without weights and used twice, and a parameter that learns nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(5, affine=False, momentum=None)
        self.again = self.norm
        self.layers = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 5, 3), self.norm)
        self.classifier = nn.Conv2d(5, 4, 1)
        self.unused = nn.Parameter(torch.zeros(2))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.again(self.layers(images)))


def one_step(rank: int, size: int) -> dict[str, torch.Tensor]:
    """Loss, gradients and statistics of every loss on the share of a batch, in float64."""
    torch.manual_seed(0)
    images, label = torch.randn(4, 3, 9, 9).double(), torch.randint(0, 3, (4, 7, 7))
    label = nn.functional.pad(label, (1, 1, 1, 1), value=255)[:, 2:-2, 2:-2]  # 5 by 5, as the logits
    label[0], label[3, 2:] = 255, 255  # the processes have different numbers of valid pixels
    part = slice(4 // size * rank, 4 // size * (rank + 1))
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0]).double()
    found: dict[str, torch.Tensor] = {}
    for name in LOSSES:
        for weighted in (None, weights):
            torch.manual_seed(1)
            model, teacher = Small().double(), nn.Conv2d(3, 4, 5).double()
            taught = Distillation(teacher, 0.7, kind="kl+cwd")
            model.train()
            with data_parallel(model, CPU, sync_batchnorm=True) as forward:
                logits = forward(images[part])
                loss = make_loss(name, weighted)(logits, label[part])
                loss = loss + taught.loss(logits, Lesson(teacher(images[part])), label[part])
                loss.backward()
            assert type(model.norm) is nn.BatchNorm2d and model.norm is model.again is model.layers[4]
            key = f"{name} {weighted is not None}"
            found[f"{key} loss"] = loss.detach()
            found |= {f"{key} {n}": p.grad for n, p in model.named_parameters() if p.grad is not None}
            found |= {f"{key} {n}": b.clone() for n, b in model.named_buffers()}
    return found


def some_updates(rank: int, size: int) -> dict[str, torch.Tensor]:
    """Weights after optimizer steps on a share of batches, with features of a wider teacher, group lasso and averaging."""
    torch.manual_seed(0)
    model, teacher = Pixels().train(), nn.Sequential(nn.Conv2d(3, 20, 3, padding=1), nn.SiLU(), nn.Conv2d(20, 7, 1))
    batches = [(torch.randn(4, 3, 8, 8), torch.randint(0, 7, (4, 8, 8))) for _ in range(3)]
    part = slice(4 // size * rank, 4 // size * (rank + 1))
    features = SharedFeatures(model, teacher, 2.0)
    step = TrainingStep(model, make_loss("ce"), CPU, distillation=Distillation(teacher, kind="cwd", features=features))
    step.sparsity, step.average = GroupLasso(model, 0.01), AveragedWeights(model, 0.9)
    config = TrainSettings(optimizer="sgd", lr=0.1, clip=0.5, accumulate=2)
    optimizer, scaler = make_optimizer(model, config, step.projection), torch.amp.GradScaler("cpu", enabled=False)
    with data_parallel(model, CPU, sync_batchnorm=True) as step.forward:
        shares = [(images[part], label[part]) for images, label in batches]
        train_one_epoch(step, shares, optimizer, scaler, config, lambda number, loss: None)
    found = {name: value.clone() for name, value in model.state_dict().items()}
    found |= {f"average {name}": value for name, value in step.average.weights.items()}
    return found | {"projection": features.projection.state_dict()["weight"]}


def work(rank: int, port: int, folder: Path) -> None:
    os.environ.update(environment(rank, 2, port))
    torch.set_num_threads(1)
    with ranks.joined(CPU):
        torch.save(one_step(rank, 2), folder / f"{rank}.pt")
        torch.save(some_updates(rank, 2), folder / f"{rank}_updates.pt")

        def fail() -> None:
            raise UserError("--lr: only the first process looks")

        try:
            ranks.agreed(fail)
        except UserError as error:
            assert error.message == "--lr: only the first process looks"
        else:
            raise AssertionError("expected the error of the first process")
        assert ranks.agreed(lambda: ranks.rank()) == 0 and ranks.gathered(ranks.rank()) == [0, 1]


class Pixels(nn.Module):
    """A shallow network that learns the colors of ``draw_label`` and enlarges rounding errors little: (N, 3, H, W) to (N, 7, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        first, second = nn.BatchNorm2d(12), nn.BatchNorm2d(12)
        self.layers = nn.Sequential(
            *(nn.Conv2d(3, 12, 3, padding=1), first, nn.SiLU(), nn.Conv2d(12, 12, 3, padding=1), second, nn.SiLU())
        )
        self.classifier = nn.Conv2d(12, 7, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.layers(images))


def train_in_float64() -> int:
    """``train.py`` with every float32 of the network, the images and the losses replaced by float64."""
    from prune.cli.start import script
    from prune.inference.torch import TorchPredictor

    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]
    step, predict = TrainingStep.__call__, TorchPredictor.run
    TrainingStep.__call__ = lambda self, batch: step(self, (batch[0].double(), batch[1]))  # type: ignore[method-assign]
    TorchPredictor.run = lambda self, batch: predict(self, batch.astype(np.float64))  # type: ignore[method-assign, arg-type]
    return script("train")


if __name__ == "__main__":
    sys.exit(train_in_float64())
