"""``python -m prune demo``: the whole journey on synthetic images, through the command lines a user would type."""

import time
from pathlib import Path

from prune.api.defaults import DEMO_IMAGES, DEMO_SEED, DEMO_SIZE, draw_demo_data
from prune.cli import inference
from prune.cli.study import StudyOptions
from prune.files import FIGURES, METRICS
from prune.studies.study import study

DATA = Path("data/demo")


def run(config: StudyOptions) -> None:
    """Draw the data, run the study, draw the figures, print the table and where everything lies."""
    start = time.perf_counter()
    if DATA.is_dir():
        print(f"demo data are in {DATA}")
    else:
        print(f"$ python -m prune synthesize {DATA} --images {DEMO_IMAGES} --size {DEMO_SIZE} --seed {DEMO_SEED}")
    draw_demo_data(DATA)
    result = study(config)
    tuned = f"{config.name}_taylor_finetuned"
    for mode in ("side_by_side", "overlay", "save_mask"):
        words = ["--state_dict", tuned, "--image", f"{DATA}/test/Images", "--mode", mode, "--save_figure"]
        print(f"\n$ python inference.py {' '.join(words)}")
        inference.main(words)
    print(result)
    print(f"workbook {METRICS / f'{tuned}.xlsx'}\nfigures  {FIGURES}\n{(time.perf_counter() - start) / 60:.1f} minutes")
