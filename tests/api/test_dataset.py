"""``prune.dataset`` and ``prune.synthesize``: silent, and nothing written but where they are told."""

import json
from pathlib import Path

import numpy as np
import pytest

import prune
from tests.conftest import refused


def everything_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_survey_is_an_object_and_leaves_nothing_behind(
    data: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = prune.dataset(data)
    assert everything_below(here) == set() and capsys.readouterr() == ("", "")
    assert {name: len(split.images) for name, split in found.facts.items()} == {"train": 8, "val": 3, "test": 3}
    assert found.problems == [] and found.files == [] and found.to_json()["splits"]["val"]["images"] == 3
    sheet = found.contact_sheet(4)
    assert sheet.dtype == np.uint8 and sheet.ndim == 3 and sheet.shape[2] == 3
    assert "images" in str(found) and found._repr_html_().startswith("<pre>")


def test_what_is_asked_for_is_written(data: Path, here: Path) -> None:
    found = prune.dataset(str(data), output="out", classes="crack", sheet=2)
    assert found.files == [Path("out/dataset.json"), Path("out/contact.png")]
    assert everything_below(here) == {"out", "out/dataset.json", "out/contact.png"}
    stored = json.loads(Path("out/dataset.json").read_text())
    assert list(stored["splits"]["train"]["pixel_share"]) == ["Background", "Crack"]


def test_misuse_of_the_survey_is_named(data: Path) -> None:
    with pytest.raises(TypeError, match="folder: expected a path, found int"):
        prune.dataset(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"dataset\(\) has no argument 'shet', did you mean sheet"):
        prune.dataset(data, shet=3)
    with pytest.raises(prune.UserError, match="^classes: expected one of s2ds, crack, found 'moss'"):
        prune.dataset(data, classes="moss")
    with pytest.raises(prune.UserError, match="^split: expected percents"):
        prune.dataset(data, split="all")
    with pytest.raises(prune.UserError, match="^dataset: expected one of auto"):
        prune.dataset(data, dataset="imagenet")


def test_photographs_are_drawn_silently(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn = prune.synthesize("set", images=3, size=64, seed=1)
    assert drawn._repr_html_().startswith("<pre>3 images (train 1, val 1, test 1) in set")
    assert drawn.folder == Path("set") and drawn.counts == {"train": 1, "val": 1, "test": 1}
    assert drawn.pixels.sum() == 3 * 64 * 64 and capsys.readouterr() == ("", "")
    with refused("set/train already contains files: choose another folder or add --force"):
        prune.synthesize(here / "set", images=3, size=64)
    prune.synthesize(here / "set", images=3, size=64, force=True)
    with pytest.raises(TypeError, match="folder: expected a path, found list"):
        prune.synthesize(["set"])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"images: expected int, found 'x' \(str\)"):
        prune.synthesize("b", images="x")  # type: ignore[arg-type]
    with pytest.raises(prune.UserError, match="^images: expected at least 3"):
        prune.synthesize("b", images=1)
