"""How exactly cracks are measured: lengths and widths of drawn cracks against their true ones."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from prune.benchmark.figures import Figure
from prune.inspection.cracks import measure_cracks
from prune.tables import markdown_table

Floats = NDArray[np.float64]
WIDTHS = (1, 1.5, 2, 3, 4, 6, 8, 12)
"""Largest widths of the drawn cracks in px."""
SIZE, LENGTH = 220, 150
"""Side of the drawings and length of a straight crack in px."""
PLACES = 5
"""Drawings of each kind, turned and shifted at random."""
VERTEX = 0.1
"""Distance in px of the points a drawn line consists of."""
FOUND = 0.9
"""Share of the length that must be found, else a drawing counts as lost."""


@dataclass(frozen=True)
class Condition:
    """What happens to the probability of a drawn crack before it is measured.

    Args:
        blur: Standard deviation in px of the Gaussian that softens its edges.
        noise: Standard deviation of what is added to every pixel.
    """

    blur: float
    noise: float

    def __str__(self) -> str:
        blur = f"blur {self.blur:g}" if self.blur else "sharp"
        return f"{blur}, noise {self.noise:g}" if self.noise else blur


CONDITIONS = (Condition(0, 0), Condition(0.7, 0), Condition(1.5, 0), Condition(0.7, 0.05))


@dataclass(frozen=True)
class Stroke:
    """A line with a width.

    Args:
        path: float64 (N, 2), rows and columns of points ``VERTEX`` px apart.
        widths: float64 (N,), width at each point in px.
    """

    path: Floats
    widths: Floats


@dataclass(frozen=True)
class Measured:
    """One drawing and what was measured on it, in px; ``width`` is its true mean, ``widest`` its true maximum."""

    shape: str
    condition: Condition
    widest: float
    width: float
    length: float
    found_length: float
    mask_width: float
    profile_width: float


def _straight(width: float) -> list[Stroke]:
    along = np.arange(-LENGTH / 2, LENGTH / 2 + VERTEX / 2, VERTEX)
    return [Stroke(np.stack([np.zeros_like(along), along], axis=1), np.full(len(along), width))]


def _curved(width: float, radius: float = 65.0) -> list[Stroke]:
    angle = np.arange(-LENGTH / 2, LENGTH / 2, VERTEX) / radius
    path = radius * np.stack([np.cos(angle) - 0.7, np.sin(angle)], axis=1)
    return [Stroke(path, np.full(len(path), width))]


def _branched(width: float) -> list[Stroke]:
    along = np.arange(0, LENGTH / 2, VERTEX)
    side = np.stack([along * np.sin(np.radians(60)), along * np.cos(np.radians(60))], axis=1)
    return [*_straight(width), Stroke(side, np.full(len(along), width))]


def _tapered(width: float) -> list[Stroke]:
    (stroke,) = _straight(width)
    return [Stroke(stroke.path, np.linspace(max(1.0, width / 2), width, len(stroke.path)))]


SHAPES: dict[str, Callable[[float], list[Stroke]]] = {
    "straight": _straight,
    "curved": _curved,
    "branched": _branched,
    "tapered": _tapered,
}


def draw(strokes: list[Stroke], angle: float, middle: Floats) -> Floats:
    """The share of every pixel that strokes with butt ends cover, float64 (SIZE, SIZE), 0…1.

    A pixel counts as a square turned along the stroke: the share is the overlap of 1 px across the line with the width.
    """
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    pixels = np.indices((SIZE, SIZE)).reshape(2, -1).T.astype(float)
    covered = np.zeros(len(pixels))
    for stroke in strokes:
        path = stroke.path @ turn.T + middle
        apart, nearest = cKDTree(path).query(pixels)
        half = stroke.widths[nearest] / 2
        share = np.clip(np.minimum(apart + 0.5, half) - np.maximum(apart - 0.5, -half), 0, 1)
        for end, inner in ((0, 1), (len(path) - 1, len(path) - 2)):
            inward = (path[inner] - path[end]) / np.hypot(*(path[inner] - path[end]))
            at_end = nearest == end
            share[at_end] *= np.clip((pixels[at_end] - path[end]) @ inward + 0.5, 0, 1)
        covered = np.maximum(covered, share)
    return covered.reshape(SIZE, SIZE)


def measurements(conditions: Sequence[Condition] = CONDITIONS, seed: int = 0) -> Iterator[Measured]:
    """Draw every shape with every width under every condition and measure it at the threshold 0.5."""
    rng = np.random.default_rng(seed)
    for shape, strokes_of in SHAPES.items():
        for width in WIDTHS:
            strokes = strokes_of(width)
            for _ in range(PLACES):
                drawn = draw(strokes, rng.uniform(0, 2 * np.pi), SIZE / 2 + rng.uniform(-1, 1, 2))
                for condition in conditions:
                    soft = gaussian_filter(drawn, condition.blur) if condition.blur else drawn
                    soft = np.clip(soft + condition.noise * rng.standard_normal(soft.shape), 0, 1)
                    yield _measured(shape, condition, strokes, soft)


def _measured(shape: str, condition: Condition, strokes: list[Stroke], probability: Floats) -> Measured:
    mask, found = probability > 0.5, {}
    for method in ("mask", "profile"):
        cracks = measure_cracks(mask, probability, width=method, min_length=5)
        pixels = [len(crack.line) for crack in cracks]
        found[method] = np.average([c.width_mean_px for c in cracks], weights=pixels) if cracks else np.nan
    widths = np.concatenate([stroke.widths for stroke in strokes])
    return Measured(
        shape=shape,
        condition=condition,
        widest=float(widths.max()),
        width=float(widths.mean()),
        length=float(sum(np.hypot(*np.diff(stroke.path, axis=0).T).sum() for stroke in strokes)),
        found_length=sum(crack.length_px for crack in cracks),
        mask_width=float(found["mask"]),
        profile_width=float(found["profile"]),
    )


def _error(rows: list[Measured], value: Callable[[Measured], float], digits: int) -> str | None:
    """Mean error with sign, then the largest without; None when at least half of the drawings were lost."""
    errors = np.array([value(row) for row in rows if row.found_length > FOUND * row.length])
    if len(errors) <= len(rows) / 2:
        return None
    return f"{errors.mean():+.{digits}f} ({np.abs(errors).max():.{digits}f})"


def _mask_error(row: Measured) -> float:
    return row.mask_width - row.width


def _profile_error(row: Measured) -> float:
    return row.profile_width - row.width


def _length_error(row: Measured) -> float:
    return 100 * (row.found_length / row.length - 1)


def error_tables(rows: list[Measured]) -> str:
    """Markdown: errors of mean widths by width and condition, from the mask and from the profile, and of lengths by shape."""
    conditions, tables = list(map(str, CONDITIONS)), []
    for title, error in (("mask", _mask_error), ("profile", _profile_error)):
        lines = [
            [f"{width:g}", *(_error(_those(rows, condition, widest=width), error, 2) for condition in CONDITIONS)]
            for width in WIDTHS
        ]
        tables.append(markdown_table([f"{title}: width px", *conditions], lines))
    lines = [
        [shape, *(_error(_those(rows, condition, shape=shape), _length_error, 1) for condition in CONDITIONS)]
        for shape in SHAPES
    ]
    return "\n\n".join([*tables, markdown_table(["length, error in %", *conditions], lines)])


def _those(rows: list[Measured], condition: Condition, **kind: Any) -> list[Measured]:
    """The drawings under a condition whose fields have the given values."""
    return [r for r in rows if r.condition == condition and all(getattr(r, name) == kind[name] for name in kind)]


def measuring() -> list[Figure]:
    """The largest errors on sharp drawings, means over each shape and width, and the time that a photograph takes."""
    rows = list(measurements(CONDITIONS[:1]))
    groups = [
        [r for r in rows if (r.shape, r.widest) == kind] for kind in dict.fromkeys((r.shape, r.widest) for r in rows)
    ]

    def largest(error: Callable[[Measured], float]) -> float:
        return max(abs(float(np.mean([error(row) for row in group]))) for group in groups)

    detail = f"{', '.join(SHAPES)}, each {WIDTHS[0]} to {WIDTHS[-1]} px wide, sharp edges: means of {PLACES} drawings"
    return [
        Figure("crack length, largest mean error", largest(_length_error), "%", "<=", 2.0, detail),
        Figure("crack width, largest mean error", largest(_mask_error), "px", "<=", 0.35, detail),
        Figure("cracks of a 1-MP photograph", 1000 * _seconds(), "ms", "<=", 150.0, "16 cracks, with probability"),
    ]


def _seconds(repeats: int = 7) -> float:
    """The median time that measuring the cracks of a megapixel takes, in s."""
    rng, tiles = np.random.default_rng(0), []
    for number in range(16):
        width = WIDTHS[number % len(WIDTHS)]
        strokes = list(SHAPES.values())[number % len(SHAPES)](max(2, width))
        tiles.append(np.pad(draw(strokes, rng.uniform(0, 2 * np.pi), np.full(2, SIZE / 2)), 15))
    whole = np.block([tiles[start : start + 4] for start in range(0, 16, 4)]).astype(np.float32)
    times = []
    for _ in range(repeats):
        start = perf_counter()
        measure_cracks(whole > 0.5, whole)
        times.append(perf_counter() - start)
    return float(np.median(times))
