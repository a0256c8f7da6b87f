"""Export: turn a checkpoint into files for other runtimes that contain everything needed to use them."""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import fx

from prune.deployment import ncnn, onnx, openvino, pt2
from prune.deployment.fake_quantization import fake_quantized
from prune.deployment.target import Batches, ExportTarget, quiet
from prune.errors import CannotWrite, UserError, first_line
from prune.files import atomic_path, locked
from prune.inference.seal import SEALED, seal
from prune.models.checkpoint import Network, not_finite

SPARE = 2**16
"""Bytes that are free on a disk that was not filled."""


def export(
    network: Network,
    target: ExportTarget,
    file: Path,
    *,
    batches: Batches = (),
    validate: Callable[[Any], float] | None = None,
    rounded: fx.GraphModule | None = None,
) -> Path:
    """Write ``network`` as a file of another runtime, atomically, and return its path.

    Args:
        network: What to export; it is not changed.
        target: Runtime, precision, size.
        file: Where to; its name ends in ``target.suffix``.
        batches: Normalized photographs float32 (1, 3, H, W) for the calibration of INT8.
        validate: OpenVINO with ``max_drop``: scores a compiled model, higher is better.
        rounded: INT8: the network with rounding that was trained (see ``prune.deployment.fake_quantization``), None = it is
            quantized by ``target.means``.

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
    with quiet(), tempfile.TemporaryDirectory() as name:
        written = Path(name) / file.name
        try:
            if target.precision == "int8" and target.means == "mse" and rounded is None:
                rounded = fake_quantized(network, batches)
            _write(network, target, written, batches, validate, rounded)
            _require_room(Path(name))
            if written.suffix in SEALED:
                seal(written)
        except (RuntimeError, ValueError, TypeError) as error:
            raise UserError(f"{network.file}: cannot be exported to {target.runtime}: {first_line(error)}") from error
        for part in sorted(Path(name).iterdir()):  # of OpenVINO and ncnn the weights before the network
            with atomic_path(file.with_name(part.name)) as temporary:
                shutil.move(part, temporary)
    return file


def _require_room(folder: Path) -> None:
    """Raise ``CannotWrite`` when the disk has become full: native exporters do not all notice."""
    if shutil.disk_usage(folder).free < SPARE:
        raise CannotWrite(f"cannot write into {folder.parent}: {os.strerror(errno.ENOSPC)}")


def _write(
    network: Network,
    target: ExportTarget,
    file: Path,
    batches: Batches,
    validate: Callable[[Any], float] | None,
    rounded: fx.GraphModule | None,
) -> None:
    if target.runtime == "pt2":
        pt2.write_pt2(network, target, file)
    elif target.runtime == "openvino":
        openvino.write_openvino(network, target, file, batches, validate, rounded)
    elif target.runtime == "ncnn":
        ncnn.write_ncnn(network, target, file)
    elif rounded is not None:
        onnx.write_rounded_onnx(network, rounded, target, file)
    elif target.precision == "int8":
        onnx.quantize_onnx(network, target, file, batches)
    else:
        onnx.write_onnx(network, target, file)


@contextmanager
def private_folder(file: Path) -> Iterator[Path]:
    """Where ``file`` and what belongs to it are written before they are judged; no other process may export to it."""
    partial = file.parent / f".{file.name}.partial"
    with locked(file, keep=False):
        shutil.rmtree(partial, ignore_errors=True)  # a killed export's
        try:
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def tensorrt_hint(file: Path, target: ExportTarget) -> str:
    """The command that builds a TensorRT engine from an ONNX file, as its documentation says; not tried on a device."""
    if target.runtime != "onnx":
        return ""
    flags = "--int8 --fp16" if target.precision == "int8" else "--fp16"
    shapes = ""
    if target.size is None:
        sides = (("min", 256), ("opt", 512), ("max", 1024))
        shapes = " " + " ".join(f"--{name}Shapes=image:1x3x{side}x{side}" for name, side in sides)
    note = "; its scales are in the file, no calibration is needed" if target.precision == "int8" else ""
    return (
        f"TensorRT trtexec --onnx={file} --saveEngine={file.with_suffix('.engine')} {flags}{shapes}   (untested{note})"
    )
