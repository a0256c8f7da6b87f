"""Whether people who see colors differently can tell apart what is drawn."""

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from prune.data.labels import CRACK, S2DS, ClassSet
from prune.report.agreement import COLORS as AGREEMENT
from prune.report.charts import COLORS as LINES
from prune.report.charts import DENSE
from tests.conftest import refused

VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
"""What becomes of linear RGB: Machado, Oliveira and Fernandes, IEEE TVCG 15 (2009), table 1, severity 1."""
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
"""Of linear sRGB, D65."""
CONCRETE = [(level, level - 4, level - 10) for level in (110, 140, 170, 200)]
"""Grays of concrete, slightly warm."""


def lab(colors: ArrayLike, vision: str) -> NDArray[np.float64]:
    """CIE L*a*b* (D65) of colors (N, 3), 0 to 255, as they are seen."""
    levels = np.asarray(colors, float) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    xyz = np.clip(linear @ VISION[vision].T, 0, 1) @ XYZ.T / np.array([0.95047, 1, 1.08883])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def nearest(colors: ArrayLike, vision: str) -> float:
    """The smallest difference (CIE 1976) between two of the colors."""
    seen = lab(colors, vision)
    return min(float(np.linalg.norm(first - second)) for first, second in combinations(seen, 2))


def rgb(text: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(text.removeprefix("#")))


def test_the_difference_is_that_of_the_formulas() -> None:
    white, black = lab([(255, 255, 255), (0, 0, 0)], "normal")
    assert np.allclose(white, (100, 0, 0), atol=0.02) and np.allclose(black, 0)
    assert np.allclose(lab([(255, 0, 0)], "normal"), (53.24, 80.09, 67.20), atol=0.02)
    gray = lab([(90, 90, 90)], "normal")
    assert all(np.allclose(lab([(90, 90, 90)], vision), gray, atol=0.1) for vision in VISION)  # grays stay gray
    assert (
        nearest([(0, 255, 0), (255, 255, 0)], "protanopia") < 10 < 60 < nearest([(0, 255, 0), (255, 255, 0)], "normal")
    )


@pytest.mark.parametrize("vision", VISION)
def test_classes_on_photographs_are_told_apart_in_the_palette_for_the_color_blind(vision: str) -> None:
    drawn = S2DS.recolored("colorblind", on_photograph=True)
    colors = dict(zip(drawn.classes[1:], drawn.colors[1:], strict=True))
    assert nearest(list(colors.values()), vision) > 15
    del colors["Control Point"]  # the only one that is no defect
    assert nearest(list(colors.values()), vision) > (15 if vision == "tritanopia" else 24)


def from_concrete(color: tuple[int, ...], vision: str) -> float:
    """The smallest difference of a color from concrete."""
    return float(np.linalg.norm(lab(CONCRETE, vision) - lab([color], vision), axis=1).min())


def test_a_crack_is_not_the_color_of_concrete() -> None:
    drawn = {p: CRACK.recolored(p, on_photograph=True).colors[1] for p in ("standard", "colorblind")}
    assert from_concrete(drawn["standard"], "normal") > 80
    assert all(from_concrete(drawn["colorblind"], v) > 50 for v in ("normal", "protanopia", "deuteranopia"))
    for vision in VISION:
        assert all(from_concrete(color, vision) > 15 for color in drawn.values())
    assert from_concrete((255, 255, 255), "normal") < 25  # the color of the data set


@pytest.mark.parametrize("vision", VISION)
def test_found_false_and_missed_are_told_apart(vision: str) -> None:
    assert nearest(AGREEMENT[1:], vision) > 30


@pytest.mark.parametrize("vision", VISION)
def test_lines_of_charts_are_told_apart(vision: str) -> None:
    assert nearest([*map(rgb, LINES), rgb(DENSE)], vision) > 15


def test_the_palettes_keep_ids_names_and_background() -> None:
    for palette in ("standard", "colorblind"):
        for on_photograph in (True, False):
            drawn = S2DS.recolored(palette, on_photograph=on_photograph)
            assert drawn.classes == S2DS.classes and drawn.colors[0] == (0, 0, 0)
            assert len(set(drawn.colors)) == len(S2DS)
    assert S2DS.recolored("standard", on_photograph=False) == S2DS
    crack = S2DS.recolored("standard", on_photograph=True).colors
    assert crack == (*S2DS.colors[:6], (255, 0, 200))


def test_own_classes_take_the_colors_that_are_left_and_keep_theirs_when_none_is() -> None:
    names = ("wall", "crack", *"abcdefgh")
    own = ClassSet("own", names, ((0, 0, 0), (255, 255, 255), *((n, n, 99) for n in range(8))))
    drawn = own.recolored("colorblind", on_photograph=True)
    assert drawn.colors[1] == (240, 228, 66) and drawn.colors[2] == (0, 114, 178)  # yellow, blue
    assert len(set(drawn.colors)) == len(names) and drawn.colors[-2:] == ((6, 6, 99), (7, 7, 99))


def test_white_becomes_the_next_vivid_color_where_magenta_is_taken() -> None:
    own = ClassSet("own", ("wall", "crack", "paint"), ((0, 0, 0), (255, 255, 255), (240, 30, 210)))
    assert own.recolored("standard", on_photograph=True).colors[1:] == ((255, 128, 0), (240, 30, 210))
    red = ClassSet("own", ("wall", "crack"), ((0, 0, 0), (200, 0, 0)))
    assert red.recolored("standard", on_photograph=True) is red


def test_an_unknown_palette_is_refused() -> None:
    with refused("--palette: expected one of standard, colorblind, found 'pink'"):
        S2DS.recolored("pink", on_photograph=True)
    with pytest.raises(TypeError, match=r"palette: expected one of standard, colorblind, found 3 \(int\)"):
        S2DS.recolored(3, on_photograph=True)  # type: ignore[arg-type]
