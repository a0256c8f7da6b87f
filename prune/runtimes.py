"""ONNX Runtime, OpenVINO and ncnn: files that run without PyTorch, and what they say about themselves."""

import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.data.labels import ClassSet
from prune.data.preprocessing import Preprocessing
from prune.errors import UserError, first_line
from prune.predict import Card, Predictor

METADATA = "prune_metadata"
"""Key of the metadata inside a file: one JSON object, see ``card_from_metadata``."""
FORMAT, VERSION = "prune-export", 1
NCNN_MAGIC = "7767517"
"""First line of every ncnn graph."""


def card_from_metadata(stored: Mapping[str, Any], file: Path, runtime: str) -> Card:
    """The card in an export's metadata.

    Raises:
        UserError: for metadata of a newer version.
        KeyError, TypeError, ValueError: for incomplete metadata.
    """
    if stored["version"] > VERSION:
        raise UserError(f"{file}: export version {stored['version']}, this program reads up to {VERSION}")
    size = stored["size"]
    return Card(
        file.stem,
        file,
        ClassSet.from_dict(stored["classes"]),
        Preprocessing.from_dict(stored["preprocessing"]),
        stored["architecture"],
        tuple(stored["history"]),
        runtime,
        stored["precision"],
        None if size is None else (size[0], size[1]),
        stored["parameters"],
        stored["macs"],
    )


def _card(text: str | None, file: Path, runtime: str, classes: ClassSet | None, channels: int | None) -> Card:
    """The card in the metadata, or one made up from ``--classes`` for a file of another tool."""
    if text:
        try:
            return card_from_metadata(json.loads(text), file, runtime)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{file}: the metadata is damaged ({error!r})") from error
    if classes is None:
        raise UserError(f"{file}: made by another tool, it does not say what its outputs mean: add --classes")
    if channels is not None and channels != len(classes):
        raise UserError(f"{file}: expected {len(classes)} outputs for the classes {classes.name}, found {channels}")
    return Card(file.stem, file, classes, runtime=runtime, architecture="network of another tool")


def thread_count(threads: int) -> int:
    """CPU threads that ``threads`` means: 0 is what the environment variable OMP_NUM_THREADS says, else all cores."""
    wished = os.environ.get("OMP_NUM_THREADS", "")
    return threads or (int(wished) if wished.isdigit() else 0) or os.cpu_count() or 1


def votes(output: NDArray[Any], classes: int) -> NDArray[np.float32]:
    """Logits (1, C, H, W) from a network's output; a class map (1, H, W) or (1, 1, H, W) becomes votes of 0 and 1."""
    if output.ndim == 4 and output.shape[1] == classes:
        return output
    class_map = output.reshape(output.shape[0], *output.shape[-2:])
    return (class_map[:, None] == np.arange(classes)[:, None, None]).astype(np.float32)


def _weights(file: Path) -> Path:
    """The weights beside a network of two files.

    Raises:
        UserError: when they are missing.
    """
    weights = file.with_suffix(".bin")
    if not weights.is_file():
        raise UserError(f"{file}: its weights {weights.name} are missing beside it")
    return weights


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
        except Exception as error:  # its exceptions share no base class of their own
            raise UserError(f"{file}: expected an ONNX network, found: {first_line(error)}") from error
        self.input = self.session.get_inputs()[0].name
        shape = self.session.get_outputs()[0].shape
        channels = shape[1] if len(shape) == 4 and isinstance(shape[1], int) and shape[1] > 1 else None
        text = self.session.get_modelmeta().custom_metadata_map.get(METADATA)
        self.card = _card(text, file, "onnx", classes, channels)

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits float32 (1, C, H, W)."""
        return votes(self.session.run(None, {self.input: batch})[0], len(self.classes))


@functools.cache
def openvino_core() -> Any:
    """The one OpenVINO core of this process, never let go.

    Every core replaces the stack that signal handlers run on, and puts back the one before it when it goes. Unless cores
    go in the reverse order they came, that is a stack of a core long gone, and the next Ctrl-C is a segmentation fault.
    """
    import openvino

    return openvino.Core()


def openvino_settings(precision: str, threads: int = 0) -> dict[str, Any]:
    """How OpenVINO shall compile a network for the CPU so that it computes what the file says.

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
            _weights(file)
        try:
            model = core.read_model(str(file))
            # An ONNX file's own metadata lies under the name of its framework.
            places = [place for place in ([METADATA], ["framework", METADATA]) if model.has_rt_info(place)]
            text = model.get_rt_info(places[0]).astype(str) if places else None
            shape = model.output(0).get_partial_shape()
            channels = shape[1].get_length() if len(shape) == 4 and shape[1].is_static else None
            self.card = _card(text, file, "openvino", classes, channels)
            if self.card.precision == "bf16":
                require_openvino_bf16(f"{file} of the precision bf16")
            self.compiled = core.compile_model(model, "CPU", openvino_settings(self.card.precision, threads))
        except RuntimeError as error:
            raise UserError(f"{file}: expected an OpenVINO network, found: {first_line(error)}") from error

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits float32 (1, C, H, W)."""
        return votes(self.compiled(batch)[0], len(self.classes))


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


class NcnnPredictor(Predictor):
    """An ncnn network (.ncnn.param with its .ncnn.bin) on the CPU; it takes one image at a time.

    Args:
        file: The .ncnn.param file.
        threads: CPU threads, 0 = all cores.
        classes: What the outputs of a file without our metadata mean.
    """

    def __init__(self, file: Path, threads: int = 0, classes: ClassSet | None = None) -> None:
        try:
            import ncnn
        except ImportError as error:
            raise UserError(f"{file}: needs ncnn: pip install prune-crackseg[ncnn]") from error
        weights = _weights(file)
        self.card = _card(_ncnn_metadata(file), file, "ncnn", classes, None)
        self.mat, self.net = ncnn.Mat, ncnn.Net()
        options, half = self.net.opt, self.card.precision == "fp16"
        options.num_threads = thread_count(threads)
        options.use_winograd63_convolution = False  # its larger tiles are less exact and no faster
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = half
        options.use_bf16_packed = options.use_bf16_storage = False
        if self.net.load_param(str(file)) or self.net.load_model(str(weights)):
            raise UserError(f"{file}: expected an ncnn network, found one that cannot be loaded")
        self.names = self.net.input_names()[0], self.net.output_names()[0]

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits float32 (N, C, H, W)."""
        found = [self._one(image) for image in batch]
        return found[0][None] if len(found) == 1 else np.stack(found)  # stacking one would only copy it

    def _one(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        extractor = self.net.create_extractor()
        extractor.input(self.names[0], self.mat(np.ascontiguousarray(image)))
        failed, logits = extractor.extract(self.names[1])
        if failed:
            raise UserError(f"{self.card.file}: ncnn cannot run it on {image.shape[2]}x{image.shape[1]} px")
        return np.array(logits)
