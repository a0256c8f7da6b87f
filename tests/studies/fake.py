"""Work for trials that takes no time: networks are text files, scores follow from drawn masks."""

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from prune.errors import UserError
from prune.metrics.crack import CrackSettings
from prune.metrics.image import ImageScorer
from prune.metrics.statistics import Statistics

PLAN = {
    "name": "s",
    "classes": "crack",
    "networks": ["deeplabv3_tiny"],
    "criteria": ["L2"],
    "ratios": [50],
    "seeds": [0, 1],
    "train": {"epochs": 2},
    "finetune": {"epochs": 1},
}


def statistics(quality: float, seed: int, images: int = 3) -> dict[str, Any]:
    """Counts of drawn masks: a column of crack, of which a share ``quality`` is found."""
    rng, scorer = np.random.default_rng(seed), ImageScorer(2, 1, CrackSettings())
    counts = {}
    for number in range(images):
        label = np.zeros((16, 16), np.uint8)
        label[:, 3 + 4 * number : 5 + 4 * number] = 1
        found = np.where(rng.random(label.shape) < quality, label, 0).astype(np.uint8)
        counts[f"{number}"] = scorer(found, label)
    return Statistics.of(counts, CrackSettings(), 1).to_json()


def work(task: Mapping[str, Any]) -> dict[str, Any]:
    """Note that the trial ran; make its network, or its scores."""
    folder, settings, seed = Path(task["folder"]), task["settings"], int(task["settings"].get("seed", 0))
    with Path(folder.parent, "ran.txt").open("a") as notes:
        notes.write(f"{task['label']}\n")
    trouble = folder.parent / "trouble.txt"
    if trouble.exists():
        for line in trouble.read_text().splitlines():
            label, _, what = line.partition("=")
            if label in task["label"]:
                _make_trouble(what, trouble)
    if task["kind"] == "latency":
        return {"ms": 5.0, "dense_ms": 10.0}
    if task["kind"] != "evaluate":
        parents = [Path(p, "network.pth").read_text() for p in task["parents"].values()]
        (folder / "network.pth").write_text(
            f"{task['kind']} {seed} {settings.get('importance_type', '')} | {' | '.join(parents)}"
        )
        return {"made": task["kind"]}
    network = Path(task["parents"]["network"], "network.pth").read_text()
    quality = 0.5 if "Random" in network else 0.7 if "prune" in network else 0.9
    summary = {"parameters": 1000 if quality == 0.9 else 300, "macs": 2e9 if quality == 0.9 else 6e8, "file_mib": 1.0}
    summary["macs"] *= 4 if network.startswith("export") else 1  # of an input of twice the side
    conditions = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(CrackSettings()).items()}
    return {"summary": summary, "conditions": conditions, "statistics": statistics(quality, len(network))}


def _make_trouble(what: str, trouble: Path) -> None:
    if what == "full":
        raise OSError(28, "No space left on device")
    if what == "refuse":
        raise UserError("--pruning_ratio: nothing is left")
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "die once":
        trouble.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(float(what))
