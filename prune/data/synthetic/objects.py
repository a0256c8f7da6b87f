"""Things in front of the wall: plants, and the targets of photogrammetry."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from prune.data.synthetic.defects import Center, Mask
from prune.data.synthetic.texture import Canvas, Rng, blob, fractal, mix

OVERSAMPLING = 3


def _leaf(base: NDArray[np.float64], angle: float, length: float, breadth: float) -> NDArray[np.float64]:
    """Outline of a pointed leaf as points (N, 2)."""
    t = np.linspace(0, 1, 12)
    half = breadth * np.sin(np.pi * t**0.8) * (1 - 0.3 * t)
    upper, lower = np.stack([t * length, half], 1), np.stack([t * length, -half], 1)[::-1]
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return base + np.concatenate([upper, lower]) @ turn


def _green(rng: Rng, lightness: float) -> tuple[int, int, int]:
    hue = np.array([rng.uniform(0.28, 0.5), rng.uniform(0.5, 0.68), rng.uniform(0.12, 0.26)])
    red, green, blue = (255 * np.clip(hue * lightness, 0, 1)).astype(int)
    return int(red), int(green), int(blue)


def _plant_layers(rng: Rng, size: int, center: Center, radius: float) -> tuple[Image.Image, Image.Image]:
    """Color and coverage of a cluster of leaves, oversampled."""
    k = OVERSAMPLING
    color, cover = Image.new("RGB", (size * k, size * k)), Image.new("L", (size * k, size * k))
    paint, stencil = ImageDraw.Draw(color), ImageDraw.Draw(cover)
    middle = np.array([center[1], center[0]]) * size * k
    slender = rng.random() < 0.35
    count = int(rng.integers(45, 80))
    for number in range(count):
        angle = rng.uniform(0, 2 * np.pi)
        base = middle + rng.normal(0, 0.36 * radius * size * k, 2)
        length = radius * size * k * (rng.uniform(0.5, 1.0) if slender else rng.uniform(0.3, 0.6))
        breadth = length * (0.07 if slender else rng.uniform(0.2, 0.32))
        outline = [tuple(point) for point in _leaf(base, angle, length, breadth)]
        green = _green(rng, 0.5 + 0.65 * number / count)
        paint.polygon(outline, fill=green, outline=tuple(int(v * 0.7) for v in green))
        tip = (outline[11][0], outline[11][1])
        paint.line([tuple(base), tip], fill=tuple(min(255, int(v * 1.3)) for v in green), width=max(1, round(breadth / 6)))
        stencil.polygon(outline, fill=255)
    return color, cover


def vegetation(rng: Rng, canvas: Canvas, center: Center, radius: float) -> Mask:
    """A plant with leaves or blades, its shadow, and moss around its root."""
    size = canvas.shape[0]
    color, cover = _plant_layers(rng, size, center, radius)
    shape = (size, size)
    leaves = np.asarray(color.resize(shape, Image.Resampling.BOX), dtype=np.float32) / 255
    alpha = np.asarray(cover.resize(shape, Image.Resampling.BOX), dtype=np.float32) / 255
    offset = max(1, size // 70)
    shadow = ndimage.gaussian_filter(np.roll(alpha, (offset, offset), (0, 1)), size / 120)
    canvas *= (1 - 0.5 * shadow)[..., None]
    moss = np.clip(blob(rng, size, center, radius * 0.8, 0.5) * 2, 0, 1) * np.clip(0.8 + 0.5 * fractal(rng, size, 0.6), 0, 1)
    grain = np.clip(0.85 + 0.3 * fractal(rng, size, 0.5), 0.3, 1.6)[..., None]
    mix(canvas, np.array([0.27, 0.36, 0.12], dtype=np.float32) * grain, np.clip(moss, 0, 0.9))
    # Averaging mixed leaf color with the empty (black) background; undo that where the leaf covers a part only.
    mix(canvas, np.clip(leaves / np.maximum(alpha, 0.05)[..., None], 0, 1), alpha)
    return ndimage.binary_closing((alpha > 0.5) | (moss > 0.5), iterations=max(1, size // 200))


def _target_plate(rng: Rng, side: int) -> Image.Image:
    """A photogrammetric target: white plate, black and white quadrants in a square or circle, and a number."""
    plate = Image.new("RGBA", (side, side), (244, 244, 240, 255))
    draw = ImageDraw.Draw(plate)
    edge, middle = side * 0.12, side / 2
    box, black = [edge, edge, side - edge, side - edge], (18, 18, 20, 255)
    if rng.random() < 0.5:
        draw.pieslice(box, 0, 90, fill=black)
        draw.pieslice(box, 180, 270, fill=black)
        draw.ellipse(box, outline=black, width=max(1, side // 40))
    else:
        draw.rectangle([edge, edge, middle, middle], fill=black)
        draw.rectangle([middle, middle, side - edge, side - edge], fill=black)
        draw.rectangle(box, outline=black, width=max(1, side // 50))
    draw.rectangle([0, 0, side - 1, side - 1], outline=(120, 120, 120, 255), width=max(1, side // 40))
    draw.text((side * 0.02, 0), str(rng.integers(1, 200)), fill=black, font=ImageFont.load_default(max(8, side // 9)))
    return plate


def control_point(rng: Rng, canvas: Canvas, center: Center, radius: float) -> Mask:
    """Stick a checkerboard target on the wall, slightly turned and seen at an angle, with a thin shadow."""
    size, k = canvas.shape[0], OVERSAMPLING
    side = max(24, round(2 * radius * size * k))
    plate = _target_plate(rng, side)
    turned = plate.rotate(rng.normal(0, 9), expand=True, resample=Image.Resampling.BICUBIC)
    wide = max(8, round(turned.width * rng.uniform(0.85, 1)))
    turned = turned.resize((wide, turned.height), Image.Resampling.BICUBIC)
    layer = Image.new("RGBA", (size * k, size * k))
    layer.paste(turned, (round(center[1] * size * k - wide / 2), round(center[0] * size * k - turned.height / 2)))
    pixels = np.asarray(layer, dtype=np.float32).reshape(size, k, size, k, 4).mean(axis=(1, 3)) / 255
    alpha = pixels[..., 3]
    offset = max(1, size // 150)
    shadow = ndimage.gaussian_filter(np.roll(alpha, (offset, offset), (0, 1)), max(0.8, size / 200))
    canvas *= (1 - 0.4 * shadow)[..., None]
    mix(canvas, pixels[..., :3] / np.maximum(alpha, 0.05)[..., None], alpha)
    return alpha > 0.5
