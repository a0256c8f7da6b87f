"""The scores of a fixed checkpoint on fixed images never change: ``data/tiny.json`` was written by test.py of November 2026.

``data/tiny.pth`` is a pruned and fine-tuned deeplabv3_tiny whose classifier is scaled so that on these images no pixel is
near a tie: CPUs may differ in the last digits of its logits, not in its class maps.
"""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from prune.cli import test
from prune.inference.load import load_predictor
from tests.conftest import draw_label, write_pair

DATA = Path(__file__).parent / "data"
MARGIN = 1e-3
"""The smallest difference of the two largest logits of a pixel."""
RUNS = {"plain": [], "s2ds": ["--protocol", "s2ds", "--tolerances", "0,4", "--mm_per_pixel", "0.5"]}
ELSEWHERE = ("file", "file_mib", "latency_ms", "latency_input", "latency_device", "latency_threads", "latency_started")
"""What the summary says of a file and a machine."""


def draw_images(root: Path) -> Path:
    """The three images and labels of the stored scores, as a data folder."""
    rng = np.random.default_rng(717)
    for number in range(3):
        write_pair(root / "test", f"{number:03d}", draw_label(64, rng), rng)
    return root / "test"


def scores_of(content: dict[str, Any]) -> dict[str, Any]:
    """What must not change of an evaluation: neither dates, nor versions, nor the machine."""
    kept = {key: value for key, value in content.items() if key != "run"}
    kept["summary"] = {key: value for key, value in content["summary"].items() if key not in ELSEWHERE}
    return kept


def without_losses(content: dict[str, Any]) -> tuple[dict[str, Any], list[float]]:
    """The scores, and the losses, which are sums of logits."""
    plain = json.loads(json.dumps(content))
    losses = [plain["summary"].pop("loss"), *(row.pop("loss") for row in plain["per_image"])]
    return plain, losses


@pytest.fixture
def images(here: Path) -> Path:
    shutil.copy(DATA / "tiny.pth", here / "tiny.pth")
    return draw_images(here / "drawn")


def check(found: dict[str, Any], name: str) -> None:
    stored, losses = without_losses(json.loads((DATA / "tiny.json").read_text(encoding="utf-8"))[name])
    plain, now = without_losses(scores_of(json.loads(json.dumps(found))))
    assert plain == stored
    assert now == pytest.approx(losses, rel=1e-5) and not any(map(math.isnan, losses))


def test_no_pixel_is_near_a_tie(images: Path) -> None:
    predictor = load_predictor(Path("tiny.pth"), threads=1)
    seen = set()
    for file in sorted((images / "Images").iterdir()):
        photo = np.asarray(Image.open(file))
        logits = np.concatenate([np.asarray(window.logits) for window in predictor.windows(photo)], axis=1)
        two = np.sort(logits, axis=0)[-2:]
        assert (two[1] - two[0]).min() > MARGIN
        seen |= set(np.unique(logits.argmax(0)).tolist())
    assert len(seen) > 1 and 6 in seen


@pytest.mark.parametrize("name", RUNS)
def test_the_command_scores_the_stored_checkpoint_as_ever(images: Path, name: str) -> None:
    words = [str(images), "--weights", "tiny.pth", "--workers", "0", "--latency_repeats", "0", "--output", "a.xlsx"]
    test.main([*words, *RUNS[name]])
    check(json.loads(Path("a.json").read_text(encoding="utf-8")), name)
