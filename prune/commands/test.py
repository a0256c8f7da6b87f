"""``test.py``: a checkpoint and a test split in, a workbook and the same numbers as JSON out."""

import datetime
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from prune.checkpoint import Network, load_checkpoint, newest_model, require_classes
from prune.commands.defaults import data_folder
from prune.config import TestConfig, parse
from prune.data.dataset import SegmentationDataset, whole_images
from prune.data.labels import S2DS, ClassSet
from prune.data.layout import Split, find_split
from prune.engine.evaluation import Evaluation, ImageResult, evaluate
from prune.files import METRICS, check_writable, find_model, write_json
from prune.hardware import autocast_type, choose_device, machine_facts, set_threads, versions
from prune.metrics.confusion import Scores, blank
from prune.models.cost import count, measure_latency
from prune.predict import Predictor
from prune.report.tables import text_table
from prune.report.workbook import write_workbook


@dataclass(frozen=True)
class TestResult:
    """The evaluation as plain values (see ``prune.report.workbook``) and where it was written."""

    __test__ = False  # pytest would take the name for a test class

    content: dict[str, Any]
    workbook: Path
    json: Path

    def __str__(self) -> str:
        names = ("iou", "precision", "recall", "f1")
        rows: list[list[Any]] = []
        for row in self.content["per_class"]:
            scores = ["" if row[name] is None else f"{row[name]:.4f}" for name in names]
            rows.append([row["class"], *scores, f"{row['support']:,}"])
        summary = self.content["summary"]
        shown = ("miou", "miou_defects", "pixel_accuracy", "loss")
        means = "  ".join(f"{name} {summary[name]:.4f}" for name in shown if summary[name] is not None)
        table = text_table(["class", "IoU", "precision", "recall", "F1", "support px"], rows)
        return f"{table}\n{means}\nworkbook {self.workbook}\njson     {self.json}"


def _summary(network: Network, result: Evaluation, config: TestConfig) -> dict[str, Any]:
    size = (config.latency_size, config.latency_size)
    parameters, macs = count(network.model, size)
    shape = f"3x{size[0]}x{size[1]}"
    scores = result.scores
    crack = S2DS.index("crack")
    summary: dict[str, Any] = {
        "model": network.file.stem if network.file else network.architecture,
        "file": str(network.file),
        "architecture": network.architecture,
        "lineage": network.history(),
        "parameters": parameters,
        "macs": macs,
        "macs_input": shape,
        "file_mib": network.file.stat().st_size / 2**20 if network.file else None,
        "latency_ms": None,
        "latency_input": f"1x{shape}",
        "latency_device": "",
        "latency_threads": torch.get_num_threads(),
        "images": len(result.images),
        "miou": blank(scores.miou),
        "miou_defects": blank(scores.miou_defects),
        "crack_iou": None if crack is None else blank(scores.iou[crack]),
        "pixel_accuracy": blank(scores.pixel_accuracy),
        "loss": blank(result.loss),
    }
    if config.latency_repeats:
        device = choose_device(config.device)
        latency = measure_latency({"network": network.model}, size, config.latency_repeats, device)["network"]
        summary |= {"latency_ms": latency.median_ms, "latency_device": latency.device}
    return summary


def _image_row(image: ImageResult, classes: ClassSet) -> dict[str, Any]:
    scores = Scores.of(image.matrix)
    return {
        "image": image.stem,
        "width": image.width,
        "height": image.height,
        "pixel_accuracy": blank(scores.pixel_accuracy),
        "miou": blank(scores.miou),
        "loss": blank(image.loss),
        "iou": {name: blank(scores.iou[i]) for i, name in enumerate(classes.classes)},
    }


def _run_facts(config: TestConfig, split: Split, seconds: dict[str, float], started: str) -> dict[str, Any]:
    return {
        "started": started,
        "arguments": asdict(config),
        "versions": versions(),
        "data": {
            "folder": str(split.folder),
            "layout": split.layout,
            "images": len(split.pairs),
            "fingerprint": split.fingerprint(),
        },
        "machine": machine_facts(choose_device(config.device)),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }


def model_file(config: TestConfig) -> Path:
    """The checkpoint the flags mean: a named one, the newest pruned one, or the newest."""
    named = config.pruned_model or config.weights
    return find_model(named) if named else newest_model(pruned=True if config.use_pruned else None)


def evaluation_content(
    network: Network, split: Split, result: Evaluation, config: TestConfig, started: str
) -> dict[str, Any]:
    """Everything the workbook and the JSON file say, as plain values; None is blank."""
    scores = result.scores
    content = {
        "summary": _summary(network, result, config),
        "per_class": scores.per_class(S2DS.classes),
        "confusion": {
            "classes": list(S2DS.classes),
            "counts": scores.matrix.tolist(),
            "row_normalized": scores.row_normalized(),
        },
        "per_image": [_image_row(image, S2DS) for image in result.images],
    }
    return content | {"run": _run_facts(config, split, result.seconds, started)}


def test(config: TestConfig) -> TestResult:
    """Score a checkpoint on whole images at their own size and write the workbook and its JSON.

    Raises:
        UserError: for anything the user can fix.
    """
    set_threads(config.threads)
    device = choose_device(config.device)
    file = model_file(config)
    split = find_split(Path(config.test_dir) if config.test_dir else data_folder() / "test", S2DS)
    print(f"model    {file}\ntest     {len(split.pairs)} images in {split.folder}")
    network = load_checkpoint(file, config.trust_pickle)
    require_classes(network, S2DS)
    workbook = Path(config.output) if config.output else METRICS / f"{file.stem}.xlsx"
    check_writable(workbook.parent)
    started = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    predictor = Predictor(network, device, autocast_type(config.amp, device), config.channels_last)
    dataset = SegmentationDataset(split)
    result = evaluate(predictor, whole_images(dataset, config.workers), len(dataset), "testing")
    content = evaluation_content(network, split, result, config, started)
    start = time.perf_counter()
    write_workbook(content, workbook)
    content["run"]["seconds"]["writing"] = round(time.perf_counter() - start, 3)
    return TestResult(content, workbook, write_json(workbook.with_suffix(".json"), content))


test.__test__ = False  # type: ignore[attr-defined]


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line of ``test.py``, score, print the table."""
    print(test(parse(TestConfig, "Score a checkpoint on whole images.", argv, "test.py")))
