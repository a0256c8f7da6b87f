"""``inference.py``: photographs in, pictures of what the network sees out."""

from collections.abc import Sequence
from dataclasses import dataclass

from prune.cli.verbs import call
from prune.data.settings import CLASS_SETS
from prune.errors import UserError
from prune.inference.settings import PICTURE_FORMATS, VIEWS
from prune.options import AMPS, DEVICES, SWITCH, check, option


@dataclass(frozen=True)
class InferenceOptions:
    """Everything ``inference.py`` can be told."""

    state_dict: str | None = option(None, "checkpoint or export to use; none: the newest in results/models")
    classes: str | None = option(None, "of an export made by another tool", choices=CLASS_SETS)
    image: str | None = option(None, "photograph or folder of photographs; none: the default data's test images")
    mode: str = option("side_by_side", "picture to make", choices=VIEWS)
    class_name: str | None = option(
        None, "class that gradcam and probability show; none: crack, else the first after the background", flag="class"
    )
    layer: str | None = option(None, "gradcam: module whose feature maps are weighed; none: the network's usual one")
    opacity: float = option(0.5, "of what is laid over the photograph, 0 to 1", low=0)
    save_figure: bool = option(False, "write files instead of opening a window")
    output_dir: str = option("results/figures", "folder of the files")
    format: str = option("png", "of the files; masks and gray levels are always png", choices=PICTURE_FORMATS)
    trust_pickle: bool = option(False, "read whole-module pickles; only for files you trust: they can run code")
    amp: str = option("off", "autocast; auto: as train.py", choices=AMPS)
    channels_last: bool | str = option(
        "auto", "memory format channels_last; auto: yes, measured only with --amp auto", choices=SWITCH
    )
    device: str = option("auto", DEVICES)
    threads: int = option(0, "CPU threads, 0 = all cores", low=0)
    networks: int = option(
        0,
        "copies of an export that share the threads, 0 = one, or one per thread if that is measured to be faster",
        low=0,
    )

    def __post_init__(self) -> None:
        check(self)
        if self.opacity > 1:
            raise UserError(f"--opacity: expected 0 to 1, found {self.opacity}")


def run(options: InferenceOptions) -> None:
    """Do the work and print the summary."""
    from prune.api.predict import run as work

    work(options)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line ``argv``, None = the process's own, and do what it says."""
    call("inference", argv)
