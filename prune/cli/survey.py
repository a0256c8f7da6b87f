"""``python -m prune survey``: photographs in, a report with measured cracks, tables, masks and polygons out."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from prune.cli.outputs import FORCE
from prune.cli.verbs import call
from prune.data.settings import CLASS_SETS
from prune.errors import PartlyDone, UserError
from prune.inspection.settings import InspectionSettings
from prune.options import CHECKPOINT_FLAGS, FACTORY, fields_of, option


@dataclass(frozen=True)
class SurveyOptions(InspectionSettings):
    """Options of ``python -m prune survey``."""

    photos: tuple[str, ...] = option(
        (), 'photographs: files, folders and patterns such as "bridge/*.jpg"', positional=True, metavar="PHOTOS"
    )
    model: str | None = option(
        None,
        "checkpoint or export to use; default: the newest in results/models, else crack, the network included in the package",
        aliases=CHECKPOINT_FLAGS,
        metavar="FILE",
    )
    name: str | None = option(None, "of the survey and its folder in results/surveys; default: that of the photographs")
    output: str | None = option(None, "folder to write into; default: results/surveys/NAME", metavar="DIR")
    errors: str | None = option(
        None,
        "JSON file of an evaluation made with --crack_errors, whose errors the report prints; default: those stored in the "
        "network's file",
        metavar="FILE",
    )
    camera: int | None = option(
        None, "also survey pictures of a camera by its number, one a second unless --every or --fps is given", low=0
    )
    seconds: float = option(10.0, "with --camera: how long to record; Ctrl-C ends it earlier", low=0)
    compare: str | None = option(
        None,
        "earlier survey of the same place, its folder or its name in results/surveys: the growth of every crack is reported",
        metavar="SURVEY",
    )
    classes: str | None = option(None, "classes of an export made by another tool", choices=CLASS_SETS)
    factory: str | None = option(None, FACTORY)
    force: bool = option(False, FORCE)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.photos and self.camera is None:
            raise UserError("survey: expected photographs, found none: name files, folders or patterns")


def recorded(options: SurveyOptions) -> list[str]:
    """The folder with pictures of the camera that is named, new for every recording; nothing without one."""
    if options.camera is None:
        return []
    from prune.files import RESULTS
    from prune.inspection.camera import record
    from prune.inspection.video import Video

    fps = 1.0 if options.fps is None and options.every == 1 else options.fps
    folder = RESULTS / "camera" / time.strftime(f"camera{options.camera}_%Y%m%d_%H%M%S")
    with Video(options.camera, every=options.every, fps=fps) as video:
        record(video, folder, options.seconds)
    return [str(folder)]


def run(options: SurveyOptions) -> None:
    """Survey and print the summary.

    Raises:
        UserError: for anything the user can fix.
        PartlyDone: when some files could not be surveyed; the others are done.
    """
    from prune.api.load import load
    from prune.api.survey import survey
    from prune.cli.inference import network_file
    from prune.inspection.wording import counted

    model = load(network_file(options.model), classes=options.classes, factory=options.factory, threads=options.threads)
    result = survey(
        [*options.photos, *recorded(options)],
        model,
        name=options.name,
        output=options.output,
        errors=options.errors,
        compare=options.compare,
        force=options.force,
        **fields_of(InspectionSettings, options),
    )
    print(result)
    if result.broken:
        causes = "; ".join(one.cause for one in result.broken)
        raise PartlyDone(
            f"{counted(len(result.broken), 'file')} could not be surveyed, or only in part, "
            f"beside {counted(len(result.photos), 'photograph')} that could: {causes}"
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Parse ``argv`` (None = the process's own arguments) and run the command."""
    call("survey", argv)
