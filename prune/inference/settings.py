"""How a network is opened and what pictures can be made of a photograph."""

from dataclasses import dataclass

from prune.errors import UserError
from prune.options import AMPS, DEVICES, SWITCH, TRUST_PICKLE, check, option

PICTURE_FORMATS = ("png", "jpg", "webp")
VIEWS = ("side_by_side", "overlay", "save_mask", "probability", "gradcam")
"""Pictures of what a network sees."""


@dataclass(frozen=True)
class ThreadSettings:
    """What opening a network and running it on many photographs have in common."""

    threads: int = option(0, "CPU threads, 0 = all cores", low=0)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class LoadSettings(ThreadSettings):
    """How a network is opened; all but ``threads`` concern files that PyTorch runs."""

    device: str = option("auto", DEVICES)
    trust_pickle: bool = option(False, TRUST_PICKLE)
    amp: str = option("off", "autocast; auto: as train.py", choices=AMPS)
    channels_last: bool | str = option(
        "auto", "memory format channels_last; auto: yes, measured only with --amp auto", choices=SWITCH
    )


@dataclass(frozen=True)
class CopySettings(ThreadSettings):
    """How many copies of a network work on many photographs."""

    networks: int = option(
        0,
        "copies of an export that share the threads, 0 = one, or one per thread if that is measured to be faster",
        low=0,
    )


@dataclass(frozen=True)
class PredictSettings(CopySettings):
    """What is made of photographs."""

    mode: str = option("side_by_side", "picture to make", choices=VIEWS)
    class_name: str | None = option(
        None,
        "class that gradcam and probability show; default: crack, else the first after the background",
        flag="class",
    )
    layer: str | None = option(None, "gradcam: module whose feature maps are weighed; default: the network's usual one")
    opacity: float = option(0.5, "of what is laid over the photograph, 0 to 1", low=0)
    format: str = option("png", "of the files; masks and gray levels are always png", choices=PICTURE_FORMATS)
    recursive: bool = option(False, "also read the subfolders; the files written lie in folders of the same names")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.opacity > 1:
            raise UserError(f"--opacity: expected 0 to 1, found {self.opacity}")
