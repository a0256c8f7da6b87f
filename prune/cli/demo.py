"""``python -m prune demo``: a complete small study on synthetic images, run through the command lines a user would type."""

import time
from collections.abc import Sequence

from prune.cli.study import StudyOptions
from prune.cli.verbs import call, run_command
from prune.files import FIGURES
from prune.options import with_defaults

DemoOptions = with_defaults(
    StudyOptions,
    "DemoOptions",
    data="data/demo",
    name="demo",
    criteria="Taylor",
    controls=False,
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
"""Options of ``python -m prune demo``: a study sized for ten minutes on two cores, nothing meant for real data."""


def run(options: StudyOptions) -> None:
    """Generate the data, run the study, draw the figures, print the table and where the files are."""
    from prune.cli import defaults, study

    start, data = time.perf_counter(), defaults.DEMO_DATA
    if data.is_dir():
        print(f"demo data are in {data}")
    else:
        drawn = f"--images {defaults.DEMO_IMAGES} --size {defaults.DEMO_SIZE} --seed {defaults.DEMO_SEED}"
        print(f"$ python -m prune synthesize {data} {drawn}")
    defaults.draw_demo_data(data)
    study.run(options)
    tuned = f"{options.name}_taylor_finetuned"
    for mode in ("side_by_side", "overlay", "errors", "save_mask"):
        words = ["--state_dict", tuned, "--image", f"{data}/test/Images", "--mode", mode, "--save_figure"]
        words += [] if options.palette == "standard" else ["--palette", options.palette]
        print(f"\n$ python inference.py {' '.join(words)}")
        run_command("inference.py", words)
    print(f"figures  {FIGURES}\n{(time.perf_counter() - start) / 60:.1f} minutes")


def main(argv: Sequence[str] | None = None) -> None:
    """Parse ``argv`` (None = the process's own arguments) and run the command."""
    call("demo", argv)
