from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prune.data.labels import CRACK
from prune.inference.predictor import Card, Predictor
from prune.web.evidence import see
from prune.web.limits import read_upload
from prune.web.scale import scale_of
from tests.conftest import refused


class Fixed(Predictor):
    card = Card("fixed", Path("fixed.onnx"), CRACK)

    def run(self, batch: np.ndarray) -> np.ndarray:
        return np.array([[[[0.0, 0.0, 0.0]], [[-1.0, 1.0, 3.0]]]], np.float32)


def test_threshold_and_switches_act_on_what_is_kept() -> None:
    found = see(Fixed(), np.zeros((1, 3, 3), np.uint8))
    assert found.odds.tolist() == [[69, 186, 243]]  # 255 / (1 + exp(-x)) of -1, 1, 3
    assert found.levels[1].tolist() == found.odds.tolist()
    assert found.class_map().tolist() == Fixed().class_map(np.zeros((1, 3, 3), np.uint8)).tolist() == [[0, 1, 1]]
    assert found.class_map(0.2).tolist() == [[1, 1, 1]] and found.class_map(0.9).tolist() == [[0, 0, 1]]
    assert not found.class_map(0.5, shown=[]).any()


def test_uploads_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no image")
    with refused("^expected a photograph .* found another file$"):
        read_upload(tmp_path / "a.jpg")
    Image.new("1", (25_000, 20_000)).save(tmp_path / "big.png")
    with refused("^expected a photograph of at most 50 MP, found 500 MP$"):
        read_upload(tmp_path / "big.png")
    Image.new("RGB", (64, 64), "red").save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:70])
    with refused("^expected a readable photograph, found: ") as caught:
        read_upload(tmp_path / "cut.png")
    assert str(tmp_path) not in caught.value.message


def test_uploads_of_unusual_kinds_are_read_with_a_note(tmp_path: Path) -> None:
    frames = [Image.new("L", (6, 4), level) for level in (0, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_upload(tmp_path / "a.gif").notes == ("only the first of 2 pictures is used",)
    Image.fromarray(np.full((4, 6), 51 * 256, np.uint16)).save(tmp_path / "a.png")
    deep = read_upload(tmp_path / "a.png")
    assert deep.notes == ("16 bits per pixel were reduced to 8",) and (deep.image == 51).all()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("CMYK", (6, 4)).save(tmp_path / "a.jpg", exif=exif)
    turned = read_upload(tmp_path / "a.jpg")
    assert turned.image.shape == (6, 4, 3) and len(turned.notes) == 2


def test_the_scale_of_two_clicks() -> None:
    assert scale_of((0, 0), (30, 40), 10) == pytest.approx(0.2)
    with refused("found two clicks on the same spot"):
        scale_of((5, 5), (5, 6), 10)
    for length in (None, 0, float("nan")):
        with refused(f"expected a length above 0 mm between the two points, found {length}"):
            scale_of((0, 0), (30, 40), length)
