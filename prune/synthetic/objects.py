"""What people put on a wall: photogrammetric targets, and joints, anchor holes and pencil marks that are no class."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from prune.synthetic.noise import Rng
from prune.synthetic.wall import Center, Wall, rgb

OVERSAMPLING = 3
WHITE, BLACK = (238, 237, 232), (20, 20, 22)


def _plate(rng: Rng, side: int) -> Image.Image:
    """A target, RGB, ``side`` px: quadrants in a square or a circle, or a dot in a coded ring; and a number."""
    plate = Image.new("RGB", (side, side), WHITE)
    draw = ImageDraw.Draw(plate)
    edge, middle = side * 0.12, side / 2
    box = [edge, edge, side - edge, side - edge]
    style = rng.choice(["square", "circle", "ring"], p=[0.45, 0.35, 0.2])
    if style == "square":
        draw.rectangle([edge, edge, middle, middle], fill=BLACK)
        draw.rectangle([middle, middle, side - edge, side - edge], fill=BLACK)
        draw.rectangle(box, outline=BLACK, width=max(1, side // 50))
    elif style == "circle":
        draw.pieslice(box, 0, 90, fill=BLACK)
        draw.pieslice(box, 180, 270, fill=BLACK)
        draw.ellipse(box, outline=BLACK, width=max(1, side // 40))
    else:
        draw.ellipse([side * 0.32, side * 0.32, side * 0.68, side * 0.68], fill=BLACK)
        draw.ellipse([side * 0.44, side * 0.44, side * 0.56, side * 0.56], fill=WHITE)
        for start in range(0, 360, 30):
            if rng.random() < 0.55:
                draw.arc(box, start, start + 30, fill=BLACK, width=max(1, side // 9))
    draw.text((side * 0.03, 0), str(rng.integers(1, 200)), fill=BLACK, font=ImageFont.load_default(max(8, side // 9)))
    return plate


def _perspective(source: NDArray[np.float64], seen: NDArray[np.float64]) -> list[float]:
    """Coefficients of Pillow's PERSPECTIVE transform that shows the corners ``source`` (4, 2) at ``seen`` (4, 2)."""
    rows = []
    for (x, y), (u, v) in zip(seen, source, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    return [float(c) for c in np.linalg.solve(np.array(rows), source.ravel())]


def control_point(wall: Wall, center: Center, radius: float) -> None:
    """Stick a target on the wall, slightly turned, seen at an angle and a little dirty."""
    rng, k = wall.rng, OVERSAMPLING
    part = wall.part(center, 1.7 * radius)
    side = max(24, round(2 * radius * wall.side * k))
    plate = _plate(rng, side)
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], dtype=np.float64)
    turn = rng.normal(0, 0.16)
    turned = (
        corners @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) * [rng.uniform(0.85, 1), 1]
    )
    turned += rng.normal(0, 0.035, (4, 2))
    middle = (np.array(center[::-1]) * wall.side - np.array(part.origin[::-1])) * k
    coefficients = _perspective((corners + 1) / 2 * side, middle + turned * side / 2)
    extent = (part.shape[1] * k, part.shape[0] * k)
    plate.putalpha(255)
    shown = plate.transform(extent, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR).convert(
        "RGBa"
    )
    pixels = np.asarray(shown.reduce(k), dtype=np.float32) / np.float32(255)
    alpha = pixels[..., 3]
    dirt = np.clip(0.95 + 0.05 * part.noise.local(1.2, part.shape), 0.6, 1)[..., None]
    part.paint(np.clip(pixels[..., :3] / np.maximum(alpha, 0.05)[..., None], 0, 1) * dirt, alpha)
    part.height[...] += alpha * (max(1.2, wall.side * 0.007) - part.height)
    part.mark(alpha > 0.5, "Control Point")


def joint(wall: Wall) -> None:
    """A straight construction joint: a groove. Not a crack, not labeled."""
    rng, size = wall.rng, wall.side
    down, right = wall.offsets((rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9)))
    turn = rng.choice([0.0, np.pi / 2]) + rng.normal(0, 0.02)
    distance = np.abs(down * np.cos(turn) - right * np.sin(turn)) * size
    half = max(0.9, size * rng.uniform(0.003, 0.008))
    groove = np.clip(half + 0.5 - distance, 0, 1).astype(np.float32)
    groove = ndimage.gaussian_filter(groove, 0.5)
    wall.height[...] -= half * groove
    wall.stain(rgb(0.6, 0.59, 0.58), groove)


def anchors(wall: Wall) -> None:
    """Anchor holes of the formwork: round, in a row, some of them filled. Not labeled."""
    rng, radius = wall.rng, wall.rng.uniform(0.012, 0.02)
    row, first, pitch = rng.uniform(0.1, 0.9), rng.uniform(0.05, 0.4), rng.uniform(0.35, 0.55)
    for column in np.arange(first, 1.0, pitch):
        part = wall.part((row, column), 1.6 * radius)
        down, right = part.offsets((row, column))
        disk = np.clip((radius - np.hypot(down, right)) * wall.side + 0.5, 0, 1).astype(np.float32)
        filled = rng.random() < 0.5
        part.height[...] -= disk * wall.side * (0.003 if filled else 0.012)
        part.stain(rgb(0.86, 0.86, 0.87) if filled else rgb(0.6, 0.58, 0.56), disk)


def pencil(wall: Wall) -> None:
    """An inspector's marks: a straight thin line and a number in graphite, blue or red. Not a crack, not labeled."""
    rng, size = wall.rng, wall.side
    layer = Image.new("L", (size * 2, size * 2), 0)
    draw = ImageDraw.Draw(layer)
    start, angle = rng.uniform(0.15, 0.85, 2) * size * 2, rng.uniform(0, 2 * np.pi)
    end = start + rng.uniform(0.3, 0.8) * size * np.array([np.cos(angle), np.sin(angle)])
    draw.line([*start, *end], fill=190, width=max(1, size // 150))
    font = ImageFont.load_default(max(16, size // 9))
    draw.text((float(start[0]), float(start[1])), f"{rng.uniform(0.1, 0.9):.1f}", fill=210, font=font)
    ink = (rgb(0.2, 0.2, 0.22), rgb(0.12, 0.2, 0.55), rgb(0.6, 0.13, 0.12))[int(rng.integers(3))]
    worn = np.clip(0.7 + 0.25 * wall.noise(0.4, wall.shape), 0, 1)
    wall.paint(ink, np.asarray(layer.reduce(2), dtype=np.float32) / np.float32(255) * worn)
