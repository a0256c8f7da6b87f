"""``inference.py``: photographs in, pictures of the network's predictions out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prune.cli.verbs import call
from prune.data.settings import CLASS_SETS
from prune.errors import PartlyDone, UserError
from prune.inference.settings import LoadSettings, PredictSettings
from prune.options import FACTORY, fields_of, option

if TYPE_CHECKING:
    from prune.api.folder import PhotoResult
    from prune.api.photo_files import PhotoFiles
    from prune.api.predict import PredictResult


DEFAULT_NETWORK = "crack"
"""Part of the package; used where nothing else was made yet."""


@dataclass(frozen=True)
class InferenceOptions(PredictSettings, LoadSettings):
    """Options of ``inference.py``."""

    state_dict: str | None = option(
        None,
        "checkpoint or export to use; default: the newest in results/models, else crack, the network included in the package",
    )
    classes: str | None = option(None, "classes of an export made by another tool", choices=CLASS_SETS)
    image: str | None = option(
        None,
        "photograph or folder of photographs; default: those of the test split of data/S2DS, else of the demo data",
    )
    save_figure: bool = option(False, "write files instead of opening a window")
    output_dir: str = option("results/figures", "folder for the files")
    factory: str | None = option(None, FACTORY)


def _photos(options: InferenceOptions) -> PhotoFiles:
    """The photographs that are named, else those of the default data."""
    from prune.api.photo_files import find_photos

    if options.image:
        image = Path(options.image)
    else:
        from prune.cli.defaults import data_folder

        image = data_folder() / "test" / "Images"
    output = Path(options.output_dir) if options.save_figure else None
    return find_photos(image, recursive=options.recursive, output=output)


def network_file(named: str | None) -> Path:
    """The file of the named network, else of the newest checkpoint, else the network that is part of the package.

    Raises:
        UserError: when there is none, and when the newest is asked for without PyTorch.
    """
    from prune.files import MODELS, find_model, shipped_model, visible
    from prune.progress import say

    if named:
        return find_model(named)
    shipped = shipped_model(DEFAULT_NETWORK)
    if shipped and not visible(MODELS, "*.pth"):
        say("network", f"{DEFAULT_NETWORK}, which comes with the package ({MODELS} holds no checkpoint)")
        return shipped
    try:
        from prune.models.checkpoint import newest_model
    except ImportError as error:
        install = "pip install prune-crackseg[train]"
        raise UserError(f"a checkpoint: needs PyTorch, which is not installed: {install}") from error
    return newest_model()


def _show(one: PhotoResult) -> None:
    """Open a window with its picture, if there is one."""
    from prune.report.figures import show

    if one.picture is not None:
        show(one.picture, one.photo.name)


def infer(options: InferenceOptions) -> PredictResult:
    """Resolve what is not named, then segment the photographs and write or show their pictures.

    Raises:
        UserError: for anything the user can fix.
    """
    from prune.api.load import load
    from prune.api.predict import predict
    from prune.files import check_writable
    from prune.report.figures import require_display

    if options.save_figure:
        check_writable(Path(options.output_dir))
    else:
        require_display()
    photos = _photos(options)
    how = fields_of(LoadSettings, options)
    model = load(network_file(options.state_dict), classes=options.classes, factory=options.factory, **how)
    output = Path(options.output_dir) if options.save_figure else None
    return predict(model, photos, output=output, on_photo=_show, **fields_of(PredictSettings, options))


def run(options: InferenceOptions) -> None:
    """Segment and print the summary.

    Raises:
        UserError: for anything the user can fix, after the others are done when photographs of a folder are damaged.
    """
    result = infer(options)
    print(result)
    if result.broken:
        total = result.images + len(result.broken)
        raise PartlyDone(f"{len(result.broken)} of {total} photographs could not be read: {'; '.join(result.broken)}")


def main(argv: Sequence[str] | None = None) -> None:
    """Parse ``argv`` (None = the process's own arguments) and run the command."""
    call("inference", argv)
