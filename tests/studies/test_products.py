"""Networks of a study under names that people can type."""

from pathlib import Path

import pytest

from prune.progress import shown_or_not
from prune.studies.products import copy_networks, products_of
from prune.studies.run import study
from tests.conftest import make_data, refused
from tests.studies.fake import PLAN, work


@pytest.fixture
def done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a study of two ratios and two seeds."""
    monkeypatch.setattr("prune.studies.run._charts", lambda cells, facts, folder: [])
    data = make_data(tmp_path / "data")
    keys = {"ratios": [50, 30], "untuned": True, "data": str(data), "smaller": ["hrsegnet_b16"]}
    study(PLAN, output=tmp_path / "s", jobs=1, work=work, **keys)
    return tmp_path / "s"


def test_the_networks_of_the_first_seed_and_level_have_names(done: Path) -> None:
    found = products_of(done)
    assert [product.suffix for product in found] == ["_dense", "_l2_finetuned", "_l2", "_random_finetuned", "_random"]
    texts = [product.file.read_text().split(" | ")[0] for product in found]
    assert [text.split()[:2] for text in texts] == [["train", "0"]] + [["finetune", "0"], ["prune", "0"]] * 2
    found[0].file.unlink()
    assert len(products_of(done)) == 4
    with refused("expected the folder of a study, found no study.json"):
        products_of(done / "trials")


def test_copies_replace_no_other_network_unless_they_are_forced_to(
    done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, models = products_of(done), tmp_path / "models"
    assert copy_networks(found, "a", models) == [models / f"a{product.suffix}.pth" for product in found]
    (models / "a_l2.pth").write_text("mine")
    with shown_or_not(True):
        assert len(copy_networks(found, "a", models)) == 4
    assert "a_l2.pth holds another network and stays: add --force to replace it" in capsys.readouterr().out
    assert (models / "a_l2.pth").read_text() == "mine"
    assert len(copy_networks(found, "a", models, force=True)) == 5
    assert (models / "a_l2.pth").read_bytes() == found[2].file.read_bytes()


def test_exported_files_have_the_macs_of_their_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prune.studies.run._charts", lambda cells, facts, folder: [])
    keys = {"data": str(make_data(tmp_path / "data")), "precisions": ["fp32", "int8"], "controls": False}
    cells = study(PLAN, output=tmp_path / "s", jobs=1, work=work, **keys).cells
    assert [(cell.precision, cell.macs) for cell in cells] == [("fp32", 2e9), ("fp32", 6e8), ("int8", 6e8)]
