"""What a command works on when no data are named: those the network was trained on, never others in silence."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from prune.cli import defaults, export, prune, train
from prune.cli.defaults import lineage_data, open_lineage_split
from prune.data.labels import S2DS
from prune.data.settings import DataOptions
from prune.models import build_model
from prune.models.checkpoint import Network, load_checkpoint, new_stage, save_checkpoint
from prune.progress import shown_or_not
from tests.cli.test_commands import QUICK, error_of
from tests.conftest import TINY, make_data, refused

TAYLOR = ["--importance_type", "Taylor", "--batches", "1", "--recalibration_batches", "1", *QUICK]


def trained_on(*settings: dict[str, Any]) -> Network:
    """A network whose lineage has a stage for each of ``settings``, pruned where they name a ``data_dir``."""
    stages = [new_stage("prune" if "data_dir" in one else "train", one, {}) for one in settings]
    return Network(torch.nn.Identity(), "deeplabv3_tiny", S2DS, lineage=stages, file=Path("net.pth"))


def folder_of(network: Network, role: str) -> Path | None:
    found = lineage_data(network, role)
    return None if found is None else found.folder


def test_a_split_stands_for_the_data_folder_around_it(here: Path) -> None:
    make_data(Path("photos"), (2, 2, 2), 32)
    network = trained_on({"train_dir": "photos/train", "val_dir": "photos/val"})
    assert [folder_of(network, role) for role in ("train", "val", "test")] == [
        Path("photos/train"),
        Path("photos/val"),
        Path("photos"),
    ]
    whole = trained_on({"train_dir": "photos", "val_dir": None, "dataset": "s2ds", "mask_threshold": 9})
    found = lineage_data(whole, "test")
    assert found == defaults.LineageData(Path("photos"), DataOptions("s2ds", 9))
    only_train = trained_on({"train_dir": "photos/train"})
    assert folder_of(only_train, "val") == Path("photos")


def test_a_list_of_names_stands_for_the_lists_beside_it(here: Path) -> None:
    make_data(Path("set"), (4, 1, 1), 32)
    for role, stems in (("train", "000\n001\n"), ("test", "002\n")):
        Path(f"set/train/{role}.txt").write_text(stems)
    network = trained_on({"train_dir": "set/train/train.txt"})
    assert folder_of(network, "train") == Path("set/train/train.txt")
    assert folder_of(network, "test") == Path("set/train")
    split = open_lineage_split(DataOptions(), None, "test", network, "--data")
    assert [pair.stem for pair in split.pairs] == ["002"]


def test_images_without_splits_serve_every_role(here: Path) -> None:
    make_data(Path("a"), (3, 1, 1), 32)
    shutil.move("a/train", "unsplit")
    assert folder_of(trained_on({"train_dir": "unsplit"}), "test") == Path("unsplit")


def test_the_last_stage_that_names_data_counts(here: Path) -> None:
    first, second = {"train_dir": "one"}, {"train_dir": "two"}
    assert folder_of(trained_on(first, second), "train") == Path("two")
    assert folder_of(trained_on(first, {"data_dir": "three"}), "train") == Path("three")
    assert folder_of(trained_on(first, {"data_dir": None}), "train") == Path("one")
    assert folder_of(trained_on({"train_dir": None}), "train") == Path("data/demo")
    assert folder_of(trained_on({"data_dir": None}), "train") is None and folder_of(trained_on(), "train") is None


def test_data_that_are_gone_are_not_replaced(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_data(Path("data/S2DS"), (2, 1, 1), 64)
    torch.manual_seed(0)
    model = build_model("deeplabv3_tiny", len(S2DS))
    lineage = [new_stage("train", {"train_dir": "gone/train"}, {"miou": 0.5})]
    save_checkpoint(Network(model, "deeplabv3_tiny", lineage=lineage), Path("results/models/old.pth"))
    message = "results/models/old.pth was trained on gone/train, which does not exist: name a data folder"
    assert f"--data: {message}" in error_of(export.main, ["old", "--to", "pt2"], capsys)
    assert f"--data_dir: {message}" in error_of(prune.main, ["--state_dict", "old", *TAYLOR], capsys)


def test_a_split_the_lineage_s_data_lack_is_said_with_the_way_out(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_data(Path("photos"), (2, 2, 1), 64)
    shutil.rmtree("photos/test")
    network = trained_on({"train_dir": "photos/train"})
    with refused(r"expected a split test, found train, val .*use --data to name others"):
        open_lineage_split(DataOptions(), None, "test", network, "--data")


def test_a_bare_state_dict_takes_no_demo_data(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    Path("results/models").mkdir(parents=True)
    torch.save(build_model("deeplabv3_tiny", len(S2DS)).state_dict(), "results/models/bare.pth")
    network = load_checkpoint(Path("results/models/bare.pth"))
    message = r"--data: results/models/bare\.pth does not say what it was trained on: name a data folder"
    with refused(message):
        open_lineage_split(DataOptions(), None, "test", network, "--data")
    assert not Path("data").exists()
    make_data(Path("data/S2DS"), (2, 1, 1), 64)
    with shown_or_not(True):
        open_lineage_split(DataOptions(), None, "test", network, "--data")
    assert "1 images in data/S2DS/test" in capsys.readouterr().out


def test_a_fresh_network_takes_the_demo_data(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(defaults, "DEMO_IMAGES", 10)
    monkeypatch.setattr(defaults, "DEMO_SIZE", 64)
    prune.main(["--model", "deeplabv3_tiny", "--model_name", "small", *TAYLOR])
    assert "images in data/demo/train" in capsys.readouterr().out
    network = load_checkpoint(Path("results/models/small.pth"))
    shutil.rmtree("data")
    split = open_lineage_split(DataOptions(), None, "test", network, "--data")  # pruned, never trained
    assert split.folder == Path("data/demo/test")


@pytest.mark.slow
def test_pruning_and_exporting_go_on_with_what_was_trained_on(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_data(Path("data/S2DS"), (2, 1, 1), 64)
    make_data(Path("mine"), (4, 2, 2), 64)
    train.main(["mine/train", "mine/val", "dense", *TINY, "--weights", "none", "--epochs", "1"])
    assert load_checkpoint(Path("results/models/dense.pth")).lineage[0]["settings"]["train_dir"] == "mine/train"
    capsys.readouterr()
    prune.main(["--state_dict", "dense", "--model_name", "small", *TAYLOR])
    assert "4 images in mine/train" in capsys.readouterr().out
    export.main(["small", "--to", "pt2", "--max_miou_drop", "100", "--max_crack_drop", "100"])
    assert "2 images in mine/test" in capsys.readouterr().out


@pytest.mark.slow
def test_training_on_the_default_data_is_recorded(here: Path) -> None:
    make_data(Path("data/S2DS"), (4, 2, 1), 64)
    train.main([*TINY, "--weights", "none", "--epochs", "1"])
    stage = load_checkpoint(Path("results/models/dense.pth")).lineage[0]
    assert stage["settings"]["train_dir"] == "data/S2DS"
