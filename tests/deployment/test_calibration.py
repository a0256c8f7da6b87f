"""Photographs that INT8 is calibrated with: cut to the size a file takes, spread over the split."""

from pathlib import Path

import numpy as np
import pytest

from prune.data.find_split import find_split
from prune.data.labels import S2DS
from prune.data.preprocessing import Preprocessing
from prune.deployment.calibration import calibration_batches, fitted
from prune.deployment.settings import FORMATS, ExportSettings, fixed_size, runtime_of
from tests.conftest import refused


def test_the_middle_is_taken_and_what_is_missing_is_mirrored() -> None:
    image = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3)
    assert fitted(image, None) is image
    assert np.array_equal(fitted(image, (2, 4)), image[2:4])
    taller = fitted(image, (8, 2))
    assert taller.shape == (8, 2, 3) and np.array_equal(taller[:6], image[:, 1:3])
    assert np.array_equal(taller[6:], image[:-3:-1, 1:3])


def test_photographs_are_normalized_and_counted(data: Path) -> None:
    split = find_split(data, S2DS, role="train")
    batches = calibration_batches(split, Preprocessing(), (32, 48), 3)
    assert [batch.shape for batch in batches] == [(1, 3, 32, 48)] * 3 and batches[0].dtype == np.float32
    assert len(calibration_batches(split, Preprocessing(), None)) == len(split.pairs)
    with refused(f"--calibration_images: expected 50 photographs in {split.folder}, found 8"):
        calibration_batches(split, Preprocessing(), None, 50)


def test_a_runtime_is_known_by_the_ending_of_its_files() -> None:
    assert {runtime_of(f"a{suffix}") for suffix, _ in FORMATS.values()} == set(FORMATS)
    assert runtime_of("a.pth") is None and runtime_of("onnx") is None


def test_sizes_and_bounds() -> None:
    assert fixed_size("size", None) is None and fixed_size("size", 64) == (64, 64) == fixed_size("size", [64, 64])
    for wrong in ("64", (64,), (64, 64, 64), 64.0, True):
        with pytest.raises(TypeError, match="size: expected None, px of both sides, or height and width"):
            fixed_size("size", wrong)
    assert ExportSettings(precision="int8").agreement == 95 and ExportSettings(min_agreement=12.5).agreement == 12.5
    with refused("--precision: expected one of fp32, bf16, fp16, int8, found 'fp8'"):
        ExportSettings(precision="fp8")
