"""``python -m prune export``: a checkpoint in, a file for another runtime out, if it passes the parity gate."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from prune.api.defaults import open_lineage_split
from prune.cli.export import ExportOptions
from prune.data.dataset import Sample, SegmentationDataset, spread, whole_images
from prune.data.find_split import Split
from prune.deployment.export import Target, export
from prune.deployment.parity import Gate, Parity, compare
from prune.errors import UserError
from prune.files import EXPORTS, check_writable, file_mib, find_model, locked, write_json
from prune.hardware import machine_facts, set_threads, versions
from prune.inference.load import load_predictor
from prune.inference.metadata import votes
from prune.inference.predictor import Predictor
from prune.inference.torch import TorchPredictor
from prune.models.checkpoint import Network, load_checkpoint, newest_model
from prune.tables import text_table

CALIBRATION_IMAGES = 64
"""As many photographs as there are, at most this many, calibrate INT8 when no number is given."""
AGREEMENT = {"fp32": 99.9, "bf16": 99.5, "fp16": 99.5, "int8": 95.0}
"""Percent of pixels that must keep their class."""
VALIDATION_IMAGES = 32
"""Images that accuracy control scores a candidate on, at most."""


@dataclass(frozen=True)
class ExportResult:
    """The file, how it compares, and where the report is."""

    file: Path
    report: Path
    parity: Parity
    gates: list[Gate]
    hint: str

    def __str__(self) -> str:
        names = {"miou": "mIoU", "crack_iou": "crack IoU", "crack_lt_iou_4": "crack ltIoU@4"}
        rows = []
        for key, title in names.items():
            values = [self.parity.reference[key], self.parity.exported[key]]
            rows.append([title, *("" if value is None else f"{value:.4f}" for value in values)])
        table = text_table(["on the same images", "checkpoint", "file"], rows)
        logit = self.parity.max_logit_difference
        largest = "" if logit is None else f", largest difference of a logit {logit:.2g}"
        agreement = f"{100 * self.parity.agreement:.3f} % of {self.parity.pixels:,} pixels agree{largest}"
        unjudged = [f"WARNING  {gate}" for gate in self.gates if not gate.judged]
        files = [f"file     {self.file} ({file_mib(self.file):.1f} MiB)", f"report   {self.report}"]
        return "\n".join([table, agreement, *unjudged, *files, *([self.hint] if self.hint else [])])


def tensorrt_hint(file: Path, target: Target) -> str:
    """The command that builds a TensorRT engine from an ONNX file, as its documentation says; not tried on a device."""
    if target.runtime != "onnx":
        return ""
    flags = "--int8 --fp16" if target.precision == "int8" else "--fp16"
    shapes = ""
    if target.size is None:
        sides = (("min", 256), ("opt", 512), ("max", 1024))
        shapes = " " + " ".join(f"--{name}Shapes=image:1x3x{side}x{side}" for name, side in sides)
    note = "; its scales are in the file, no calibration is needed" if target.precision == "int8" else ""
    return (
        f"TensorRT trtexec --onnx={file} --saveEngine={file.with_suffix('.engine')} {flags}{shapes}   (untested{note})"
    )


def _fit(image: NDArray[np.uint8], size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """The middle of a photograph in the one size the file takes; what is missing is mirrored."""
    if size is None:
        return image
    top, left = (max(0, (have - want) // 2) for have, want in zip(image.shape[:2], size, strict=True))
    part = image[top : top + size[0], left : left + size[1]]
    missing = [want - have for have, want in zip(part.shape[:2], size, strict=True)]
    return np.pad(part, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")


def _calibration(network: Network, split: Split, config: ExportOptions) -> list[NDArray[np.float32]]:
    """Normalized photographs of the training split, spread over it.

    Raises:
        UserError: when there are fewer than asked for.
    """
    asked, found = config.calibration_images, len(split.pairs)
    if asked > found:
        raise UserError(f"--calibration_images: expected {asked} photographs in {split.folder}, found {found}")
    number = asked or min(CALIBRATION_IMAGES, found)
    pairs = spread(split, number).pairs
    images = (split.read_image(pair) for pair in tqdm(pairs, desc="calibration images", leave=False))
    return [network.preprocessing.normalize(_fit(image, config.fixed_size)) for image in images]


def _samples(split: Split, most: int) -> Iterator[Sample]:
    """Whole labeled images, at most ``most`` of them, spread over the split."""
    return whole_images(SegmentationDataset(spread(split, most)), 0)


class _Compiled(Predictor):
    """A network NNCF is still working on."""

    def __init__(self, compiled: Any, like: Predictor) -> None:
        self.compiled, self.card = compiled, like.card

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits float32 (1, C, H, W)."""
        return votes(self.compiled(batch)[0], len(self.classes))


def _validator(reference: Predictor, split: Split) -> Callable[[Any], float]:
    """Scores a compiled network: the mean of mIoU and crack ltIoU@4 on labeled images, of the mIoU alone without cracks."""

    def score(compiled: Any) -> float:
        found = compare(reference, _Compiled(compiled, reference), _samples(split, VALIDATION_IMAGES)).exported
        known = [value for value in (found["miou"], found["crack_lt_iou_4"]) if value is not None]
        if not known:
            raise UserError(f"--max_drop: expected labeled pixels in {split.folder}, found none")
        return float(np.mean(known))

    return score


def _reference(network: Network, size: tuple[int, int] | None) -> TorchPredictor:
    """The network in float32, cutting images like the file will."""
    predictor = TorchPredictor(network, torch.device("cpu"))
    predictor.card = replace(predictor.card, size=size)
    return predictor


def _output(config: ExportOptions, network: Network, target: Target) -> Path:
    if config.output:
        if not Path(config.output).name.endswith(target.suffix):
            raise UserError(f"--output: expected a file name ending in {target.suffix}, found {config.output!r}")
        return Path(config.output)
    stem = network.file.stem if network.file else network.architecture
    return EXPORTS / f"{stem}{'' if target.precision == 'fp32' else f'_{target.precision}'}{target.suffix}"


def require_passed(file: Path, gates: Sequence[Gate], accept_unjudged: bool, report: Path) -> None:
    """Raise ``UserError`` for the gates a file does not pass, and for those that cannot be judged unless that is accepted."""
    failed = [gate for gate in gates if gate.judged and not gate.passed]
    if failed:
        raise UserError(f"{file.name} is not the network: {'; '.join(map(str, failed))}; report in {report}")
    unjudged = [gate for gate in gates if not gate.judged]
    if unjudged and not accept_unjudged:
        raise UserError(
            f"{file.name}: {'; '.join(map(str, unjudged))}: compare test images that have some (--data, --parity_images), "
            f"or add --accept_unjudged True; report in {report}"
        )


@contextmanager
def _private_folder(file: Path) -> Iterator[Path]:
    """Where ``file`` and what belongs to it are written before they are judged; no other process may export to it."""
    partial = file.parent / f".{file.name}.partial"
    with locked(file):
        shutil.rmtree(partial, ignore_errors=True)  # a killed export's
        try:
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def export_checkpoint(config: ExportOptions) -> ExportResult:
    """Export a checkpoint and compare the file with it on labeled photographs.

    The file gets its name only when it passes; the report is kept in any case.

    Raises:
        UserError: for anything the user can fix, and when the file fails the parity gate.
    """
    start = time.perf_counter()
    set_threads(config.threads)
    max_drop = None if config.max_drop is None else config.max_drop / 100
    target = Target(config.to, config.precision, config.fixed_size, config.argmax, max_drop)
    network = load_checkpoint(
        find_model(config.checkpoint) if config.checkpoint else newest_model(), config.trust_pickle
    )
    file = _output(config, network, target)
    check_writable(file.parent)
    print(f"model    {network.file}")
    test = open_lineage_split(config, config.data, "test", network, "--data")
    reference = _reference(network, target.size)
    batches: list[NDArray[np.float32]] = []
    if target.precision == "int8":
        train = open_lineage_split(config, config.data, "train", network, "--data")
        batches = _calibration(network, train, config)
        print(f"int8     calibrated with {len(batches)} photographs of {train.folder}")
    validate = None
    if max_drop is not None:
        validate = _validator(reference, open_lineage_split(config, config.data, "val", network, "--data"))
    with _private_folder(file) as partial:
        written = export(network, target, partial / file.name, batches=batches, validate=validate)
        exported = load_predictor(written, threads=config.threads)
        samples = tqdm(_samples(test, config.parity_images), desc="comparing", unit="image", leave=False)
        parity = compare(reference, exported, samples, logits=not target.argmax)
        bound = AGREEMENT[target.precision] if config.min_agreement is None else config.min_agreement
        gates = parity.gates(bound, config.max_miou_drop, config.max_crack_drop)
        report = _report(config, network, file, written, parity, gates, time.perf_counter() - start)
        require_passed(file, gates, config.accept_unjudged, report)
        for part in sorted(partial.iterdir()):
            part.replace(file.parent / part.name)
    return ExportResult(file, report, parity, gates, tensorrt_hint(file, target))


def _report(
    config: ExportOptions,
    network: Network,
    file: Path,
    written: Path,
    parity: Parity,
    gates: list[Gate],
    seconds: float,
) -> Path:
    content = {
        "file": str(file),
        "checkpoint": str(network.file),
        "mib": file_mib(written),
        "parity": parity.to_json(),
        "gates": [asdict(gate) | {"judged": gate.judged, "passed": gate.passed} for gate in gates],
        "judged": all(gate.judged for gate in gates),
        "passed": all(gate.passed or (config.accept_unjudged and not gate.judged) for gate in gates),
        "arguments": asdict(config),
        "machine": machine_facts(torch.device("cpu")),
        "versions": versions(),
        "seconds": round(seconds, 1),
    }
    return write_json(file.with_name(f"{file.name}.json"), content)


def run(config: ExportOptions) -> None:
    """Export and print how the file compares."""
    print(export_checkpoint(config))
