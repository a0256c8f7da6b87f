"""Pavement: stones in bitumen, worn paint, oil, patches with their seams, twigs, and the low-contrast cracks of roads."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from scipy.spatial import Voronoi

from prune.synthetic.cracks import LABEL_COVERAGE, Points, Stroke, branching, open_share, widths_along
from prune.synthetic.noise import Field, smooth
from prune.synthetic.wall import Wall, rgb

NETWORK_PROBABILITY = 0.2
"""How often a cracked pavement has an alligator pattern."""
SECOND_PROBABILITY = 0.3
"""How often it has another single crack."""


def asphalt(wall: Wall) -> None:
    """Cover the whole picture with pavement: stones of all tones in bitumen, worn unevenly."""
    rng, shape = wall.rng, wall.shape
    tone = rng.uniform(0.24, 0.55)
    gray = tone * (1 + 0.06 * wall.noise(1.8, shape) + 0.05 * wall.noise(1.2, shape))
    grain = _grain(wall, wall.side / 384 * rng.uniform(0.35, 1.1))
    gray += tone * rng.uniform(0.03, 0.12) * (grain + 0.7 * _grain(wall, 0.4))
    light = np.clip(grain - rng.uniform(1.6, 2.5), 0, 1)
    gray += rng.uniform(0.05, 0.3) * light
    dark = np.clip(-grain - rng.uniform(1.8, 2.8), 0, 1)
    gray *= 1 - rng.uniform(0.15, 0.6) * dark
    cast = rng.normal(0, 0.025)
    wall.albedo[...] = np.clip(gray, 0.03, 0.95)[..., None] * rgb(1 + cast, 1, 1 - cast)
    wall.albedo[...] *= 1 + 0.02 * wall.noise(0.9, shape)[..., None] * rgb(1, 0, -1)
    wall.height[...] += rng.uniform(0.05, 0.35) * grain - 0.5 * dark


def _grain(wall: Wall, size: float) -> Field:
    """Stones: noise of one grain size in px, float32 (S, S), standard deviation 1."""
    field = ndimage.gaussian_filter(wall.noise(0.4, wall.shape), size)
    return (field / (field.std() + 1e-6)).astype(np.float32)


def _band(wall: Wall, width: float) -> Field:
    """How far inside a straight band every pixel lies, float32 (S, S) in px; ``width`` in px."""
    down, right = wall.offsets((float(wall.rng.uniform(0.1, 0.9)), float(wall.rng.uniform(0.1, 0.9))))
    angle = wall.rng.uniform(0, np.pi)
    across = np.abs(down * np.cos(angle) + right * np.sin(angle)) * wall.side
    return (width / 2 - across).astype(np.float32)


def marking(wall: Wall) -> None:
    """A painted line, white or yellow, worn through where stones stand out."""
    _painted(wall, np.clip(_band(wall, wall.side * wall.rng.uniform(0.05, 0.25)), 0, 1))


def lettering(wall: Wall) -> None:
    """Numbers and letters that surveyors and road workers leave, also thin ones: no cracks."""
    rng, side = wall.rng, wall.side
    words = "".join(rng.choice(list("0123456789ABCEHKMNRSTWX+-/"), int(rng.integers(1, 6))))
    layer = Image.new("L", (side, side))
    font = ImageFont.load_default(size=max(6.0, side * float(rng.uniform(0.06, 0.35))))
    corner = float(rng.uniform(-0.05, 0.7)) * side, float(rng.uniform(-0.05, 0.8)) * side
    thin = bool(rng.random() < 0.5)  # the outline alone, as chalk and spray cans draw
    ImageDraw.Draw(layer).text(corner, words, fill=0 if thin else 255, font=font, stroke_width=1, stroke_fill=255)
    layer = layer.rotate(float(rng.uniform(0, 360)), Image.Resampling.BILINEAR)
    _painted(wall, np.asarray(layer, dtype=np.float32) / np.float32(255))


def _painted(wall: Wall, inside: Field) -> None:
    """Paint where ``inside`` float32 (S, S) is 1, worn through where stones stand out."""
    rng = wall.rng
    wear = wall.noise(0.9, wall.shape) + 0.8 * wall.noise(1.8, wall.shape)
    worn = np.clip(1.5 * (rng.uniform(-0.8, 1.5) - wear), 0, 1)
    color = rgb(0.85, 0.84, 0.8) if rng.random() < 0.75 else rgb(0.8, 0.62, 0.2)
    wall.paint(
        color * np.float32(rng.uniform(0.7, 1)), (np.float32(rng.uniform(0.5, 0.95)) * inside * worn).astype(np.float32)
    )


def oil(wall: Wall) -> None:
    """Drops of oil or chewing gum, dark or pale."""
    rng = wall.rng
    for _ in range(int(rng.integers(1, 7))):
        radius = float(rng.uniform(0.008, 0.05))
        part = wall.part((float(rng.uniform(0, 1)), float(rng.uniform(0, 1))), 2.2 * radius)
        center = tuple((np.array(part.origin) + np.array(part.shape) / 2) / wall.side)
        spot = np.clip(3 * part.blob((float(center[0]), float(center[1])), radius, 0.8), 0, 1)
        part.stain(rgb(1, 1, 1) * np.float32(rng.choice([0.35, 0.5, 0.7, 1.3])), rng.uniform(0.4, 1) * spot)


def track(wall: Wall) -> None:
    """A wide soft band, darker or paler: the wheels' path, or water that dried."""
    rng = wall.rng
    width = wall.side * rng.uniform(0.1, 0.5)
    soft = np.clip(_band(wall, width) / (0.4 * width), 0, 1)
    wall.stain(rgb(1, 1, 1) * np.float32(rng.uniform(0.7, 1.25)), soft * rng.uniform(0.4, 1))


def patch(wall: Wall) -> None:
    """One side of the picture paved later than the other; the straight seam, open or sealed with tar, is no crack."""
    rng = wall.rng
    down, right = wall.offsets((0.5, 0.5))
    angle, shift = rng.uniform(0, 2 * np.pi), rng.uniform(-0.3, 0.3)
    beside = (down * np.sin(angle) + right * np.cos(angle) + shift) * wall.side
    seam = (rng.uniform(0.6, 5) + 0.5 * wall.noise(1.2, wall.shape) - np.abs(beside)).astype(np.float32)
    wall.stain(rgb(1, 1, 1) * np.float32(rng.uniform(0.65, 1.3)), (beside > 0).astype(np.float32))
    wall.stain(rgb(0.4, 0.4, 0.42), rng.uniform(0.2, 0.9) * np.clip(seam, 0, 1))


def twigs(wall: Wall) -> None:
    """Twigs, needles and blades of grass that lie on the ground: thin, smooth, brown or pale, with a shadow."""
    rng = wall.rng
    lying = []
    for _ in range(int(rng.integers(1, 5))):
        length, count = rng.uniform(0.05, 0.3) * wall.side, 24
        start = rng.uniform(0, wall.side, 2)
        bend = rng.uniform(0, 2 * np.pi) + rng.uniform(-1, 1) * np.linspace(0, 1, count)
        course = start + np.cumsum(np.stack([np.cos(bend), np.sin(bend)], axis=1) * length / count, axis=0)
        lying.append((course, np.linspace(rng.uniform(1, 3), 0.6, count)))
    seen = open_share(lying, wall.side)
    wall.stain(rgb(0.5, 0.5, 0.52), 0.8 * ndimage.shift(seen, (1.5, 1), order=1))
    wall.paint(rgb(0.42, 0.33, 0.2) * np.float32(rng.uniform(0.5, 1.8)), 0.9 * seen)
    wall.height[...] += 1.5 * seen


def _polygons(wall: Wall, widest: float) -> list[Stroke]:
    """An alligator pattern: ragged edges of irregular plates in a part of the picture."""
    rng, side = wall.rng, wall.side
    cell = side * rng.uniform(0.08, 0.25)
    seeds = rng.uniform(-0.2 * side, 1.2 * side, (int((1.4 * side / cell) ** 2) + 4, 2))
    diagram = Voronoi(seeds)
    reach, middle = rng.uniform(0.2, 0.8) * side, rng.uniform(0, side, 2)
    edges = [diagram.vertices[ridge] for ridge in diagram.ridge_vertices if -1 not in ridge]
    near = [edge for edge in edges if np.hypot(*(edge.mean(axis=0) - middle)) < reach and rng.random() < 0.85]
    drawn = [_ragged(wall, edge) for edge in near]
    return [(course, widths_along(rng, len(course), widest * rng.uniform(0.4, 1), tapered=False)) for course in drawn]


def _ragged(wall: Wall, edge: Points) -> Points:
    """A course from one end of ``edge`` to the other that strays like a crack between stones."""
    count = max(4, int(np.hypot(*(edge[1] - edge[0])) / max(1.3, wall.side / 130)))
    along = np.linspace(0, 1, count)[:, None]
    stray = ndimage.gaussian_filter1d(wall.rng.standard_normal((count, 2)), 1.5, axis=0) * wall.side * 0.006
    return edge[0] + along * (edge[1] - edge[0]) + stray * np.sin(np.pi * along)


def _jagged(wall: Wall, seen: Field) -> Field:
    """The open share, float32 (S, S), moved to and fro by the stones that the crack runs around."""
    unit = wall.side / 384
    reach = unit * wall.rng.uniform(0.3, 2.0)
    rows, columns = np.indices(seen.shape, dtype=np.float32)
    stones = _grain(wall, 1.2 * unit), _grain(wall, 1.2 * unit)
    places = rows + np.float32(reach) * stones[0], columns + np.float32(reach) * stones[1]
    return np.clip(ndimage.map_coordinates(seen, places, order=1, mode="nearest"), 0, 1)


def pavement_crack(wall: Wall) -> None:
    """Open cracks in the pavement: ragged, bridged by stones, some filled with dust, many hardly darker than the stones.

    The widest part measures from 1 px to the larger of 3 px and an 80th of the image side.
    """
    rng, side = wall.rng, wall.side
    narrow, wide = max(1.0, side / 330), max(3.0, side / 80)
    widest = narrow + (wide - narrow) * rng.random() ** 1.7
    lines = _polygons(wall, widest) if rng.random() < NETWORK_PROBABILITY else branching(rng, side, widest)
    if rng.random() < SECOND_PROBABILITY:
        lines += branching(rng, side, narrow + 0.7 * (widest - narrow))
    seen = _jagged(wall, open_share(lines, side))
    near = smooth(seen, widest * 0.8)
    bridged = np.clip(1 + rng.uniform(0, 0.5) * _grain(wall, rng.uniform(0.5, 1.2)), 0.1, 1.4)
    soft = np.clip(np.maximum(seen, 0.5 * ndimage.gaussian_filter(seen, 0.6)) * bridged, 0, 1)
    depth = rng.uniform(0.3, 1.0)
    wall.height[...] -= depth * 0.8 * widest * near
    if rng.random() < 0.35:  # crumbled edges, darker or paler than the stones
        wall.stain(rgb(1, 0.97, 0.92) * np.float32(rng.choice([0.7, 0.85, 1.2])), np.clip(2 * near * bridged, 0, 1))
    kind = rng.random()
    if kind < 0.25:  # filled with dust
        wall.stain(rgb(0.85, 0.68, 0.5) * np.float32(rng.uniform(0.5, 1)), np.clip(1.2 * depth * soft, 0, 0.97))
    elif kind < 0.65:
        wall.stain(rgb(0.5, 0.48, 0.47) * np.float32(rng.uniform(0.4, 1.2)), soft)
    else:
        wall.paint(rgb(0.07, 0.065, 0.06) * np.float32(rng.uniform(0.5, 1.6)), np.clip(depth * soft, 0, 0.97))
    wall.mark(seen >= LABEL_COVERAGE, "Crack")
