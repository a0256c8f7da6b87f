"""OpenVINO files, quantized by NNCF where INT8 is asked for."""

import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

from torch import fx

from prune.deployment import onnx
from prune.deployment.target import Batches, ExportTarget, metadata, optional_package
from prune.inference.metadata import METADATA
from prune.inference.openvino import openvino_core, require_openvino_bf16
from prune.models.checkpoint import Network

SMOOTHING = 0.5
"""SmoothQuant's alpha: how much of the spread of activations moves into the weights (Xiao et al. 2023, arXiv 2211.10438)."""


def write_openvino(
    network: Network,
    target: ExportTarget,
    file: Path,
    batches: Batches,
    validate: Callable[[Any], float] | None,
    rounded: fx.GraphModule | None = None,
) -> None:
    """OpenVINO IR; INT8 of a network with rounding (see ``write_rounded_onnx``) as it is, else by NNCF's post-training quantization.

    NNCF controls the accuracy when ``target.max_drop`` is set. Only fp32 files hold weights of 32 bits; a bf16 file holds them in float16, of which bfloat16 keeps 8 of 11 bits.
    """
    openvino = optional_package("openvino", "openvino")
    if target.precision == "bf16":
        require_openvino_bf16("--precision bf16")
    with tempfile.TemporaryDirectory() as folder:
        dense = Path(folder) / "dense.onnx"
        if rounded is None:
            onnx.write_onnx(network, target, dense)
        else:
            onnx.write_rounded_onnx(network, rounded, target, dense)
        model = openvino_core().read_model(str(dense))
        if target.precision == "int8" and rounded is None:
            # NNCF makes many cores; in a thread they change the signal stack of that thread only, see openvino_core.
            model = _in_a_thread(partial(_quantized_openvino, model, target, batches, validate))
        model.set_rt_info(metadata(network, target), [METADATA])
        openvino.save_model(model, str(file), compress_to_fp16=target.precision != "fp32")


def _quantized_openvino(
    model: Any, target: ExportTarget, batches: Batches, validate: Callable[[Any], float] | None
) -> Any:
    """Post-training quantization, with accuracy control when there is a score to keep.

    As for ONNX, weights take half of the 8-bit range: CPUs without VNNI saturate otherwise.
    """
    nncf = optional_package("nncf", "openvino")
    data = nncf.Dataset(list(batches))
    advanced = nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE, **_means(nncf, target.means))
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


def _means(nncf: Any, means: str) -> dict[str, Any]:
    """What NNCF is told beyond the defaults for an entry of ``prune.deployment.settings.INT8_MEANS``."""
    advanced, ranges = nncf.quantization.advanced_parameters, nncf.quantization.range_estimator
    return {
        "minmax": {},
        "histogram": {"activations_range_estimator_params": ranges.RangeEstimatorParametersSet.HISTOGRAM},
        "smooth": {"smooth_quant_alphas": advanced.AdvancedSmoothQuantParameters(convolution=SMOOTHING)},
        "align": {"disable_channel_alignment": False},
    }[means]


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
