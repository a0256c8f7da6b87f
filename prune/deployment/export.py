"""Leave the lab: a checkpoint becomes files that other runtimes run, with everything needed to use them inside."""

import copy
import json
import logging
import shutil
import subprocess
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from prune.deployment.fused_hrsegnet import deployed
from prune.errors import UserError, first_line
from prune.files import atomic_path
from prune.hardware import versions
from prune.inference.metadata import FORMAT, METADATA, VERSION
from prune.inference.openvino import openvino_core, require_openvino_bf16
from prune.models import all_logits
from prune.models.checkpoint import Network, not_finite
from prune.models.cost import count

FORMATS = {
    "onnx": (".onnx", ("fp32", "int8")),
    "openvino": (".xml", ("fp32", "bf16", "fp16", "int8")),
    "ncnn": (".ncnn.param", ("fp32", "fp16")),
    "pt2": (".pt2", ("fp32",)),
}
"""Suffix and precisions of every target."""
OPSET = 20
"""ONNX operator set: the newest that ONNX Runtime, OpenVINO and TensorRT 10 all document."""
TRACE_SIZE = (128, 160)
"""Height and width in px a network of any size is traced at; different, so that none is taken for the other."""
OTHER_SIZE = (224, 192)
"""The second size ncnn's converter sees a network at: what differs between the two depends on the image."""
COUNT_SIZE = (512, 512)
"""Input in px that the metadata gives MACs for."""

Batches = Sequence[NDArray[np.float32]]


class Exported(nn.Module):
    """The inference network alone: normalized images (N, 3, H, W) to logits (N, C, H, W), or to a class map.

    Args:
        model: The network; its auxiliary head is left out.
        argmax: Give class ids uint8 (N, 1, H, W) instead of logits.
    """

    def __init__(self, model: nn.Module, argmax: bool = False) -> None:
        super().__init__()
        self.model, self.argmax = model, argmax

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits, or class ids."""
        logits = all_logits(self.model, image)["out"]
        return logits.argmax(1, keepdim=True).to(torch.uint8) if self.argmax else logits


@dataclass(frozen=True)
class Target:
    """What to export to.

    Args:
        runtime: A key of ``FORMATS``.
        precision: fp32, bf16, fp16 or int8, as far as the runtime has it.
        size: Height and width in px of the one input it shall take, None = any.
        argmax: Whether the class map is made inside the file.
        max_drop: OpenVINO INT8: keep layers in float until the score drops by at most this much; None = do not look.
    """

    runtime: str
    precision: str = "fp32"
    size: tuple[int, int] | None = None
    argmax: bool = False
    max_drop: float | None = None

    def __post_init__(self) -> None:
        if self.runtime not in FORMATS:
            raise UserError(f"--to: expected one of {', '.join(FORMATS)}, found {self.runtime!r}")
        known = FORMATS[self.runtime][1]
        if self.precision not in known:
            raise UserError(f"--precision: {self.runtime} has {', '.join(known)}, found {self.precision!r}")
        if self.argmax and self.runtime == "ncnn":
            raise UserError("--argmax: ncnn files give logits")

    @property
    def suffix(self) -> str:
        """Of the file."""
        return FORMATS[self.runtime][0]


def metadata(network: Network, target: Target) -> str:
    """Everything a runtime needs to use the file, as JSON: classes, colors, preprocessing, size rule, lineage, cost."""
    parameters, macs = count(network.model, target.size or COUNT_SIZE)
    height, width = target.size or COUNT_SIZE
    content = {
        "format": FORMAT,
        "version": VERSION,
        "architecture": network.architecture,
        "classes": network.classes.to_dict(),
        "preprocessing": network.preprocessing.to_dict(),
        "size": list(target.size) if target.size else None,
        "output": "class ids" if target.argmax else "logits",
        "precision": target.precision,
        "history": network.history(),
        "lineage": network.lineage,
        "parameters": parameters,
        "macs": {f"{width}x{height}": macs},
        "versions": versions(),
    }
    return json.dumps(content, ensure_ascii=False, default=str)


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporters are talkative about what does not concern the user."""
    loggers = [
        logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "nncf", "torch.export", "root")
    ]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _inference_module(network: Network, target: Target) -> Exported:
    """A copy of the inference network on the CPU; the caller's keeps its auxiliary head, mode and memory format."""
    model = copy.deepcopy(network.model).cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    if getattr(model, "aux_classifier", None) is not None:
        model.aux_classifier = None
    model = deployed(model.eval(), target.size, target.precision == "int8")
    return Exported(model, target.argmax).eval()


def _program(network: Network, target: Target) -> torch.export.ExportedProgram:
    """The network traced by ``torch.export``: any batch, and any size unless one is asked for."""
    # Two images: a batch of one would be taken for a constant.
    example = torch.zeros(2, 3, *(target.size or TRACE_SIZE))
    dynamic = torch.export.Dim.DYNAMIC
    dims: dict[int, Any] = {0: dynamic} | ({} if target.size else {2: dynamic, 3: dynamic})
    with torch.no_grad():
        return torch.export.export(_inference_module(network, target), (example,), dynamic_shapes=(dims,))


def _write_onnx(network: Network, target: Target, file: Path) -> None:
    """A checked float32 ONNX file with batch norm folded into the convolutions."""
    onnx = _import("onnx", "export", "onnxscript")
    output = "class_map" if target.argmax else "logits"
    names: dict[str, Any] = {"input_names": ["image"], "output_names": [output]}
    program = torch.onnx.export(_program(network, target), dynamo=True, opset_version=OPSET, verbose=False, **names)
    assert program is not None
    program.save(str(file), external_data=False)
    model = onnx.load(str(file))
    _pool_globally(onnx, model)
    _annotate(model, metadata(network, target))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(file))


def _pool_globally(onnx: Any, model: Any) -> None:
    """Turn means over height and width into the pooling they were: ONNX Runtime's mean took a tenth of an INT8 pass."""
    constants = {entry.name: entry for entry in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "ReduceMean" or len(node.input) < 2 or node.input[1] not in constants:
            continue
        axes = sorted(onnx.numpy_helper.to_array(constants[node.input[1]]).tolist())
        if axes in ([-2, -1], [2, 3]) and any(a.name == "keepdims" and a.i == 1 for a in node.attribute):
            node.op_type = "GlobalAveragePool"
            del node.input[1:], node.attribute[:]
    used = {name for node in model.graph.node for name in node.input}
    for entry in [entry for name, entry in constants.items() if name not in used]:
        model.graph.initializer.remove(entry)


def _annotate(model: Any, text: str) -> None:
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA, text


class _Reader:
    """Feeds calibration batches to ONNX Runtime's quantizer."""

    def __init__(self, batches: Batches) -> None:
        self.batches = iter(batches)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        batch = next(self.batches, None)
        return None if batch is None else {"image": batch}


def _quantize_onnx(network: Network, target: Target, file: Path, batches: Batches) -> None:
    """Static quantization with quantize/dequantize nodes: activations 8 bits, weights 7 bits per channel.

    Seven bits, because CPUs without VNNI add two products in 16 bits and saturate with eight.
    """
    onnx = _import("onnx", "export", "onnxscript")
    quantization = _import("onnxruntime.quantization", "export")
    shapes = _import("onnxruntime.quantization.shape_inference", "export")
    with tempfile.TemporaryDirectory() as folder:
        dense, ready = Path(folder) / "dense.onnx", Path(folder) / "ready.onnx"
        _write_onnx(network, target, dense)
        shapes.quant_pre_process(str(dense), str(ready), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(ready),
            str(file),
            _Reader(batches),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
        )
    model = onnx.load(str(file))
    _annotate(model, metadata(network, target))
    onnx.save(model, str(file))


def _write_openvino(
    network: Network, target: Target, file: Path, batches: Batches, validate: Callable[[Any], float] | None
) -> None:
    """OpenVINO IR; INT8 by NNCF's post-training quantization, with accuracy control when ``target.max_drop`` is set.

    Only fp32 files hold weights of 32 bits; a bf16 file holds them in float16, of which bfloat16 keeps 8 of 11 bits.
    """
    openvino = _import("openvino", "openvino")
    if target.precision == "bf16":
        require_openvino_bf16("--precision bf16")
    with tempfile.TemporaryDirectory() as folder:
        dense = Path(folder) / "dense.onnx"
        _write_onnx(network, target, dense)
        model = openvino_core().read_model(str(dense))
        if target.precision == "int8":
            # NNCF makes many cores; in a thread they change the signal stack of that thread only, see openvino_core.
            model = _in_a_thread(partial(_quantized_openvino, model, target, batches, validate))
        model.set_rt_info(metadata(network, target), [METADATA])
        openvino.save_model(model, str(file), compress_to_fp16=target.precision != "fp32")


def _quantized_openvino(model: Any, target: Target, batches: Batches, validate: Callable[[Any], float] | None) -> Any:
    """Post-training quantization, with accuracy control when there is a score to keep.

    As for ONNX, weights take half of the 8-bit range: CPUs without VNNI saturate otherwise.
    """
    nncf = _import("nncf", "openvino")
    data = nncf.Dataset(list(batches))
    advanced = nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE)
    options = {"preset": nncf.QuantizationPreset.MIXED, "subset_size": len(batches)}
    if target.max_drop is None or validate is None:
        return nncf.quantize(model, data, advanced_parameters=advanced, **options)
    check = validate

    def score(compiled: Any, _: Any) -> tuple[float, None]:
        return check(compiled), None

    limit = {"max_drop": target.max_drop, "drop_type": nncf.DropType.ABSOLUTE}
    return nncf.quantize_with_accuracy_control(
        model, data, nncf.Dataset([0]), score, advanced_quantization_parameters=advanced, **limit, **options
    )


def _in_a_thread(work: Callable[[], Any]) -> Any:
    """What ``work`` gives, done in a thread of its own; Ctrl-C does not wait for it."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future.result()


def _shape(size: tuple[int, int]) -> str:
    return f"[1,3,{size[0]},{size[1]}]f32"


def _with_constant_sizes(module: nn.Module, example: torch.Tensor) -> nn.Module:
    """The same function of images like ``example`` with sizes as numbers, where a trace would compute them again."""
    program = torch.export.export(module, (example,)).module()
    for node in list(program.graph.nodes):
        if node.target is torch.ops.aten.alias.default:  # a crop to the whole size; pnnx does not know it
            node.replace_all_uses_with(node.args[0])
            program.graph.erase_node(node)
    program.recompile()
    return program


def _write_ncnn(network: Network, target: Target, file: Path) -> None:
    """Graph (text) and weights for ncnn, made by its converter pnnx of the traced network."""
    pnnx = _import("pnnx", "export")
    size = target.size or TRACE_SIZE
    module: nn.Module = _inference_module(network, target)
    example = torch.zeros(1, 3, *size)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        if target.size:
            module = _with_constant_sizes(module, example)
        torch.jit.trace(module, example, check_trace=False).save(f"{folder}/network.pt")
        words = [pnnx.EXEC_PATH, "network.pt", f"inputshape={_shape(size)}", f"fp16={int(target.precision == 'fp16')}"]
        words += [] if target.size else [f"inputshape2={_shape(OTHER_SIZE)}"]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
        graph, weights = Path(folder) / "network.ncnn.param", Path(folder) / "network.ncnn.bin"
        if done.returncode or not graph.is_file() or not weights.is_file():
            raise ValueError(f"pnnx failed: {(done.stderr or done.stdout).strip()}")
        text = graph.read_text(encoding="utf-8").rstrip("\n")
        operators = [line.split()[0] for line in text.splitlines()[2:]]
        foreign = [name for name in operators if not name.isalnum()]  # such as F.pad, aten::alias
        if foreign:
            advice = "" if target.size else " for images of any size: give the one --size it shall take"
            raise ValueError(f"ncnn has no {foreign[0]}{advice}")
        file.write_text(f"{text}\n{METADATA} {metadata(network, target)}\n", encoding="utf-8")
        shutil.move(weights, file.with_suffix(".bin"))


def _import(name: str, extra: str, also: str = "") -> Any:
    """Import an optional package, or say which extra to install."""
    import importlib

    try:
        if also:
            importlib.import_module(also)
        return importlib.import_module(name)
    except ImportError as error:
        package = getattr(error, "name", None) or name
        raise UserError(f"{package} is not installed: pip install prune-crackseg[{extra}]") from error


def export(
    network: Network,
    target: Target,
    file: Path,
    *,
    batches: Batches = (),
    validate: Callable[[Any], float] | None = None,
) -> Path:
    """Write ``network`` as a file of another runtime, atomically, and return its path.

    Args:
        network: What to export; it is not changed.
        target: Runtime, precision, size.
        file: Where to; its name ends in ``target.suffix``.
        batches: Normalized photographs float32 (1, 3, H, W) for the calibration of INT8.
        validate: OpenVINO with ``max_drop``: scores a compiled model, higher is better.

    Raises:
        UserError: for a missing package (naming the extra), missing calibration data, weights that are not finite,
            bf16 on a CPU without it, or a network that cannot be traced.
    """
    if target.precision == "int8" and not batches:
        raise UserError("int8 needs photographs to calibrate with, found none")
    damaged = not_finite(network.model.state_dict())
    if damaged is not None:
        where = network.file or network.architecture
        raise UserError(f"{where}: expected finite weights to export, found NaN or infinity in {damaged}")
    with _quiet(), tempfile.TemporaryDirectory() as name:
        written = Path(name) / file.name
        try:
            _write(network, target, written, batches, validate)
        except (RuntimeError, ValueError, TypeError) as error:
            raise UserError(f"{network.file}: cannot be exported to {target.runtime}: {first_line(error)}") from error
        for part in sorted(Path(name).iterdir()):  # of OpenVINO and ncnn the weights before the network
            with atomic_path(file.with_name(part.name)) as temporary:
                shutil.move(part, temporary)
    return file


def _write(
    network: Network, target: Target, file: Path, batches: Batches, validate: Callable[[Any], float] | None
) -> None:
    if target.runtime == "pt2":
        extra = {METADATA: metadata(network, target)}
        torch.export.save(_program(network, target), file, extra_files=extra)
    elif target.runtime == "openvino":
        _write_openvino(network, target, file, batches, validate)
    elif target.runtime == "ncnn":
        _write_ncnn(network, target, file)
    elif target.precision == "int8":
        _quantize_onnx(network, target, file, batches)
    else:
        _write_onnx(network, target, file)
