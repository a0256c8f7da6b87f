"""Errors of measured cracks: found out on labels, stored with a network, printed in reports; photographs unlike the test."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import prune
from prune.api.crack_errors import read_errors, store_errors, stored_errors
from prune.files import shipped_model
from prune.inspection.cracks import measure_cracks
from prune.inspection.known_errors import ErrorCounts, KnownErrors
from prune.inspection.likeness import FEATURES, Likeness, features
from tests.conftest import refused
from tests.inspection.drawn import dark_model, photograph


def line(top: int, width: int, length: int = 100) -> np.ndarray:
    mask = np.zeros((200, 160), bool)
    mask[top : top + width, 20 : 20 + length] = True
    return mask


def counted() -> KnownErrors:
    """Six cracks that are 5 px wide in the labels and are found 7 px wide, the last one over half its length only; one that
    is in no label, and one that is missed."""
    counts = ErrorCounts()
    for number in range(6):
        label = line(60, 5)
        found = line(59, 7, 50 if number == 5 else 100)
        counts.add(measure_cracks(found), measure_cracks(label), label)
    counts.add(measure_cracks(line(60, 5)), (), np.zeros((200, 160), bool))
    counts.add((), measure_cracks(line(60, 5)), line(60, 5))
    return counts.result("drawn", "mask", 10.0)


def test_bias_is_that_of_the_class_that_was_measured() -> None:
    errors = counted()
    own = errors.of_width(7.0)
    assert own is not None and (own.low, own.high, own.cracks) == (6.0, 10.0, 6)
    assert own.bias_px == pytest.approx(2, abs=0.05) and own.spread_px == pytest.approx(0, abs=0.05)
    assert errors.of_width(3.0) == errors.all_widths, "too few of its own"
    assert errors.length.labeled_px == pytest.approx(700, abs=3) and errors.length.measured_px == pytest.approx(
        650, abs=3
    )
    assert errors.length.found == pytest.approx(550 / 700, abs=0.02)  # the lines end half a width early
    assert errors.length.real == pytest.approx(550 / 650, abs=0.02)


def test_too_few_cracks_have_no_error() -> None:
    counts, label = ErrorCounts(), line(60, 5)
    counts.add(measure_cracks(label), measure_cracks(label), label)
    errors = counts.result("one", "mask", 10.0)
    assert errors.of_width(5.0) is None and errors.all_widths.cracks == 1 and errors.length.bias == pytest.approx(0)
    nothing = ErrorCounts().result("none", "mask", 10.0)
    assert nothing.length.bias is None and nothing.length.found is None and nothing.likeness is None


def test_errors_survive_json_and_files(tmp_path: Path) -> None:
    errors = counted()
    assert KnownErrors.from_json(json.loads(json.dumps(errors.to_json()))) == errors
    shipped = shipped_model("crack")
    assert shipped is not None
    copy = Path(shutil.copy(shipped, tmp_path / "mine.onnx"))
    before = prune.load(copy).card
    store_errors(copy, errors)
    after = prune.load(copy).card
    assert stored_errors(after) == errors and after.classes == before.classes and after.notes == before.notes
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    same = prune.load(copy).predictor.forward(image) == prune.load(shipped).predictor.forward(image)
    assert same.all()
    with refused("expected a checkpoint .* found .*net.xml"):
        store_errors(tmp_path / "net.xml", errors)


@pytest.mark.slow
def test_a_checkpoint_keeps_its_errors_until_it_is_written_again(tmp_path: Path) -> None:
    from prune.models import build_model
    from prune.models.checkpoint import Network, load_checkpoint, save_checkpoint

    file = save_checkpoint(Network(build_model("deeplabv3_tiny", 7), "deeplabv3_tiny"), tmp_path / "net.pth")
    assert stored_errors(prune.load(file).card) is None
    errors = counted()
    store_errors(file, errors)
    assert stored_errors(prune.load(file).card) == errors
    again = save_checkpoint(load_checkpoint(file), tmp_path / "tuned.pth")
    assert stored_errors(prune.load(again).card) is None, "another network has other errors"


def test_an_evaluation_measures_and_stores_the_errors(data: Path, tmp_path: Path) -> None:
    from prune.models import build_model
    from prune.models.checkpoint import Network, save_checkpoint

    file = save_checkpoint(Network(build_model("deeplabv3_tiny", 7), "deeplabv3_tiny"), tmp_path / "net.pth")
    how = {"latency_repeats": 0, "workers": 0}
    assert "crack_errors" not in prune.evaluate(file, data / "test", **how).content
    scores = prune.evaluate(file, data / "test", crack_errors="store", workbook=tmp_path / "net.xlsx", **how)
    found = KnownErrors.from_json(scores.content["crack_errors"])
    assert (found.images, found.data) == (3, "S2DS/test") and found.length.labeled_px > 100
    assert read_errors(tmp_path / "net.json") == stored_errors(prune.load(file).card) == found
    assert "errors   mean width of" in str(scores)


def test_files_without_errors_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "net.json"
    file.write_text("{}")
    with refused("--errors: .*net.json: expected the errors of measured cracks: found none; run test.py"):
        read_errors(file)
    file.write_text(json.dumps({"crack_errors": {"format": "crack-errors", "version": 9}}))
    with refused("expected crack-errors 1, found crack-errors 9"):
        read_errors(file)
    whole = json.loads(json.dumps(counted().to_json()))
    flat = {"mean": [0.0] * 8, "covariance": [[0.0] * 8] * 8, "limit": 1.0}
    for name, value, message in (
        ("all_widths", {"low": 1.0}, "the errors: expected all_widths.high, found none"),
        ("widths", 3, "the errors: expected a list as widths, found a whole number"),
        ("likeness", flat, "expected a limit above 0 and a covariance that can be inverted"),
    ):
        file.write_text(json.dumps({"crack_errors": whole | {name: value}}))
        with refused(message):
            read_errors(file)


def test_the_report_prints_the_error_of_every_width(tmp_path: Path) -> None:
    file = tmp_path / "net.json"
    file.write_text(json.dumps({"crack_errors": counted().to_json()}))
    photo = photograph(tmp_path / "a.png", [(50, 20, 7, 100)])
    result = prune.survey(photo, dark_model(), output=tmp_path / "out", mm_per_pixel=0.5, errors=file)
    page = (tmp_path / "out/report.html").read_text()
    assert "+1.00 ± 0.00" in page and "the total length was -7.1% off" in page and "not known" not in page
    assert result.to_frame().iloc[0]["width_bias_px"] == pytest.approx(2, abs=0.05)
    plain = prune.survey(photo, dark_model(), output=tmp_path / "plain")
    assert (
        "is not known" in str(plain)
        and "Nothing is known about the error" in (tmp_path / "plain/report.html").read_text()
    )


def test_photographs_unlike_the_test_are_noticed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def row(light: int) -> np.ndarray:
        image = np.clip(rng.normal(light + rng.normal(0, 8), 12, (100, 120, 3)), 0, 255).astype(np.uint8)
        return features(image, (image[..., 0] < light - 20).astype(np.float32))

    like = Likeness.of([row(180) for _ in range(60)])
    assert like is not None and len(row(180)) == len(FEATURES)
    assert np.median([like.unlike(row(180)) for _ in range(20)]) < 1 < min(like.unlike(row(60)) for _ in range(5))
    assert Likeness.of([row(180)] * 5) is None
    with pytest.raises(ValueError, match="expected 8 statistics, found 2"):
        Likeness.from_json({"mean": [1, 2], "covariance": [[1, 0], [0, 1]], "limit": 1})
