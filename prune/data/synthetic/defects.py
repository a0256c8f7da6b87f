"""Damage that covers areas (spalling, corrosion, efflorescence), and look-alikes that are no damage at all."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from prune.data.synthetic.texture import Canvas, Field, Rng, blob, fractal, mix

Mask = NDArray[np.bool_]
Center = tuple[float, float]


def _relief(height: Field, strength: float, angle: float) -> Field:
    """Brightness factor of a surface of this height, lit from ``angle`` (radians)."""
    down, right = np.gradient(height)
    return 1 + strength * (down * np.sin(angle) + right * np.cos(angle))


def _stones(rng: Rng, size: int) -> tuple[Field, Canvas]:
    """Exposed aggregate: rounded stones of many sizes in gray-brown; height (S, S) and color (S, S, 3)."""
    height = np.zeros((size, size), dtype=np.float32)
    color = np.full((size, size, 3), (0.42, 0.38, 0.33), dtype=np.float32)
    color *= (1 + 0.12 * fractal(rng, size, 0.7))[..., None]
    for _ in range(int(rng.integers(260, 420))):
        radius = size * rng.choice([0.006, 0.009, 0.014, 0.02]) * rng.uniform(0.8, 1.2)
        reach = int(radius + 2)
        row, column = rng.integers(0, size, 2)
        top, left, bottom, right = max(0, row - reach), max(0, column - reach), row + reach + 1, column + reach + 1
        y, x = np.mgrid[top : min(size, bottom), left : min(size, right)].astype(np.float32)
        turn, squash = rng.uniform(0, np.pi), rng.uniform(0.65, 1)
        u = (y - row) * np.cos(turn) + (x - column) * np.sin(turn)
        v = ((x - column) * np.cos(turn) - (y - row) * np.sin(turn)) / squash
        dome = np.clip(1 - (u**2 + v**2) / max(radius, 0.8) ** 2, 0, None)
        shade = rng.uniform(0.32, 0.68)
        tone = np.array([shade, shade * rng.uniform(0.9, 0.98), shade * rng.uniform(0.78, 0.95)], dtype=np.float32)
        inside = dome > 0
        patch = np.s_[top : min(size, bottom), left : min(size, right)]
        height[patch][inside] = np.sqrt(dome[inside]) * radius
        color[patch][inside] = tone
    return height, color


def spall(rng: Rng, canvas: Canvas, center: Center, radius: float) -> Mask:
    """Break a crater out of the cover: rough floor with aggregate, lit and shaded rim, sometimes a rusty bar."""
    size = canvas.shape[0]
    shape = blob(rng, size, center, radius, 0.32)
    mask = shape > 0
    depth = size * 0.03 * np.tanh(np.clip(shape, 0, None) * 6)
    stones, color = _stones(rng, size)
    floor = -depth + 0.5 * stones + size * 0.004 * fractal(rng, size, 1.3)
    angle = rng.uniform(0, 2 * np.pi)
    shading = np.clip(_relief(ndimage.gaussian_filter(floor, 0.6), 0.4, angle), 0.35, 1.6)
    surface = color * shading[..., None] * rng.uniform(0.85, 1.05)
    if rng.random() < 0.45:
        _bar(rng, surface, center, radius)
    mix(canvas, surface, ndimage.gaussian_filter(mask.astype(np.float32), 0.4))
    rim = ndimage.gaussian_filter(mask.astype(np.float32), max(0.7, size / 220))
    canvas *= np.clip(_relief(rim, -0.55 * max(1.0, size / 220), angle), 0.45, 1.5)[..., None]
    return mask


def _bar(rng: Rng, surface: Canvas, center: Center, radius: float) -> None:
    """A ribbed reinforcing bar, brown with rust, across the crater; in place."""
    size = surface.shape[0]
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float32)
    turn = rng.choice([0.0, np.pi / 2]) + rng.normal(0, 0.08)
    along = (columns - center[1] * size) * np.cos(turn) + (rows - center[0] * size) * np.sin(turn)
    across = (rows - center[0] * size) * np.cos(turn) - (columns - center[1] * size) * np.sin(turn)
    thick = max(1.5, size * radius * rng.uniform(0.1, 0.16))
    profile = np.clip(1 - ((across - rng.uniform(-0.3, 0.3) * radius * size) / thick) ** 2, 0, None)
    ribs = 1 + 0.18 * np.sign(np.sin(along / thick * 3.2 + across / thick * 0.8))
    rust = np.array([0.36, 0.19, 0.1], dtype=np.float32) * (0.45 + 0.9 * np.sqrt(profile) * ribs)[..., None]
    rust *= (1 + 0.2 * fractal(rng, size, 0.8))[..., None]
    mix(surface, rust, (profile > 0).astype(np.float32) * 0.95)


def _run_down(rng: Rng, source: Field, length: float) -> Field:
    """Let stains run down: each column carries the strongest source above it, fading over ``length`` of the side."""
    size = source.shape[0]
    fade = np.exp(-1 / (size * length * np.exp(0.7 * fractal(rng, size, 1.2)[0]))).astype(np.float32)
    carried, result = np.zeros(size, dtype=np.float32), np.empty_like(source)
    veins = np.clip(0.5 + 0.6 * ndimage.gaussian_filter1d(rng.standard_normal(size), max(0.6, size / 160)) * 2, 0, 1)
    for row in range(size):
        carried = np.maximum(carried * fade, source[row] * veins.astype(np.float32))
        result[row] = carried
    return np.maximum(source, ndimage.gaussian_filter(result, (0, max(0.5, size / 350))))


def corrosion(rng: Rng, canvas: Canvas, center: Center, radius: float) -> Mask:
    """Rust: blotchy orange-brown with dark cores, running down in streaks."""
    size = canvas.shape[0]
    source = np.clip(blob(rng, size, center, radius, 0.45) * 2.5, 0, 1)
    alpha = _run_down(rng, source, rng.uniform(0.05, 0.16)) * np.clip(0.85 + 0.22 * fractal(rng, size, 1.1), 0, 1)
    tone = np.clip(0.5 + 0.3 * fractal(rng, size, 1.2), 0, 1)[..., None]
    dark, bright = np.array([0.29, 0.13, 0.06]), np.array([0.72, 0.37, 0.13])
    color = dark * (1 - tone) + bright * tone
    color = color * (1 + 0.1 * fractal(rng, size, 0.3))[..., None]
    mix(canvas, color.astype(np.float32), np.clip(alpha * 0.92, 0, 0.92))
    return alpha > 0.33


def efflorescence(rng: Rng, canvas: Canvas, center: Center, radius: float) -> Mask:
    """Lime: a chalky white crust, bumpy, with drip runs below."""
    size = canvas.shape[0]
    source = np.clip(blob(rng, size, (center[0], center[1]), radius, 0.5) * 3, 0, 1)
    alpha = _run_down(rng, source, rng.uniform(0.06, 0.18)) * np.clip(0.86 + 0.25 * fractal(rng, size, 0.9), 0, 1)
    crust = _relief(size * 0.012 * fractal(rng, size, 1.4) * alpha, 0.5, rng.uniform(0, 2 * np.pi))
    white = np.array([0.93, 0.93, 0.9], dtype=np.float32) * np.clip(crust, 0.75, 1.1)[..., None]
    mix(canvas, white, np.clip(alpha * 0.9, 0, 0.9))
    return alpha > 0.35


def joint(rng: Rng, canvas: Canvas) -> None:
    """A construction joint: dead straight, of one width, with a bright edge. Not a crack."""
    size = canvas.shape[0]
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float32)
    turn = rng.choice([0.0, np.pi / 2]) + rng.normal(0, 0.03)
    distance = (rows - size / 2) * np.cos(turn) - (columns - size / 2) * np.sin(turn) - rng.uniform(-0.4, 0.4) * size
    half = max(0.8, size * rng.uniform(0.003, 0.007))
    groove = np.clip(half + 0.5 - np.abs(distance), 0, 1)
    edge = np.clip(1 - np.abs(distance - half - 1), 0, 1)
    canvas *= (1 - rng.uniform(0.3, 0.5) * groove + 0.12 * edge)[..., None]


def water_stain(rng: Rng, canvas: Canvas) -> None:
    """A damp patch: darker, soft, running down. Not damage."""
    size = canvas.shape[0]
    center = (rng.uniform(0, 0.5), rng.uniform(0.1, 0.9))
    source = np.clip(blob(rng, size, center, rng.uniform(0.08, 0.2), 0.4) * 1.5, 0, 1)
    damp = ndimage.gaussian_filter(_run_down(rng, source, 0.3), size / 120)
    canvas *= (1 - rng.uniform(0.15, 0.3) * damp)[..., None]


def pencil(rng: Rng, canvas: Canvas) -> None:
    """An inspector's marks: a straight thin line and a number, in graphite, blue or red. Not a crack."""
    size = canvas.shape[0]
    layer = Image.new("L", (size, size), 0)
    draw = ImageDraw.Draw(layer)
    start, angle = rng.uniform(0.15, 0.85, 2) * size, rng.uniform(0, 2 * np.pi)
    length = rng.uniform(0.15, 0.4) * size
    end = start + length * np.array([np.cos(angle), np.sin(angle)])
    draw.line([*start, *end], fill=150, width=max(1, size // 260))
    draw.text(tuple(start), str(rng.integers(1, 99)), fill=170, font=ImageFont.load_default(max(9, size // 18)))
    color = [(0.25, 0.25, 0.28), (0.15, 0.25, 0.6), (0.6, 0.15, 0.15)][int(rng.integers(3))]
    mix(canvas, color, np.asarray(layer, dtype=np.float32) / 255)
