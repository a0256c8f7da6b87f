"""OpenVINO."""

import functools
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.data.labels import ClassSet
from prune.errors import UserError, first_line
from prune.inference.metadata import METADATA, card_of, thread_count, votes, weights_beside
from prune.inference.predictor import Predictor


@functools.cache
def openvino_core() -> Any:
    """The only OpenVINO core of this process, never released.

    Every core replaces the stack that signal handlers run on, and puts back the one before it when it goes. Unless cores
    go in the reverse order they came, that is a stack of a core long gone, and the next Ctrl-C is a segmentation fault.
    """
    import openvino

    return openvino.Core()


def openvino_settings(precision: str, threads: int = 0) -> dict[str, Any]:
    """How OpenVINO compiles a network for the CPU so that it computes what the file says.

    Left alone it computes float32 files in bfloat16 or float16 wherever the CPU has that.

    Args:
        precision: Of the file. Only a bf16 file is computed in bfloat16; fp32 and fp16 files, and the float layers of
            INT8 files, are computed in float32.
        threads: CPU threads, 0 = all cores.
    """
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": thread_count(threads),
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    }
    if thread_count(threads) < (os.cpu_count() or 1):
        # Pinned threads of two processes would share one core and leave the other idle.
        settings["ENABLE_CPU_PINNING"] = False
    return settings


def has_openvino_bf16() -> bool:
    """Whether OpenVINO computes bfloat16 on this CPU; not every CPU with such instructions is one it uses them on."""
    return "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def require_openvino_bf16(what: str) -> None:
    """Raise ``UserError`` naming ``what`` asks for bfloat16 when OpenVINO does not compute it on this CPU."""
    if not has_openvino_bf16():
        name = openvino_core().get_property("CPU", "FULL_DEVICE_NAME")
        raise UserError(f"{what}: expected a CPU that computes bfloat16, found {name}; use --precision fp32 or int8")


def _tensor_name(port: Any) -> str:
    """The name of an input or output, the first of several; empty = it has none."""
    return min(port.names, default="")


class OpenVinoPredictor(Predictor):
    """An OpenVINO IR (.xml with its .bin), or an ONNX file, run by OpenVINO on the CPU in the precision it names.

    Args:
        file: The .xml file.
        threads: CPU threads, 0 = all cores.
        classes: What the outputs of a file without our metadata mean.
    """

    def __init__(self, file: Path, threads: int = 0, classes: ClassSet | None = None) -> None:
        try:
            core = openvino_core()
        except ImportError as error:
            raise UserError(f"{file}: needs OpenVINO: pip install prune-crackseg[openvino]") from error
        if file.suffix == ".xml":
            weights_beside(file)
        try:
            model = core.read_model(str(file))
            # An ONNX file's own metadata lies under the name of its framework.
            places = [place for place in ([METADATA], ["framework", METADATA]) if model.has_rt_info(place)]
            text = model.get_rt_info(places[0]).astype(str) if places else None
            shape = model.output(0).get_partial_shape()
            channels = shape[1].get_length() if len(shape) == 4 and shape[1].is_static else None
            self.tensors = _tensor_name(model.input(0)), _tensor_name(model.output(0))
            self.card = card_of(text, file, "openvino", classes, channels)
            if self.card.precision == "bf16":
                require_openvino_bf16(f"{file} of the precision bf16")
            self.compiled = core.compile_model(model, "CPU", openvino_settings(self.card.precision, threads))
        except UserError:
            raise
        except Exception as error:  # RuntimeError mostly; names and texts may be no Unicode
            raise UserError(f"{file}: expected an OpenVINO network, found: {first_line(error)}") from error

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits float32 (1, C, H, W)."""
        return votes(self.compiled(batch)[0], len(self.classes))
