"""The verbs of the command line: what each may be told and what it does, known before anything heavy is imported.

A verb's work is the function ``run`` of its module in ``prune.cli``; that module, and PyTorch with it, is imported
only after the command line has been read, so that ``--help`` and a mistyped flag answer at once.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from prune import config, errors


@dataclass(frozen=True)
class Verb:
    """A verb of the command line.

    Args:
        config: The dataclass its command line becomes.
        description: What it does, in one sentence.
        script: The script that calls it; without one it is called as ``python -m prune NAME``.
    """

    config: type
    description: str
    script: str = ""


VERBS = {
    "train": Verb(config.TrainConfig, "Train or fine-tune a segmentation network.", "train.py"),
    "test": Verb(config.TestConfig, "Score checkpoints on whole images; several are compared.", "test.py"),
    "prune": Verb(config.PruneConfig, "Remove channels from a network.", "torchvision_pruning.py"),
    "inference": Verb(config.InferenceConfig, "Show what a network sees on photographs.", "inference.py"),
    "prepare": Verb(
        config.PrepareConfig, "Convert the official S2DS download or color labels into the documented layout."
    ),
    "dataset": Verb(
        config.DatasetConfig,
        "Look through a data set in any known layout: sizes, classes, problems, duplicates, contact sheet.",
    ),
    "synthesize": Verb(config.SynthesizeConfig, "Draw S2DS-like images and labels."),
    "score": Verb(config.ScoreConfig, "Score masks made by any program against labels."),
    "compare": Verb(config.CompareConfig, "Compare evaluations of several networks on the same images."),
    "export": Verb(
        config.ExportConfig,
        "Export a checkpoint to ONNX, OpenVINO, ncnn or a PyTorch program, and compare the file with it.",
    ),
    "inspect": Verb(config.InspectConfig, "Print a checkpoint as a card."),
    "models": Verb(config.ModelsConfig, "List the networks that can be trained, or show the layers of one."),
    "study": Verb(
        config.StudyConfig,
        "Train once, prune by several criteria, fine-tune each with the same budget, test, tabulate.",
    ),
    "networks": Verb(
        config.NetworksConfig,
        "Train, prune, fine-tune, test and export every network on one data set, and tabulate them.",
    ),
    "demo": Verb(config.DemoConfig, "Go through a whole study on synthetic images in a few minutes."),
    "benchmark": Verb(
        config.BenchmarkConfig,
        "Time networks of any runtime against each other, or measure what the project itself promises.",
    ),
}
"""Every verb by the name of its module in ``prune.cli``."""


def call(name: str, argv: Sequence[str] | None = None) -> None:
    """Read the command line of a verb, then do what it says.

    Args:
        name: A key of ``VERBS``.
        argv: The words behind the verb, None = those of this process.

    Raises:
        UserError: for anything the user can fix.
    """
    verb = VERBS[name]
    settings: Any = config.parse(verb.config, verb.description, argv, verb.script or f"python -m prune {name}")
    importlib.import_module(f"prune.cli.{name}").run(settings)


def script(name: str) -> int:
    """Run a verb as a program of its own and return the exit code, see ``prune.errors.run``."""
    return errors.run(partial(call, name))
