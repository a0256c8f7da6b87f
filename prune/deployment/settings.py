"""Settings of an export: runtimes, number formats, and the limits a file has to keep; light enough for ``--help``."""

from dataclasses import dataclass

from prune.data.settings import DataOptions
from prune.errors import UserError
from prune.options import OUTPUT_STRIDES, TRUST_PICKLE, check, option

FORMATS = {
    "onnx": (".onnx", ("fp32", "int8")),
    "openvino": (".xml", ("fp32", "bf16", "fp16", "int8")),
    "ncnn": (".ncnn.param", ("fp32", "fp16")),
    "pt2": (".pt2", ("fp32",)),
}
"""Suffix and precisions of every runtime."""
AGREEMENT = {"fp32": 99.9, "bf16": 99.5, "fp16": 99.5, "int8": 95.0}
"""Every precision with the percent of pixels that must keep their class."""
INT8_MEANS = {
    "onnx": ("minmax", "mse", "percentile", "entropy", "convolutions", "float_first"),
    "openvino": ("minmax", "mse", "histogram", "smooth", "align"),
}
"""How INT8 is made without training, by runtime; auto tries them in this order.

``minmax``: the runtime's default, ranges from minimum to maximum. ``mse``: rounding as quantization-aware training places it,
ranges of the smallest squared error. ``percentile``, ``entropy``: ranges that cut off rare values or keep the distribution.
``convolutions``: sums, products and gates stay in float. ``float_first``: the first convolution does.
``histogram``: ranges of the smallest error on a histogram. ``smooth``: SmoothQuant for convolutions. ``align``: channels of
neighboring layers are scaled alike. NNCF gives the activations of depthwise layers a range per channel without being told.
"""
MEANS = tuple(dict.fromkeys(name for names in INT8_MEANS.values() for name in names))
PURPOSES = ("deepness",)
"""Programs that want files of their own kind: deepness is a plugin of QGIS (``prune.deployment.deepness``)."""
SMALLEST = 32
"""Shortest side in px of a size that a file is made for."""


@dataclass(frozen=True)
class ExportSettings(DataOptions):
    """How a file is made, and what it has to keep of its network."""

    precision: str = option(
        "fp32",
        "number format of the file; bf16 (openvino) needs a CPU that computes bfloat16",
        choices=tuple(AGREEMENT),
    )
    argmax: bool = option(False, "compute the class map inside the file")
    output_stride: int | None = option(
        None,
        "DeepLab and FCN: pixels per feature of the backbone, weights kept; 16 for 8 removes most of its last layers' MACs",
        choices=OUTPUT_STRIDES,
    )
    int8_means: str = option(
        "auto",
        "how INT8 is made without training; auto: the first that passes on training images, else the best",
        choices=("auto", *MEANS),
    )
    qat_epochs: int = option(0, "int8: epochs of quantization-aware training, 0 = none", low=0)
    qat_lr: float = option(1e-4, "with --qat_epochs: peak learning rate", low=0)
    distill_weight: float = option(
        1.0, "with --qat_epochs: weight of the loss of distillation from the network itself, or from --teacher", low=0
    )
    calibration_images: int = option(0, "photographs to calibrate INT8 with, 0 = up to 64", low=0)
    parity_images: int = option(0, "test images to compare the file on, 0 = all", low=0)
    max_drop: float | None = option(
        None, "openvino int8: points the score may drop; sensitive layers stay in float", low=0
    )
    min_agreement: float | None = option(
        None, "percent of pixels that must keep their class; default: 99.9 (bf16 and fp16: 99.5, int8: 95)", low=0
    )
    max_miou_drop: float = option(1.0, "points of mIoU the file may lose", low=0)
    max_crack_drop: float = option(1.0, "points of crack ltIoU@4 the file may lose", low=0)
    accept_unjudged: bool = option(
        False, "accept a file whose cracks cannot be judged because no test image has a labeled crack"
    )
    purpose: str | None = option(
        None,
        "program the file is for; deepness: QGIS plugin for orthophotos, ONNX with probabilities and its metadata, needs --size",
        choices=PURPOSES,
        flag="for",
    )
    mm_per_pixel: float | None = option(
        None, "with --for deepness: size of a pixel on the ground in mm the network is meant for", low=0
    )
    trust_pickle: bool = option(False, TRUST_PICKLE)
    threads: int = option(0, "CPU threads, 0 = all cores", low=0)

    def __post_init__(self) -> None:
        check(self)
        for flag, given in (("qat_epochs", self.qat_epochs), ("int8_means", self.int8_means != "auto")):
            if given and self.precision != "int8":
                raise UserError(f"--{flag}: expected --precision int8, found {self.precision}")
        if self.qat_epochs and (self.max_drop is not None or self.int8_means != "auto"):
            other = "max_drop" if self.max_drop is not None else "int8_means"
            raise UserError(f"--qat_epochs: expected no --{other}: training takes its place, found both")

    @property
    def agreement(self) -> float:
        """Percent of pixels that must keep their class."""
        return AGREEMENT[self.precision] if self.min_agreement is None else self.min_agreement


def runtime_of(name: str) -> str | None:
    """The runtime that files called so are for, None = of no runtime."""
    return next((runtime for runtime, (suffix, _) in FORMATS.items() if name.endswith(suffix)), None)


def fixed_size(argument: str, size: object) -> tuple[int, int] | None:
    """Fixed input height and width of a file in px, None = any.

    Args:
        argument: What names ``size``, for messages.
        size: None, a whole number of px for both sides, or height and width.

    Raises:
        TypeError: for anything else.
        UserError: for sides that are too short.
    """
    if size is None:
        return None
    pair = size if isinstance(size, (tuple, list)) else (size, size)
    if len(pair) != 2 or not all(isinstance(side, int) and not isinstance(side, bool) for side in pair):
        raise TypeError(f"{argument}: expected None, px of both sides, or height and width in px, found {size!r}")
    if min(pair) < SMALLEST:
        raise UserError(f"--{argument}: expected at least {SMALLEST} px, found {' '.join(map(str, pair))}")
    return pair[0], pair[1]
