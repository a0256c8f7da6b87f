"""Which of the means of ``prune.deployment.settings.INT8_MEANS`` makes an INT8 file that keeps what its network finds."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from prune.data.dataset import spread
from prune.data.split import Split
from prune.deployment.calibration import CALIBRATION_IMAGES
from prune.deployment.parity import Gate
from prune.errors import UserError
from prune.progress import say

JUDGED_IMAGES = 32
"""Training images that a file is judged on, at most."""


def shortfall(gates: Sequence[Gate]) -> float:
    """How far the worst condition is from being met, in percent or points; 0 = all that can be judged are met."""
    missing = [
        gate.bound - gate.value if gate.relation == ">=" else gate.value - gate.bound
        for gate in gates
        if gate.value is not None
    ]
    return max([0.0, *missing])


def judged_images(train: Split, calibration_images: int) -> Split:
    """Labeled images that INT8 was not calibrated with; where it was with all, those.

    Args:
        train: The training images.
        calibration_images: How many of them calibrate, 0 = up to ``CALIBRATION_IMAGES``.
    """
    used = set(spread(train, calibration_images or CALIBRATION_IMAGES).pairs)
    left = tuple(pair for pair in train.pairs if pair not in used)
    return spread(replace(train, pairs=left or train.pairs), JUDGED_IMAGES)


def best_means(means: Sequence[str], attempt: Callable[[str], Sequence[Gate]]) -> tuple[str, dict[str, float]]:
    """The first means whose file meets its conditions, else those that are missed by least.

    Args:
        means: In the order in which they are tried.
        attempt: Makes a file by means of that name and gives its conditions on the images to judge by.

    Returns:
        Their name, and the ``shortfall`` of all that were tried; infinite where no file could be made.

    Raises:
        UserError: when none of them gives a file.
    """
    tried: dict[str, float] = {}
    failure: UserError | None = None
    for name in means:
        try:
            tried[name] = shortfall(attempt(name))
        except UserError as error:
            tried[name], failure = float("inf"), error
        say("int8", f"{name}: {described(tried[name])}")
        if tried[name] == 0:
            break
    best = min(tried, key=lambda name: tried[name])
    if failure is not None and tried[best] == float("inf"):
        raise failure
    return best, tried


def described(missed: float) -> str:
    """A ``shortfall`` in words."""
    if missed == float("inf"):
        return "no file"
    return f"misses a limit by {missed:.2g}" if missed else "within the limits"
