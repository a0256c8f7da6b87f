"""ONNX Runtime."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prune.data.labels import ClassSet
from prune.errors import UserError, first_line
from prune.inference.metadata import METADATA, card_of, thread_count, votes
from prune.inference.predictor import Predictor

FULL_PRECISION = {"mlas.enable_gemm_fastmath_arm64_bfloat16": "0", "optimization.enable_gelu_approximation": "0"}
"""Settings of ONNX Runtime that would trade exactness for speed, switched off whatever its defaults become."""


class OnnxPredictor(Predictor):
    """An ONNX file run by ONNX Runtime on the CPU; what the file holds in float32 is computed in float32.

    Args:
        file: The .onnx file.
        threads: CPU threads, 0 = all cores.
        classes: What the outputs of a file without our metadata mean.
    """

    def __init__(self, file: Path, threads: int = 0, classes: ClassSet | None = None) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise UserError(f"{file}: needs ONNX Runtime: pip install prune-crackseg[runtime]") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = thread_count(threads)
        options.log_severity_level = 3
        for key, value in FULL_PRECISION.items():
            options.add_session_config_entry(key, value)
        try:
            self.session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
            self.input = self.session.get_inputs()[0].name
            self.tensors = self.input, self.session.get_outputs()[0].name
            shape = self.session.get_outputs()[0].shape
            text = self.session.get_modelmeta().custom_metadata_map.get(METADATA)
        except Exception as error:  # its exceptions share no base class of their own; names and texts may be no Unicode
            raise UserError(f"{file}: expected an ONNX network, found: {first_line(error)}") from error
        channels = shape[1] if len(shape) == 4 and isinstance(shape[1], int) and shape[1] > 1 else None
        self.card = card_of(text, file, "onnx", classes, channels)

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits float32 (1, C, H, W)."""
        return votes(self.session.run(None, {self.input: batch})[0], len(self.classes))
