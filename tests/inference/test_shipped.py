"""The network that comes with the package: small, free of PyTorch, used where nothing else was made, and honest."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import prune
from prune.cli.inference import network_file
from prune.data.images import read_image, read_mask
from prune.data.labels import CRACK
from prune.files import SHIPPED, find_model, shipped_model
from prune.inference.onnx import OnnxPredictor
from prune.synthetic import synthesize
from tests.conftest import ROOT, refused

HEADINGS = {"made by", "data", "license", "intended use", "scores", "known failures"}


def test_all_of_them_take_at_most_three_megabytes() -> None:
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) <= 3e6


def test_its_name_stands_for_its_file(here: Path) -> None:
    model = prune.load("crack")
    assert isinstance(model.predictor, OnnxPredictor) and model.card.classes == CRACK
    assert shipped_model("crack") == find_model("crack") == SHIPPED / "crack.onnx"
    assert shipped_model("../weights/crack") is None and shipped_model("joint") is None
    with refused("--file: expected a file, found none called joint"):
        prune.load("joint")


def test_a_file_of_the_user_goes_before_it(here: Path) -> None:
    Path("results/models").mkdir(parents=True)
    mine = Path("results/models/crack.pth")
    mine.touch()
    assert find_model("crack") == mine == network_file(None)


def test_it_is_what_inference_takes_where_nothing_was_made(here: Path) -> None:
    assert network_file(None) == SHIPPED / "crack.onnx"


def test_its_card_says_what_one_has_to_know() -> None:
    notes = prune.load("crack").card.notes
    assert set(notes) >= HEADINGS and all(all(line.strip() for line in lines) for lines in notes.values())
    said = str(prune.inspect("crack"))
    assert all(f"\n{heading}" in said for heading in HEADINGS) and "95%" in said


@pytest.mark.parametrize(("surface", "share"), [("concrete", 0.5), ("asphalt", 0.4)])
def test_it_finds_drawn_cracks(surface: str, share: float, tmp_path: Path) -> None:
    """On photographs it never saw: much of the labeled crack is found, much of what is found is labeled."""
    synthesize(tmp_path / "drawn", images=20, size=256, seed=987, surface=surface)
    model, found, labeled, both = prune.load("crack"), 0, 0, 0
    for image in sorted((tmp_path / "drawn").glob("*/Images/*")):
        crack = read_mask(image.parent.parent / "Labels_grayscale" / f"{image.stem}.png") == 6
        mask = model.predict(read_image(image)).class_map == 1
        found, labeled, both = found + mask.sum(), labeled + crack.sum(), both + (mask & crack).sum()
    assert both / labeled > share and both / found > share


def test_pytorch_is_not_needed(tmp_path: Path) -> None:
    code = (
        "import sys, numpy, prune; p = prune.load('crack').predict(numpy.full((64, 96, 3), 150, 'uint8'));"
        "assert p.class_map.shape == (64, 96); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})


@pytest.mark.parametrize("size", [(31, 33), (1, 1), (64, 500)])
def test_it_takes_any_size(size: tuple[int, int]) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    assert prune.load("crack").predict(photo).class_map.shape == size
