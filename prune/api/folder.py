"""A folder of photographs on its way through the networks: read, look, draw and write, all at the same time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from prune.api.views import Seen, Subject, draw, look
from prune.cli.inference import InferenceOptions
from prune.data.images import image_size, read_image
from prune.data.labels import ClassSet
from prune.errors import UserError
from prune.inference.pipeline import Gate, Limits, Pipeline, Stage
from prune.inference.predictor import WHOLE_SIDE, Predictor
from prune.inference.replicas import Replicas
from prune.report.figures import Picture, save_image, save_mask

PIXELS_UNDER_WAY = 48_000_000
"""Of the photographs that are read and not yet written: two of 24 megapixels. Each takes 7 to 16 bytes."""
SMALL_PIXELS = 2**20
"""Photographs of up to so many pixels keep every network busy; of larger ones fewer go through networks at a time, but
always two that go through in one piece. What is cut into tiles goes through alone."""


@dataclass
class Shot:
    """A photograph on its way through the pipeline.

    Args:
        photo: Its file.
        path: The file of its picture.
        image: uint8 (H, W, 3), RGB, once it was read; None again when its pictures are done.
        error: Why it cannot be read.
        seen: What the network says.
        picture: To be shown, when nothing is to be written.
        files: Those written.
    """

    photo: Path
    path: Path
    image: Picture | None = None
    error: UserError | None = None
    seen: Seen | None = None
    picture: Picture | None = None
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Steps:
    """What happens to a photograph, step by step; each is a stage of the pipeline."""

    config: InferenceOptions
    subject: Subject
    classes: ClassSet
    networks: Gate[Predictor]

    def read(self, shot: Shot) -> Shot:
        """Decode it. A damaged one goes on with its error."""
        try:
            shot.image = read_image(shot.photo)
        except UserError as error:
            shot.error = error
        return shot

    def look(self, shot: Shot) -> Shot:
        """Run a network."""
        if shot.image is not None:
            with self.networks.lent(shot.image.shape[0] * shot.image.shape[1]) as predictor:
                shot.seen = look(shot.image, predictor, self.subject)
        return shot

    def finish(self, shot: Shot) -> Shot:
        """Draw, and write what is to be written; arrays no longer needed are dropped."""
        image, seen, mode = shot.image, shot.seen, self.subject.mode
        if image is None or seen is None:
            return shot
        if self.config.save_figure and mode == "save_mask" and seen.class_map is not None:
            shot.files = (save_mask(seen.class_map, self.classes, shot.path),)
        else:
            pictures = draw(image, seen, mode, self.classes, self.config.opacity)
            if self.config.save_figure:
                paths = [shot.path, *(shot.path.with_name(f"{shot.path.stem}{end}.png") for end in pictures if end)]
                shot.files = tuple(map(save_image, pictures.values(), paths))
            else:
                shot.picture = pictures[""]
        shot.image, shot.seen = None, replace(seen, class_map=None, heat=None)
        return shot


def _pixels(shot: Shot) -> int:
    """Of the photograph, from its header; a damaged one has none."""
    try:
        height, width = image_size(shot.photo)
    except UserError:
        return 0
    return height * width


def segmented(shots: Sequence[Shot], config: InferenceOptions, subject: Subject, replicas: Replicas) -> Iterator[Shot]:
    """The photographs, done, in their order; reading, networks and writing overlap.

    Pictures and counts do not depend on the number of networks and threads, as far as the runtime's own results do not.

    Args:
        shots: The photographs.
        config: What to draw and whether to write it.
        subject: What to look at.
        replicas: The networks.
    """
    count, helpers = len(replicas.predictors), max(2, replicas.threads * len(replicas.predictors))
    room = max(2 * WHOLE_SIDE**2, count * SMALL_PIXELS)
    steps = Steps(config, subject, replicas.predictors[0].classes, Gate(replicas.predictors, room))
    stages = Stage(steps.read, helpers), Stage(steps.look, count), Stage(steps.finish, helpers)
    with Pipeline(stages, Limits(count + 2 * helpers, PIXELS_UNDER_WAY, _pixels)) as pipeline:
        for predictor in replicas.predictors:
            predictor.stopped = pipeline.stopped
        yield from pipeline(shots)
