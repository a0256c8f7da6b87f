"""What a network is exported to, the module that is traced, and what every file says about itself."""

import copy
import importlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from prune.deployment.fused_hrsegnet import fused_hrsegnet
from prune.deployment.settings import FORMATS, INT8_MEANS
from prune.errors import UserError
from prune.hardware import versions
from prune.inference.metadata import FORMAT, VERSION
from prune.inference.seal import EMPTY, KEY
from prune.models import all_logits
from prune.models.checkpoint import Network
from prune.models.cost import count

TRACE_SIZE = (128, 160)
"""Height and width in px a network of any size is traced at; different, so that none is taken for the other."""
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
class ExportTarget:
    """What to export to.

    Args:
        runtime: A key of ``FORMATS``.
        precision: fp32, bf16, fp16 or int8, as far as the runtime has it.
        size: Fixed height and width of the input in px, None = any.
        argmax: Whether the class map is made inside the file.
        max_drop: OpenVINO INT8: keep layers in float until the score drops by at most this much; None = do not look.
        notes: Notes to store in the file, see ``prune.inference.predictor.Card``.
        means: How INT8 is made, of ``prune.deployment.settings.INT8_MEANS``.
    """

    runtime: str
    precision: str = "fp32"
    size: tuple[int, int] | None = None
    argmax: bool = False
    max_drop: float | None = None
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    means: str = "minmax"

    def __post_init__(self) -> None:
        if self.runtime not in FORMATS:
            raise UserError(f"--to: expected one of {', '.join(FORMATS)}, found {self.runtime!r}")
        known = FORMATS[self.runtime][1]
        if self.precision not in known:
            raise UserError(f"--precision: {self.runtime} has {', '.join(known)}, found {self.precision!r}")
        if self.argmax and self.runtime == "ncnn":
            raise UserError("--argmax: ncnn files give logits")
        if self.precision == "int8" and self.means not in INT8_MEANS[self.runtime]:
            expected = ", ".join(("auto", *INT8_MEANS[self.runtime]))
            raise UserError(f"--int8_means: {self.runtime} has {expected}, found {self.means!r}")

    @property
    def suffix(self) -> str:
        """Of the file."""
        return FORMATS[self.runtime][0]


def metadata(network: Network, target: ExportTarget) -> str:
    """Everything a runtime needs to use the file, as JSON: classes, colors, preprocessing, size rule, lineage, cost."""
    parameters, macs = count(network.model, target.size or COUNT_SIZE)
    height, width = target.size or COUNT_SIZE
    content = {
        "format": FORMAT,
        "version": VERSION,
        KEY: EMPTY,
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
        "notes": dict(target.notes),
    }
    return json.dumps(content, ensure_ascii=False, default=str)


def inference_module(network: Network, target: ExportTarget) -> Exported:
    """A copy of the inference network on the CPU; the caller's keeps its auxiliary head, mode and memory format."""
    model = copy.deepcopy(network.model).cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    if getattr(model, "aux_classifier", None) is not None:
        model.aux_classifier = None
    model = fused_hrsegnet(model.eval(), target.size, target.precision == "int8")
    return Exported(model, target.argmax).eval()


def traced_program(network: Network, target: ExportTarget) -> torch.export.ExportedProgram:
    """The network traced by ``torch.export``: any batch, and any size unless one is asked for."""
    # Two images: a batch of one would be taken for a constant.
    example = torch.zeros(2, 3, *(target.size or TRACE_SIZE))
    dynamic = torch.export.Dim.DYNAMIC
    dims: dict[int, Any] = {0: dynamic} | ({} if target.size else {2: dynamic, 3: dynamic})
    with torch.no_grad():
        return torch.export.export(inference_module(network, target), (example,), dynamic_shapes=(dims,))


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the exporters' messages that do not concern the user."""
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


def optional_package(name: str, extra: str, also: str = "") -> Any:
    """Import an optional package, or say which extra to install."""
    try:
        if also:
            importlib.import_module(also)
        return importlib.import_module(name)
    except ImportError as error:
        package = getattr(error, "name", None) or name
        raise UserError(f"{package} is not installed: pip install prune-crackseg[{extra}]") from error
