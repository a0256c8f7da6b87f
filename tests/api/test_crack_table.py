"""``Prediction.cracks`` and ``Prediction.areas``: a table to look at, draw and write."""

import csv
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest

import prune
from prune.api.prediction import Prediction
from prune.data.labels import CRACK, S2DS
from prune.inspection.cracks import measure_cracks
from tests.api.test_prediction import Threshold


def photograph() -> np.ndarray:
    """A light photograph with a long dark line of 5 px, a short one, and a speck."""
    image = np.full((80, 120, 3), 220, np.uint8)
    image[20:25, 10:110] = image[40:70, 30:34] = image[60:62, 90:92] = 10
    return image


@pytest.fixture
def found() -> Prediction:
    return prune.Model(Threshold()).predict(photograph())


def test_cracks_are_listed_in_px(found: Prediction) -> None:
    table = found.cracks()
    assert [crack.number for crack in table.cracks] == [1, 2] and len(table) == 2
    assert [crack.length_px for crack in table.cracks] == pytest.approx([100, 30], abs=0.5)
    assert table.length_px == pytest.approx(130, abs=1) and table.length_mm is None
    frame = table.to_frame()
    assert list(frame.columns) == list(table.columns) and not any("mm" in name for name in frame.columns)
    first = frame.iloc[0]
    assert (first["number"], first["area_px"], first["branches"]) == (1, 500, 1)
    assert list(first[["top", "left", "height", "width"]]) == [20, 10, 5, 100]
    assert first["orientation_deg"] == pytest.approx(0) and first["width_max_row"] == 22
    assert first["probability"] == pytest.approx(1, abs=1e-3)  # of the network
    assert "mm" not in str(table) and "mm" not in table._repr_html_() and "Crack: 2 found" in str(table)
    assert "total length 130 px" in str(table) and "shorter than 10 px left out" in str(table)


def test_with_a_scale_there_are_millimeters_too(found: Prediction) -> None:
    plain, table = found.cracks().to_frame(), found.cracks(0.5)
    frame = table.to_frame()
    for name in ("length", "width_mean", "width_p95", "width_max"):
        assert list(frame[f"{name}_mm"]) == pytest.approx(list(0.5 * frame[f"{name}_px"]))
        assert list(frame[f"{name}_px"]) == list(plain[f"{name}_px"])
    assert list(frame["area_mm2"]) == pytest.approx(list(0.25 * frame["area_px"]))
    assert table.length_mm == pytest.approx(0.5 * table.length_px)
    assert "length mm" in str(table) and "length px" not in str(table) and "total length 65" in table._repr_html_()


def test_lengths_add_up_to_what_measure_gives(found: Prediction) -> None:
    table = found.cracks(min_length=0)
    assert len(table) == found.measure().components == 3
    assert table.length_px == pytest.approx(found.measure().length_px, rel=1e-9)
    assert sum(crack.area_px for crack in table.cracks) == found.measure().area_px
    assert "left out" not in str(table)


def test_widths_are_measured_as_asked(found: Prediction) -> None:
    expected = measure_cracks(found.class_map == 1, found.probability("crack"), width="profile")
    assert [c.width_mean_px for c in found.cracks(width="profile").cracks] == [c.width_mean_px for c in expected]
    by_mask = found.cracks(width="mask").cracks
    assert np.isnan([crack.probability for crack in by_mask]).all() and by_mask[0].width_mean_px == pytest.approx(5)


def test_without_a_network_the_mask_is_measured() -> None:
    class_map = (photograph()[..., 0] < 100).astype(np.uint8)
    alone = Prediction(photograph(), class_map, CRACK)
    assert alone.cracks().cracks[0].width_mean_px == pytest.approx(5) and "probability" in alone.cracks().columns
    with pytest.raises(prune.UserError, match="without its network"):
        alone.cracks(width="profile")


def test_the_file_holds_a_row_per_crack(found: Prediction, tmp_path: Path) -> None:
    table = found.cracks(0.5)
    file = table.to_csv(tmp_path / "new" / "cracks.csv")
    read, frame = pandas.read_csv(file), table.to_frame()
    assert list(read.columns) == list(frame.columns) and len(read) == 2
    assert np.allclose(read.to_numpy(float), frame.to_numpy(float), rtol=1e-5, equal_nan=True)
    by_mask = found.cracks(width="mask").to_csv(str(tmp_path / "mask.csv"))
    rows = list(csv.DictReader(by_mask.read_text().splitlines()))
    assert [row["probability"] for row in rows] == ["", ""] and float(rows[0]["length_px"]) == pytest.approx(
        100, abs=0.5
    )
    with pytest.raises(prune.UserError, match=r"^path: expected a file that ends in \.csv, found a\.txt"):
        table.to_csv("a.txt")
    with pytest.raises(TypeError, match="path: expected a path, found int"):
        table.to_csv(3)  # type: ignore[arg-type]


def test_nothing_found_is_said(tmp_path: Path) -> None:
    table = prune.Model(Threshold()).predict(np.full((30, 30), 255, np.uint8)).cracks(0.5)
    assert len(table) == 0 and table.length_px == 0 and str(table).startswith("Crack: none found")
    assert list(table.to_frame().columns) == list(table.columns) and len(table.to_frame()) == 0
    assert table.to_csv(tmp_path / "a.csv").read_text().strip() == ",".join(table.columns)
    assert table.draw().shape[2] == 3


def test_numbers_are_drawn_onto_the_photograph(found: Prediction) -> None:
    table = found.cracks()
    drawn = table.draw()
    assert drawn.shape == (4 * 80, 4 * 120, 3)  # small photographs are enlarged for the text
    before = np.repeat(np.repeat(found.overlay(), 4, axis=0), 4, axis=1)
    changed = (drawn != before).any(axis=2)
    assert 0.005 < changed.mean() < 0.2
    large = np.zeros((600, 900, 3), np.uint8)
    assert table.draw(large).shape == large.shape and (table.draw(large) == 255).any() and not large.any()
    bare = prune.api.crack_table.CrackTable(table.cracks, "Crack")
    with pytest.raises(prune.UserError, match="^image: expected pixels to draw on, found a table without a photograph"):
        bare.draw()


def test_areas_of_all_defects() -> None:
    class_map = np.zeros((50, 40), np.uint8)
    class_map[:10], class_map[20:22, :5] = 3, 6
    found = Prediction(np.zeros((50, 40, 3), np.uint8), class_map, S2DS)
    areas = found.areas(mm_per_pixel=2)
    assert list(areas) == [S2DS.classes[3], S2DS.classes[6]]
    first, second = areas.values()
    assert (first.area_px, first.share, first.area_mm2) == (400, 0.2, 1600)
    assert second.area_px == 10 and found.areas()[S2DS.classes[6]].area_mm2 is None
    with pytest.raises(prune.UserError, match="^mm_per_pixel: expected a number above 0, found 0"):
        found.areas(0)


def test_misuse_is_named(found: Prediction, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match="mm_per_pixel: expected a number, found '0.2'"):
        found.cracks("0.2")  # type: ignore[arg-type]
    with pytest.raises(prune.UserError, match="^mm_per_pixel: expected a number above 0, found -1"):
        found.cracks(-1)
    with pytest.raises(TypeError, match=r"cracks\(\) has no argument 'minlength', did you mean min_length"):
        found.cracks(minlength=3)
    with pytest.raises(prune.UserError, match="^width: expected one of auto, mask, profile, found 'x'"):
        found.cracks(width="x")
    with pytest.raises(prune.UserError, match="^class: expected one of Background, Crack, found 'rust'"):
        found.cracks(class_name="rust")
    monkeypatch.setitem(sys.modules, "prune.inspection.cracks", None)
    with pytest.raises(prune.UserError, match="cracks needs SciPy, which is not installed: pip install"):
        found.cracks()
