"""Makes the network that ships from scratch: ``python results/model/make.py DATA --work FOLDER``, or ``make model``.

DATA holds ``concrete800``, ``vt_corrosion`` and ``spalling_mini``, whose repositories say MIT, with train and val in the
documented layout; everything else is drawn. Steps that are done are skipped, a training that was stopped goes on.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PHOTOGRAPHS = ("concrete800", "vt_corrosion", "spalling_mini")
DRAWN = {"concrete": (520, 41), "asphalt": (800, 43), "asphalt2": (800, 44)}
"""Images and seed by folder, which is named after the surface."""
LATE = ("asphalt2",)
"""Drawings whose training images only the last stages see."""
UNSEEN = ("deepcrack256", "cfd")
"""Sets that are only tested on."""
STAGES = (
    ("dense", "data", "", 36, 2e-3),
    ("hard", "data", "--voids 0.4 --class_weights crack=2", 20, 1e-3),
    ("final", "more", "--voids 0.7 --class_weights crack=3", 14, 1e-3),
)
"""Name, training data, options, epochs, and learning rate; each stage starts from the network before it."""
CONFIDENT = 0.7
"""Probability from which a pixel is a crack: fewer false alarms than with 0.5, on validation and on test images."""
SIDE = 384
"""px of the drawings."""
KINDS = ("Images", "Labels_grayscale")
FORMAT = (
    "--model hrsegnet_b32 --classes crack --ema 0.998 --crop_size 192 --batch_size 8 --amp auto --monitor miou_crack "
    "--patience 0 --workers 0 --cache"
)


def prune(work: Path, words: str, *paths: str | Path) -> None:
    """Run a command of this project in the folder ``work``: words without spaces, then flags whose values may have some."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "prune", *words.split(), *map(str, paths)]
    subprocess.run(command, cwd=work, env=environment, check=True)


def draw(work: Path) -> None:
    """The synthetic photographs."""
    for name, (images, seed) in DRAWN.items():
        if len(list((work / name).glob("*/Labels_RGB/*.png"))) < images:
            surface = name.rstrip("2")
            prune(work, f"synthesize {name} --images {images} --size {SIDE} --seed {seed} --surface {surface}")


def gather(folders: list[Path], target: Path) -> None:
    """Put train and val of all ``folders`` into ``target``; every name starts with that of its set."""
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for split in ("train", "val"):
        for kind in KINDS:
            (partial / split / kind).mkdir(parents=True)
            for folder in folders:
                for file in sorted((folder / split / kind).iterdir()):
                    shutil.copyfile(file, partial / split / kind / f"{folder.name}_{file.name}")
    partial.rename(target)


def train(work: Path) -> None:
    """All stages; a training that was stopped goes on, a complete one stays as it is."""
    start = ""
    for name, folder, words, epochs, lr in STAGES:
        begun = "--resume" if (work / "results/runs" / name / "last.pth").exists() else ""
        options = f"{words} --epochs {epochs} --lr {lr} {FORMAT} {start} {begun}"
        prune(work, f"train {folder}/train data/val {name} {options}")
        start = f"--load_pretrained_weights results/models/{name}.pth"


def shift(work: Path) -> None:
    """Lower the network's last bias, so that a crack is what is at least ``CONFIDENT``."""
    from prune.models.checkpoint import load_checkpoint, save_checkpoint

    network = load_checkpoint(work / f"results/models/{STAGES[-1][0]}.pth")
    bias = network.model.get_submodule("classifier")[-1].bias
    bias.data[1] -= math.log(CONFIDENT / (1 - CONFIDENT))
    save_checkpoint(network, work / "results/models/confident.pth")


def card(data: Path, file: Path, notes: Path, fixed: Path) -> None:
    """Score an export on every test split, and write its notes: the fixed ones with the scores added.

    ``cfd`` and ``deepcrack256`` are never trained on; they are scored where DATA holds them.
    """
    from prune import evaluate

    drawings = [notes.parent / name for name in DRAWN if name not in LATE]
    told = ["Test images never trained on, pooled, 95% interval over images:"]
    for folder in [data / name for name in ("concrete800", *UNSEEN)] + drawings:
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
    sets = [data / name for name in PHOTOGRAPHS]
    for target, left_out in (("data", LATE), ("more", ())):
        if not (work / target).exists():
            draw(work)
            gather(sets + [work / name for name in DRAWN if name not in left_out], work / target)
    train(work)
    shift(work)
    notes, fixed = work / "notes.json", Path(__file__).with_name("notes.json")
    target, calibrated = "export confident --to onnx --precision int8 --force", ("--data", data / "concrete800")
    prune(work, f"{target} --output unnoted.onnx", *calibrated)
    card(data, work / "unnoted.onnx", notes, fixed)
    prune(work, f"{target} --output crack.onnx --notes notes.json", *calibrated)
    scored = "--weights crack.onnx --crack_errors store --latency_repeats 0 --output scores.xlsx --force"
    prune(work, "test", data / "concrete800/test", *scored.split())
    print(f"the network is {work / 'crack.onnx'}")


if __name__ == "__main__":
    main()
