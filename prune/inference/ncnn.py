"""ncnn."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prune.data.labels import ClassSet
from prune.errors import UserError, first_line
from prune.inference.metadata import METADATA, card_of, thread_count, weights_beside
from prune.inference.predictor import Card, Predictor
from prune.inference.seal import verify

NCNN_MAGIC = "7767517"
"""First line of every ncnn graph."""
TRIED_SIZE, TRIED_SECONDS = (64, 64), 120
"""Height and width in px, and the longest time, of the trial of a file from elsewhere."""
TRIAL = """
import sys
from pathlib import Path
import numpy as np
from prune.data.labels import CRACK
from prune.inference.ncnn import NcnnPredictor
file, height, width = sys.argv[1:]
network = NcnnPredictor(Path(file), 1, CRACK, tried=True)
assert network.run(np.zeros((1, 3, int(height), int(width)), np.float32)).ndim == 4
"""
"""Program of that trial."""


def _ncnn_metadata(file: Path) -> str | None:
    """Our metadata: one line behind the layers of the graph, where ncnn has stopped reading."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: expected an ncnn network as text, found: {first_line(error)}") from error
    if not lines or lines[0].strip() != NCNN_MAGIC:
        raise UserError(f"{file}: expected an ncnn network, its first line {NCNN_MAGIC} is missing")
    words = lines[-1].partition(" ")
    return words[2] if words[0] == METADATA else None


def _try(file: Path, card: Card) -> None:
    """Run a network once in a process of its own.

    Raises:
        UserError: when that fails or the process dies.
    """
    height, width = card.size or TRIED_SIZE
    command = [sys.executable, "-c", TRIAL, str(file), str(height), str(width)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TRIED_SECONDS)
        failed = done.returncode != 0
    except subprocess.TimeoutExpired:
        failed = True
    if failed:
        raise UserError(f"{file}: expected an ncnn network, found one that ncnn cannot run")


class NcnnPredictor(Predictor):
    """An ncnn network (.ncnn.param with its .ncnn.bin) on the CPU; it takes one image at a time.

    Args:
        file: The .ncnn.param file.
        threads: CPU threads, 0 = all cores.
        classes: What the outputs of a file without our metadata mean.
        tried: Whether a process of its own has run it already. ncnn checks nothing of a graph, and a damaged one ends the
            process, so that files that are not as our export left them are tried before.
    """

    def __init__(self, file: Path, threads: int = 0, classes: ClassSet | None = None, *, tried: bool = False) -> None:
        try:
            import ncnn
        except ImportError as error:
            raise UserError(f"{file}: needs ncnn: pip install prune-crackseg[ncnn]") from error
        weights = weights_beside(file)
        self.card = card_of(_ncnn_metadata(file), file, "ncnn", classes, None)
        if not tried and not verify(file):
            _try(file, self.card)
        self.mat, self.net = ncnn.Mat, ncnn.Net()
        options, half = self.net.opt, self.card.precision == "fp16"
        options.num_threads = thread_count(threads)
        options.use_winograd63_convolution = False  # its larger tiles are less exact and no faster
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = half
        options.use_bf16_packed = options.use_bf16_storage = False
        if self.net.load_param(str(file)) or self.net.load_model(str(weights)):
            raise UserError(f"{file}: expected an ncnn network, found one that cannot be loaded")
        self.tensors = self.net.input_names()[0], self.net.output_names()[0]

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits float32 (N, C, H, W)."""
        found = [self._one(image) for image in batch]
        return found[0][None] if len(found) == 1 else np.stack(found)  # stacking one would only copy it

    def _one(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        extractor = self.net.create_extractor()
        extractor.input(self.tensors[0], self.mat(np.ascontiguousarray(image)))
        failed, logits = extractor.extract(self.tensors[1])
        if failed:
            raise UserError(f"{self.card.file}: ncnn cannot run it on {image.shape[2]}x{image.shape[1]} px")
        return np.array(logits)
