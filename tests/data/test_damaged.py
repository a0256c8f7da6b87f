"""Damaged and hostile files, each met by the campaign in tests/fuzz: one sentence, and no memory for what is not there."""

from pathlib import Path

import numpy as np
import pytest

from prune.data.mask_files import read_probability
from tests.conftest import refused

HEADER = b"{'descr': '<f4', 'fortran_order': False, 'shape': %s, }"


def npy(file: Path, header: bytes, content: bytes = b"") -> Path:
    """An array file with a header as it is given."""
    padded = header + b" " * (-len(header) % 16) + b"\n"
    file.write_bytes(b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + content)
    return file


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), ",
        b"{'descr': 'O', 'fortran_order': False, 'shape': (2, 3), }",
        b"{'descr': '<f4', 'fortran_order': 3, 'shape': (2, 3), }",
        b"(((((",
        HEADER % b"(1000000000, 1000000000)",
        HEADER % b"(-1, 3)",
        HEADER % b"(2, 4)",
    ],
)
def test_damaged_arrays(header: bytes, tmp_path: Path) -> None:
    with refused("a.npy: expected "):
        read_probability(npy(tmp_path / "a.npy", header, np.zeros(6, np.float32).tobytes()))


def test_arrays_that_are_no_probabilities(tmp_path: Path) -> None:
    file = npy(tmp_path / "a.npy", HEADER % b"(2, 3)", np.zeros(6, np.float32).tobytes())
    assert read_probability(file).shape == (2, 3)
    for array in (np.zeros((0, 3)), np.full((2, 3), 1.5), np.zeros((2, 3), int), np.zeros(3), np.full((1, 1), np.nan)):
        np.save(file, array)
        with refused(r"expected floats of 0 to 1 in the shape \(H, W\), found "):
            read_probability(file)
    np.savez(tmp_path / "b.npz", np.zeros((2, 2)))
    (tmp_path / "b.npz").rename(file)
    with refused("expected an array of probabilities, found an archive of several"):
        read_probability(file)
