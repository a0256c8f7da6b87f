"""Large pictures are converted a few rows at a time, with the same pixels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prune.data import images


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "transparent", "L", "LA", "CMYK", "1", "gray RGB", "I;16"])
def test_strips_do_not_change_pixels(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (23, 17, 3)).astype(np.uint8)
    picture = Image.fromarray(np.repeat(pixels[..., :1], 3, axis=2) if mode == "gray RGB" else pixels)
    if mode == "I;16":
        picture = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    elif mode != "gray RGB":
        picture = picture.convert("P" if mode == "transparent" else mode)
    file = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    picture.save(file, **({"transparency": 3} if mode == "transparent" else {}))
    whole = images.read_image(file), images.read_mask(file)
    monkeypatch.setattr(images, "STRIP", 40)  # two rows
    assert np.array_equal(images.read_image(file), whole[0]) and np.array_equal(images.read_mask(file), whole[1])
    if mode in ("RGB", "gray RGB"):
        assert np.array_equal(whole[0], np.asarray(picture))
        assert np.array_equal(whole[1], np.asarray(picture.convert("L")) if mode == "gray RGB" else pixels)
    if mode == "I;16":
        assert np.array_equal(whole[1], pixels[..., 0])
