"""``python -m prune models``: what the list and the summary tell, and that a mistyped name is helped along."""

import json
from pathlib import Path

import pytest

from prune.cli import models
from prune.models import ARCHITECTURES, build_model
from prune.models.cost import count
from tests.cli.test_commands import error_of
from tests.conftest import command, refused


def test_the_table_lists_every_network_with_its_size(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("segmentation_models_pytorch")
    models.main([])
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["network", "parameters", "M", "MACs", "G", "at", "px", "weights", "source"]
    rows = {line.split()[0]: line for line in lines}
    assert list(ARCHITECTURES) == [name for name in rows if name in ARCHITECTURES]
    assert rows["hrsegnet_b16"].split()[1:5] == ["0.60", "0.56", "400", "random"]
    assert "Li et al. 2023" in rows["hrsegnet_b16"]
    assert rows["deeplabv3_resnet101"].split()[1] == "58.63" and " coco/imagenet " in rows["deeplabv3_resnet101"]
    assert lines[-1].startswith("MACs of the inference network")


def test_the_list_for_programs_has_plain_values(capsys: pytest.CaptureFixture[str]) -> None:
    models.main(["hrsegnet_b48", "--json"])
    (row,) = json.loads(capsys.readouterr().out)
    assert {"name", "params", "macs", "size", "source"} <= row.keys()
    assert (row["name"], row["size"], row["auxiliary"], row["pretrained"]) == ("hrsegnet_b48", 400, True, [])
    assert (
        row["params"] == pytest.approx(5.426e6, rel=0.02)
        and row["macs"] == count(build_model("hrsegnet_b48", 2), (400, 400))[1]
    )


@pytest.mark.slow
def test_the_command_prints_nothing_but_the_list_for_programs(tmp_path: Path) -> None:
    finished = command("-m prune", "models", "unet", "--json", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert [row["name"] for row in json.loads(finished.stdout)] == ["unet"]


@pytest.mark.slow
def test_every_network_is_in_the_list_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("segmentation_models_pytorch")
    models.main(["--json"])
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(ARCHITECTURES)
    assert all(row["params"] > 0 and row["macs"] > 0 and row["source"] for row in rows)


def test_more_classes_make_more_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = []
    for classes in ("crack", "s2ds"):
        models.main(["hrsegnet_b16", "--json", "--classes", classes])
        sizes.append(json.loads(capsys.readouterr().out)[0]["params"])
    assert sizes[1] - sizes[0] == 5 * (16 + 1)  # five rows of a 1x1 convolution over 16 channels, each with its bias


def test_the_summary_lists_layers_that_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    models.main(["hrsegnet_b16", "--summary", "--size", "64"])
    head, header, *layers, total = capsys.readouterr().out.splitlines()
    assert head == "hrsegnet_b16, input 3x64x64, 2 classes, without auxiliary heads"
    assert header.split() == ["layer", "kind", "output", "parameters", "MACs", "M"]
    first = next(line for line in layers if line.startswith("backbone.stem.0.0 "))
    # 3x3 over 3 colors to 8 channels, at half the size: 32 · 32 · 216 multiplications
    assert first.split()[1:] == ["Conv2d", "8x32x32", "216", "0.2"]
    shown = [line.split() for line in layers if line.startswith(("backbone.", "classifier."))]
    assert f"{sum(int(words[-2].replace(',', '')) for words in shown):,} parameters" in total
    macs = count(build_model("hrsegnet_b16", 2), (64, 64))[1]
    assert sum(float(words[-1].replace(",", "")) for words in shown) == pytest.approx(macs / 1e6, abs=0.05 * len(shown))
    assert f"{macs / 1e9:,.2f} G MACs" in total
    assert not any("aux_classifier" in line for line in layers)


def test_an_unknown_network_suggests_the_nearest() -> None:
    for words, nearest in ((["hrsegnet_16"], "hrsegnet_b16"), (["fcn_resnet5", "--summary"], "fcn_resnet50")):
        with refused(rf"unknown network '{words[0]}', did you mean {nearest}\?"):
            models.main(words)


def test_an_unknown_network_is_an_error_on_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean hrsegnet_b16?" in error_of(models.main, ["hrsegnet_16"], capsys)


def test_a_summary_needs_the_name_of_one_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--summary: expected the name of one network" in error_of(models.main, ["--summary"], capsys)
