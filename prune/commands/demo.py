"""``python -m prune demo``: the whole journey on synthetic images, through the command lines a user would type."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from prune.commands import inference, study
from prune.commands.defaults import DEMO_IMAGES, DEMO_SEED, DEMO_SIZE, draw_demo_data
from prune.config import StudyConfig, parse
from prune.files import FIGURES, METRICS

DATA = Path("data/demo")
DEMO = StudyConfig(
    data=str(DATA),
    name="demo",
    criteria="Taylor",
    epochs=6,
    finetune_epochs=18,
    batch_size=4,
    crop_size=96,
    class_weights="sqrt_inverse",
    lr=1e-3,
    finetune_lr=1e-3,
    latency_size=128,
    latency_repeats=3,
    figures=4,
    workers=0,
)
"""Sized for ten minutes on two cores, installation included; nothing here is meant for real data."""


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the data, run the study, draw the figures, print the table and where everything lies."""
    start = time.perf_counter()
    given = parse(StudyConfig, "The whole journey on synthetic images.", argv, "python -m prune demo")
    changed = {key: value for key, value in vars(given).items() if value != getattr(StudyConfig(), key)}
    config = replace(DEMO, **changed)
    if DATA.is_dir():
        print(f"demo data are in {DATA}")
    else:
        print(f"$ python -m prune synthesize {DATA} --images {DEMO_IMAGES} --size {DEMO_SIZE} --seed {DEMO_SEED}")
        draw_demo_data(DATA)
    result = study.study(config)
    tuned = f"{config.name}_taylor_finetuned"
    for mode in ("side_by_side", "overlay", "save_mask"):
        words = ["--state_dict", tuned, "--image", f"{DATA}/test/Images", "--mode", mode, "--save_figure"]
        print(f"\n$ python inference.py {' '.join(words)}")
        inference.main(words)
    print(result)
    print(f"workbook {METRICS / f'{tuned}.xlsx'}\nfigures  {FIGURES}\n{(time.perf_counter() - start) / 60:.1f} minutes")
