"""Large pictures are converted a few rows at a time, with the same pixels."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prune.data import images
from tests.conftest import ROOT


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


@pytest.mark.slow
@pytest.mark.parametrize(("side", "told"), [(14_100, "14100 14100 3"), (14_200, "202 megapixels, the limit is 200")])
def test_a_small_file_that_unpacks_to_much_is_read_in_bounded_memory_or_refused(
    side: int, told: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.png"
    Image.new("RGB", (side, side), (90, 90, 90)).save(file, compress_level=1)
    assert file.stat().st_size < 4 * 2**20
    code = (
        "import sys; from prune.data.images import read_image; from prune.benchmark.memory import peak_mib\n"
        "before = peak_mib()\n"
        "try: print(*read_image(sys.argv[1]).shape, peak_mib() - before)\n"
        "except Exception as error: print(error, peak_mib() - before)\n"
    )
    words = [sys.executable, "-c", code, str(file)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
    said, _, mib = done.stdout.strip().rpartition(" ")
    assert told in said and float(mib) < (1700 if side == 14_100 else 100)
