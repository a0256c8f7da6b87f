"""The counts of a whole set, one row per image: what scores, intervals and paired comparisons are made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.metrics.bootstrap import Interval, differences, intervals, resample
from prune.metrics.calibration import calibration_scores
from prune.metrics.confusion import pixel_scores
from prune.metrics.crack import CrackSettings, in_millimeters
from prune.metrics.crack_scores import boundary_scores, crack_scores, orientations, with_image_means
from prune.metrics.image import ImageCounts

Array = NDArray[np.float64]
MEANS = ("miou", "miou_defects", "pixel_accuracy")


@dataclass(frozen=True)
class Statistics:
    """Counts per image.

    Args:
        stems: Names of the N images, sorted as they were scored.
        matrix: Confusion matrices (N, C, C).
        crack: Counts of the crack class (N,) by name; empty without such a class.
        boundary: Boundary counts (N, C) by name.
        calibration: Calibration bins (N, B) by name; empty when not counted.
        settings: What was counted.
        crack_id: Id of the crack class, None = there is none.
    """

    stems: tuple[str, ...]
    matrix: Array
    crack: Mapping[str, Array]
    boundary: Mapping[str, Array]
    calibration: Mapping[str, Array]
    settings: CrackSettings
    crack_id: int | None

    @classmethod
    def of(
        cls,
        images: Mapping[str, ImageCounts],
        settings: CrackSettings,
        crack_id: int | None,
        *,
        scales: Mapping[str, float] | None = None,
        calibration: Sequence[Mapping[str, Array]] = (),
    ) -> "Statistics":
        """Collect the counts of all images by stem; with ``scales`` (mm per px by stem) lengths are kept in mm too."""
        rows = [
            in_millimeters(counts.crack, scales[stem]) if scales and counts.crack else counts.crack
            for stem, counts in images.items()
        ]
        each = list(images.values())
        return cls(
            tuple(images),
            np.array([counts.matrix for counts in each], float),
            {name: np.array([row[name] for row in rows], float) for name in rows[0]},
            {name: np.array([counts.boundary[name] for counts in each]) for name in each[0].boundary},
            {name: np.array([row[name] for row in calibration]) for name in (calibration[0] if calibration else ())},
            settings,
            crack_id,
        )

    def _table(self) -> dict[str, Array]:
        """Every count under one name, with the means over images."""
        table = {"matrix": self.matrix} | {f"class {name}": value for name, value in self.boundary.items()}
        crack = {} if self.crack_id is None else with_image_means(self._crack_counts(), self.settings)
        return table | dict(self.calibration) | crack

    def _crack_counts(self) -> dict[str, Array]:
        return dict(self.crack) | {name: values[:, self.crack_id] for name, values in self.boundary.items()}

    def _score(self, counts: Mapping[str, Array]) -> dict[str, Array]:
        """Every score by name; those of class i are ``class i <score>``."""
        pixel = pixel_scores(counts["matrix"])
        scores = {name: pixel[name] for name in MEANS}
        of_class = {name: pixel[name] for name in ("iou", "f1")}
        of_class |= boundary_scores({name: counts[f"class {name}"] for name in self.boundary}) if self.boundary else {}
        for name, values in of_class.items():
            scores |= {f"class {i} {name}": values[..., i] for i in range(values.shape[-1])}
        if self.crack_id is not None:
            scores |= crack_scores(counts, self.settings)
        return scores | calibration_scores(counts)

    def intervals(self, seed: int) -> dict[str, Interval]:
        """Every pooled score with its 95% interval: means, ``class i <score>``, and the crack scores by their names."""
        return intervals(self._table(), self._score, seed)

    def differences(self, baseline: "Statistics", seed: int) -> dict[str, Interval]:
        """Every score minus the baseline's on the same images, with the paired interval."""
        return differences(self._table(), baseline._table(), self._score, seed)

    def drawn(self, seed: int) -> tuple[dict[str, float], dict[str, Array]]:
        """Every pooled score, and its values (draws,) over resampled images, see ``prune.metrics.bootstrap``.

        The same seed draws the same images of every set of equal size, so that differences of draws are paired.
        """
        pooled, draws = resample(self._table(), seed)
        return {name: float(value) for name, value in self._score(pooled).items()}, self._score(draws)

    def per_image(self) -> list[dict[str, float]]:
        """The crack scores of every image, NaN where there is none; empty mappings without a crack class."""
        if self.crack_id is None:
            return [{} for _ in self.stems]
        counts = self._crack_counts() | dict(self.calibration)
        scores = crack_scores(counts, self.settings) | orientations(counts) | calibration_scores(counts)
        return [{name: float(values[i]) for name, values in scores.items()} for i in range(len(self.stems))]

    def pooled(self) -> dict[str, Array]:
        """The counts summed over all images."""
        return {name: value.sum(axis=0) for name, value in self._table().items()}

    def to_json(self) -> dict[str, Any]:
        """Plain lists; ``from_json`` is the inverse."""
        groups = {"crack": self.crack, "boundary": self.boundary, "calibration": self.calibration}
        plain = {key: {name: values.tolist() for name, values in group.items()} for key, group in groups.items()}
        return {"images": list(self.stems), "matrix": self.matrix.tolist(), "crack_id": self.crack_id, **plain}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], settings: CrackSettings) -> "Statistics":
        """Read what ``to_json`` wrote.

        Raises:
            ValueError, KeyError: when arrays are missing or do not fit together.
        """
        crack, boundary, calibration = (
            {name: np.array(values, float) for name, values in stored[key].items()}
            for key in ("crack", "boundary", "calibration")
        )
        matrix, images = np.array(stored["matrix"], float), len(stored["images"])
        classes = matrix.shape[-1] if matrix.ndim == 3 else 0
        expected = {"matrix": (images, classes, classes)}
        expected |= dict.fromkeys(crack, (images,)) | dict.fromkeys(boundary, (images, classes))
        for name, shape in expected.items():
            found = {"matrix": matrix, **crack, **boundary}[name].shape
            if found != shape or not images or not classes:
                raise ValueError(f"{name}: expected {shape}, found {found}")
        if any(value.ndim != 2 or len(value) != images for value in calibration.values()):
            raise ValueError(f"calibration: expected a row for each of {images} images")
        if stored["crack_id"] is not None and not 0 <= stored["crack_id"] < classes:
            raise ValueError(f"crack_id: expected less than {classes}, found {stored['crack_id']}")
        return cls(tuple(stored["images"]), matrix, crack, boundary, calibration, settings, stored["crack_id"])
