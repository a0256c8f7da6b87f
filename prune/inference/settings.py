"""How a network is opened and what pictures can be made of a photograph."""

from dataclasses import dataclass

from prune.data.settings import PALETTE, PALETTES
from prune.errors import UserError
from prune.options import AMPS, DEVICES, SWITCH, TRUST_PICKLE, check, option

PICTURE_FORMATS = ("png", "jpg", "webp")
VIEWS = ("side_by_side", "overlay", "save_mask", "probability", "gradcam", "errors")
"""Pictures of a network's predictions."""


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
    amp: str = option("off", "autocast; auto: as in train.py", choices=AMPS)
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
    """What to do with the photographs."""

    mode: str = option("side_by_side", "picture to make", choices=VIEWS)
    class_name: str | None = option(
        None,
        "class shown by gradcam, probability and errors; default: crack, else the first after the background",
        flag="class",
    )
    layer: str | None = option(
        None, "gradcam: module whose feature maps are weighted; default: the usual one for the network"
    )
    opacity: float = option(0.5, "opacity of the overlay, 0 to 1", low=0)
    palette: str = option("standard", f"{PALETTE}; mask files keep the colors of the data set", choices=PALETTES)
    legend: bool = option(True, "show the names and shares of the classes below side_by_side, overlay and errors")
    format: str = option("png", "format of the files; masks and gray levels are always png", choices=PICTURE_FORMATS)
    recursive: bool = option(False, "also read subfolders; files are written to subfolders of the same names")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.opacity > 1:
            raise UserError(f"--opacity: expected 0 to 1, found {self.opacity}")
