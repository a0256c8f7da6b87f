"""``prune.train``: objects in, objects out, and nothing written but what is named."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import prune
from prune.data.find_split import find_split
from prune.models.checkpoint import load_checkpoint
from tests.conftest import make_data, refused
from tests.training.test_loop import SMALL

ONE = {**SMALL, "epochs": 1}


class Plain(nn.Module):
    """Somebody's own network: a bare tensor of logits, and neither backbone nor classifier."""

    def __init__(self, classes: int = 7) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, classes, 1)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


def files_in(folder: Path) -> Iterator[str]:
    return (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")


def test_nothing_is_written_or_printed_unless_named(data: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = torch.get_rng_state()
    result = prune.train(data, **ONE)
    assert not list(here.iterdir()) and capsys.readouterr() == ("", "")
    assert torch.equal(random, torch.get_rng_state())
    assert (result.checkpoint, result.run, len(result.history)) == (None, None, 1)
    assert result.table["val_miou"].tolist() == [row["val_miou"] for row in result.history]
    assert str(result).startswith("best epoch 1 of 1: miou_crack ") and "<table>" in result._repr_html_()
    saved = result.model.save(here / "later.pth")
    assert load_checkpoint(saved).history()[0].startswith(f"train: on {data}, epochs 1")


@pytest.mark.slow
def test_the_named_files_are_written(data: Path, here: Path) -> None:
    result = prune.train(data, checkpoint="models/a.pth", run=Path("runs/a"), **ONE)
    names = {name.split(".out.")[0] for name in files_in(here)}
    run = {f"runs/a/{name}" for name in ("config.json", "curves.png", "events", "history.csv", "last.pth")}
    assert names == {"models/a.pth", *run}
    stored, kept = load_checkpoint(Path("models/a.pth")).model.state_dict(), result.model.module.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in stored.items())
    with refused("models/a.pth exists: .*--force"):
        prune.train(data, checkpoint="models/a.pth", **ONE)
    assert prune.train(data, checkpoint="models/a.pth", force=True, **ONE).checkpoint == Path("models/a.pth")


@pytest.mark.slow
def test_the_weights_of_the_best_epoch_are_kept_in_memory(data: Path, here: Path) -> None:
    settings = {**SMALL, "epochs": 3, "lr": 0.05, "optimizer": "sgd", "monitor": "loss", "warmup_epochs": 0.0}
    memory, file = prune.train(data, **settings), prune.train(data, checkpoint="a.pth", **settings)
    assert memory.history == file.history
    states = [one.model.module.state_dict() for one in (memory, file)]
    assert all(torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True))


@pytest.mark.parametrize("kind", ["file", "model", "network"])
def test_what_is_fine_tuned_stays_as_it_was(data: Path, here: Path, kind: str) -> None:
    first = prune.train(data, checkpoint="a.pth", **ONE)
    start = {"file": "a.pth", "model": first.model, "network": first.model.network}[kind]
    before = {name: value.clone() for name, value in first.model.module.state_dict().items()}
    tuned = prune.train(data, start=start, train_pruned_fully=False, **ONE)
    assert [stage["stage"] for stage in tuned.model.network.lineage] == ["train", "fine-tune"]
    assert tuned.model.network.lineage[-1]["settings"]["pruned_model"] == "a.pth"
    assert all(torch.equal(value, before[name]) for name, value in first.model.module.state_dict().items())
    assert len(first.model.network.lineage) == 1
    after = tuned.model.module.state_dict()
    assert not torch.equal(after["classifier.4.weight"], before["classifier.4.weight"])
    assert torch.equal(after["backbone.conv1.weight"], before["backbone.conv1.weight"])
    assert all(parameter.requires_grad for parameter in tuned.model.module.parameters())


@pytest.mark.slow
def test_opened_splits_are_taken_and_a_tenth_is_held_out(data: Path, here: Path) -> None:
    split = find_split(data / "train", None)
    result = prune.train(split, **ONE)
    assert result.model.network.lineage[-1]["settings"]["train_dir"] == str(data / "train")
    val = find_split(data / "val", None)
    assert prune.train(split, val, **ONE).history == prune.train(data, **ONE).history
    assert result.history != prune.train(data, **ONE).history


@pytest.mark.slow
def test_somebody_elses_module_is_trained(data: Path, here: Path) -> None:
    own = Plain()
    before = own.layers[0].weight.clone()
    settings = {**ONE, "model": None}
    result = prune.train(data, start=own, classes="s2ds", **settings)
    assert torch.equal(before, own.layers[0].weight)
    assert not torch.equal(before, result.model.module.layers[0].weight)
    with refused("--factory: expected what builds"):
        prune.train(data, start=own, classes="s2ds", checkpoint="a.pth", **settings)
    again = prune.train(data, start=own, classes="s2ds", checkpoint="a.pth", factory=Plain, **settings)
    assert again.history == result.history
    with refused("--keep_feature_extract: expected a network with a backbone, found none in"):
        prune.train(data, start=own, classes="s2ds", keep_feature_extract=True, **settings)


def test_misuse_is_named(data: Path, here: Path) -> None:
    with pytest.raises(TypeError, match=r"train\(\) has no argument 'ephocs', did you mean epochs"):
        prune.train(data, ephocs=3)
    with pytest.raises(TypeError, match="checkpoint: expected a path, found int"):
        prune.train(data, checkpoint=3)
    with pytest.raises(TypeError, match="start: expected a path, a Model or a torch.nn.Module, found int"):
        prune.train(data, start=3)
    with pytest.raises(TypeError, match="data: expected a path or a Split, found int"):
        prune.train(3, **ONE)
    with pytest.raises(prune.UserError, match="^teacher: expected a file, found none called nowhere.pth"):
        prune.train(data, teacher="nowhere.pth", **ONE)
    first = prune.train(data, classes="crack", **ONE)
    with refused("--classes .*: deeplabv3_tiny has the classes Background, Crack"):
        prune.train(data, start=first.model, classes="s2ds", **ONE)


@pytest.mark.slow
def test_labels_that_are_all_ignored_are_named(tmp_path: Path) -> None:
    empty = make_data(tmp_path / "empty")
    for file in empty.rglob("Labels_grayscale/*.png"):
        Image.fromarray(np.full((64, 64), 255, np.uint8)).save(file)
    with refused("train: expected labeled pixels to train on, found only ignored ones"):
        prune.train(empty, **ONE, classes="s2ds")
    dense = prune.train(make_data(tmp_path / "data"), **ONE, classes="s2ds").model
    with refused("expected labeled pixels to take gradients of, found only ignored ones"):
        prune.prune(dense, data=empty, crop_size=64, batches=1, amp="off", channels_last=False)
    scores = prune.evaluate(dense, empty / "test", workers=0)
    assert scores.summary["miou"] is None and "of 3 crack-free images" in str(scores)
