"""What ``prune.export`` writes: the file of a network, INT8 by the means that are asked for, found, or by training."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import fx

from prune.api.inputs import Data, opened_data
from prune.data.split import Split
from prune.deployment.calibration import calibration_batches
from prune.deployment.export import export as write_export
from prune.deployment.means import best_means, judged_images
from prune.deployment.parity import Gate, compare, labeled_samples, validator
from prune.deployment.qat import train_with_rounding
from prune.deployment.settings import INT8_MEANS, ExportSettings
from prune.deployment.target import Batches, ExportTarget
from prune.errors import UserError
from prune.inference.load import load_predictor
from prune.inference.predictor import Predictor
from prune.models.checkpoint import Network, new_stage
from prune.progress import say

AnyData = Data | Mapping[str, Split]
"""A data folder, a split, or a split for each role (train, val, test)."""


@dataclass(frozen=True)
class LabeledImages:
    """Where the labeled images of every role come from."""

    data: AnyData | None
    network: Network
    settings: ExportSettings

    def __call__(self, role: str, purpose: str) -> Split:
        """The labeled images of a role.

        Raises:
            UserError: when none are named; ``purpose`` says what they are for.
        """
        named = self.data.get(role) if isinstance(self.data, Mapping) else self.data
        if named is None:
            raise UserError(f"--data: expected labeled photographs {purpose}, found none: name a data folder")
        return opened_data("data", named, role, self.network.classes, self.settings)


@dataclass
class Writer:
    """Writes a network to a file; INT8 by the means that are asked for, found, or by training.

    Args:
        network: What is exported; its lineage gets the training with rounding.
        target: What to.
        settings: How.
        images: Labeled images.
        reference: The network as files are compared with it.
        teacher: What it learns from in quantization-aware training, None = itself.
    """

    network: Network
    target: ExportTarget
    settings: ExportSettings
    images: LabeledImages
    reference: Predictor
    teacher: Network | None = None
    means: str = field(default="", init=False)
    """How INT8 was made, empty = it was not."""
    tried: dict[str, float] = field(default_factory=dict, init=False)
    """What the means that were tried miss a limit by, see ``prune.deployment.means.shortfall``."""

    def prepare(self) -> None:
        """Read what INT8 needs, and train; nothing for other numbers.

        Raises:
            UserError: for missing photographs, and what ``train_with_rounding`` raises.
        """
        self._batches: Batches = []
        self._rounded: fx.GraphModule | None = None
        self._validate: Callable[[Any], float] | None = None
        if self.target.precision != "int8":
            return
        chosen = self.settings
        purpose = "to train with rounding on" if chosen.qat_epochs else "to calibrate int8 with"
        self._train, preprocessing = self.images("train", purpose), self.network.preprocessing
        self._batches = calibration_batches(self._train, preprocessing, self.target.size, chosen.calibration_images)
        say("int8", f"calibrated with {len(self._batches)} photographs of {self._train.folder}")
        if self.target.max_drop is not None:
            self._validate = validator(self.reference, self.images("val", "to score candidates for max_drop on"))
        if chosen.qat_epochs:
            val = self.images("val", "to choose the best epoch on")
            self._rounded = train_with_rounding(self.network, self._train, val, self._batches, chosen, self.teacher)

    def write(self, file: Path) -> None:
        """Write the file.

        Raises:
            UserError: see ``prune.deployment.export.export``.
        """
        if self.target.precision != "int8":
            write_export(self.network, self.target, file)
        elif self._rounded is not None:
            self._write_int8("qat", file)
        elif self.settings.int8_means != "auto" or self._validate is not None:
            self._write_int8(self.target.means, file)
        else:
            self._write_best(file)

    def _write_int8(self, means: str, file: Path) -> None:
        """Write an INT8 file that names its means."""
        stage = new_stage("quantize", {"means": means, "calibration_images": len(self._batches)}, {})
        network = replace(self.network, lineage=[*self.network.lineage, stage])
        target = self.target if self._rounded is not None else replace(self.target, means=means)
        given: dict[str, Any] = {"batches": self._batches, "validate": self._validate, "rounded": self._rounded}
        write_export(network, target, file, **given)
        self.means = means

    def _write_best(self, file: Path) -> None:
        """Try all means in order until one passes on training images that INT8 was not calibrated with."""
        chosen, judged = self.settings, judged_images(self._train, self.settings.calibration_images)

        def attempt(means: str) -> list[Gate]:
            candidate = file.parent / means / file.name
            self._write_int8(means, candidate)
            exported = load_predictor(candidate, threads=chosen.threads)
            found = compare(self.reference, exported, labeled_samples(judged, 0), logits=not self.target.argmax)
            return found.gates(chosen.agreement, chosen.max_miou_drop, chosen.max_crack_drop)

        self.means, self.tried = best_means(INT8_MEANS[self.target.runtime], attempt)
        for part in (file.parent / self.means).iterdir():
            part.replace(file.parent / part.name)
        for means in self.tried:
            shutil.rmtree(file.parent / means, ignore_errors=True)
