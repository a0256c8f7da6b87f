"""The network of any file this project writes; the only place that knows which runtime reads which file."""

from pathlib import Path
from typing import Any

from prune.data.labels import ClassSet
from prune.errors import UserError
from prune.inference.predictor import Predictor
from prune.inference.seal import verify


def load_predictor(file: Path, *, threads: int = 0, classes: ClassSet | None = None, **torch_options: Any) -> Predictor:
    """The network of any file this project writes, ready for prediction.

    Args:
        file: A checkpoint (.pth) or an export (.onnx, .xml, .ncnn.param, .pt2).
        threads: CPU threads of the runtime, 0 = all cores.
        classes: What the outputs of a file without our metadata mean.
        torch_options: Of ``prune.inference.torch.TorchPredictor``, for files PyTorch runs.

    Raises:
        UserError: for a missing or damaged file, and for a runtime that is not installed (naming the extra).
    """
    if not file.is_file():
        raise UserError(f"model file {file} not found")
    if file.suffix in (".onnx", ".xml"):
        verify(file)
    if file.suffix == ".onnx":
        from prune.inference.onnx import OnnxPredictor

        return OnnxPredictor(file, threads, classes)
    if file.suffix == ".xml":
        from prune.inference.openvino import OpenVinoPredictor

        return OpenVinoPredictor(file, threads, classes)
    if file.suffix == ".param":
        from prune.inference.ncnn import NcnnPredictor

        return NcnnPredictor(file, threads, classes)
    try:
        from prune.inference.torch import open_torch
    except ImportError as error:
        raise UserError(f"{file}: needs PyTorch, which is not installed: pip install prune-crackseg[train]") from error
    return open_torch(file, **torch_options)
