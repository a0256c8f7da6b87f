"""Makes the network that ships from scratch: ``python results/model/make.py DATA --work FOLDER``, or ``make model``.

DATA holds ``concrete800``, ``vt_corrosion`` and ``spalling_mini``, whose repositories say MIT, with train and val in the
documented layout; everything else is drawn. Steps that are done are skipped, a training that was stopped goes on.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PHOTOGRAPHS = ("concrete800", "vt_corrosion", "spalling_mini")
DRAWN = {"concrete": (520, 41), "asphalt": (800, 43)}
"""Images and seed by surface."""
UNSEEN = ("deepcrack256", "cfd")
"""Sets that are only tested on."""
PRUNING = "--pruning_ratio 50 --importance_type Taylor --batches 32 --batch_size 4 --crop_size 256"
SIDE = 384
"""px of the drawings."""
KINDS = ("Images", "Labels_grayscale")
FORMAT = "--crop_size 192 --batch_size 8 --amp auto --monitor miou_crack --patience 0 --workers 0 --cache"


def prune(work: Path, words: str, *paths: str | Path) -> None:
    """Run a command of this project in the folder ``work``: words without spaces, then flags whose values may have some."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "prune", *words.split(), *map(str, paths)]
    subprocess.run(command, cwd=work, env=environment, check=True)


def draw(work: Path) -> None:
    """The synthetic photographs of both surfaces."""
    for surface, (images, seed) in DRAWN.items():
        if len(list((work / surface).glob("*/Labels_RGB/*.png"))) < images:
            prune(work, f"synthesize {surface} --images {images} --size {SIDE} --seed {seed} --surface {surface}")


def gather(data: Path, work: Path) -> None:
    """Put train and val of all sets into ``data/train`` and ``data/val``; every name starts with that of its set."""
    folders = [data / name for name in PHOTOGRAPHS] + [work / name for name in DRAWN]
    partial = work / "data.partial"
    shutil.rmtree(partial, ignore_errors=True)
    for split in ("train", "val"):
        for kind in KINDS:
            (partial / split / kind).mkdir(parents=True)
            for folder in folders:
                for file in sorted((folder / split / kind).iterdir()):
                    shutil.copyfile(file, partial / split / kind / f"{folder.name}_{file.name}")
    partial.rename(work / "data")


def train(words: str, name: str, epochs: int, lr: float, work: Path) -> None:
    """Train from ``words``; a run that was stopped goes on, a complete one stays as it is."""
    begun = ["--resume"] if (work / "results/runs" / name / "last.pth").exists() else []
    rest = f"--epochs {epochs} --lr {lr} {FORMAT} {' '.join(begun)}"
    prune(work, f"train data/train data/val {name} {words} {rest}")


def card(data: Path, file: Path, notes: Path, fixed: Path) -> None:
    """Score an export on every test split, and write its notes: the fixed ones with the scores added.

    ``cfd`` and ``deepcrack256`` are never trained on; they are scored where DATA holds them.
    """
    from prune import evaluate

    folders = [data / name for name in ("concrete800", *UNSEEN)] + [notes.parent / name for name in DRAWN]
    told = ["Test images never trained on, pooled, 95% interval over images:"]
    for folder in folders:
        if (folder / "test").is_dir():
            scores = evaluate(file, folder / "test", latency_repeats=0)
            crack, images = scores.crack, scores.summary["images"]
            assert crack is not None
            text = ", ".join(
                f"{name} {score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"
                for name, score in (("ltIoU@4", crack["lt_iou"]["4"]), ("IoU", crack["iou"]))
            )
            if crack["false_alarm"]["value"] is not None:
                text += f"; false alarms on {crack['false_alarm']['value']:.0%} of its crack-free images"
            unseen = ", a set it never saw" if folder.name in UNSEEN else ""
            drawn = " (drawn)" if folder.name in DRAWN else ""
            told.append(f"{folder.name}{drawn}{unseen}, {images} images: {text}")
    notes.write_text(json.dumps({**json.loads(fixed.read_text()), "scores": told}, indent=1))


def main() -> None:
    """Make everything that is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the sets of photographs")
    parser.add_argument("--work", type=Path, default=Path("model"), help="where everything is made")
    options = parser.parse_args()
    data, work = options.data.resolve(), options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    models = work / "results/models"
    if not (work / "data").exists():
        draw(work)
        gather(data, work)
    train("--model hrsegnet_b32 --classes crack --ema 0.998", "dense", 36, 2e-3, work)
    if not (models / "small.pth").exists():
        prune(work, f"prune --state_dict dense --model_name small --data_dir data {PRUNING}")
    train("--pruned_model small --ema 0.998", "tuned", 12, 1e-3, work)
    notes, fixed = work / "notes.json", Path(__file__).with_name("notes.json")
    target, calibrated = "export tuned --to onnx --precision int8 --force", ("--data", data / "concrete800")
    prune(work, f"{target} --output unnoted.onnx", *calibrated)
    card(data, work / "unnoted.onnx", notes, fixed)
    prune(work, f"{target} --output crack.onnx --notes notes.json", *calibrated)
    scored = "--weights crack.onnx --crack_errors store --latency_repeats 0 --output scores.xlsx --force"
    prune(work, "test", data / "concrete800/test", *scored.split())
    print(f"the network is {work / 'crack.onnx'}")


if __name__ == "__main__":
    main()
