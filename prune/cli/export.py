"""``python -m prune export``: a checkpoint in, a file for another runtime out, if it passes the parity gate."""

from collections.abc import Sequence
from dataclasses import dataclass

from prune.cli.verbs import call
from prune.data.settings import DataOptions
from prune.errors import UserError
from prune.options import check, option


@dataclass(frozen=True)
class ExportOptions(DataOptions):
    """Everything ``python -m prune export`` can be told."""

    checkpoint: str | None = option(None, "checkpoint to export; none: the newest in results/models", positional=True)
    to: str = option("onnx", "runtime of the file", choices=("onnx", "openvino", "ncnn", "pt2"))
    precision: str = option(
        "fp32",
        "numbers in the file; bf16 (openvino) is computed in bfloat16 by CPUs that have it",
        choices=("fp32", "bf16", "fp16", "int8"),
    )
    size: tuple[str, ...] = option(("dynamic",), "height and width of its one input in px, or dynamic")
    argmax: bool = option(False, "make the class map inside the file")
    data: str | None = option(
        None,
        "data folder: train calibrates, test is compared on; default: what the checkpoint was trained on, else the default data",
    )
    calibration_images: int = option(0, "photographs INT8 is calibrated with, 0 = up to 64", low=0)
    parity_images: int = option(0, "test images the file is compared on, 0 = all", low=0)
    max_drop: float | None = option(
        None, "openvino int8: points the score may drop; sensitive layers stay in float", low=0
    )
    min_agreement: float | None = option(
        None, "percent of pixels of equal class; default: 99.9, bf16 and fp16 99.5, int8 95", low=0
    )
    max_miou_drop: float = option(1.0, "points of mIoU the file may lose", low=0)
    max_crack_drop: float = option(1.0, "points of crack ltIoU@4 the file may lose", low=0)
    accept_unjudged: bool = option(
        False, "accept a file whose cracks cannot be judged: no test image has a labeled one"
    )
    output: str | None = option(None, "file to write; none: results/exports/<model>[_<precision>].<suffix>")
    trust_pickle: bool = option(False, "read whole-module pickles; only for files you trust: they can run code")
    threads: int = option(0, "CPU threads, 0 = all cores", low=0)

    def __post_init__(self) -> None:
        check(self)
        if self.fixed_size is not None and min(self.fixed_size) < 32:
            raise UserError(f"--size: expected at least 32 px, found {' '.join(self.size)}")

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """Height and width in px, None = any size."""
        words = [word for text in self.size for word in text.lower().replace("x", " ").replace(",", " ").split()]
        if words == ["dynamic"]:
            return None
        if not words or len(words) > 2 or not all(word.isdigit() for word in words):
            raise UserError(f"--size: expected dynamic, or height and width in px, found {' '.join(self.size)}")
        return int(words[0]), int(words[-1])


def run(options: ExportOptions) -> None:
    """Do the work and print the summary."""
    from prune.api.export import run as work

    work(options)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line ``argv``, None = the process's own, and do what it says."""
    call("export", argv)
