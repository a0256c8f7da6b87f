"""The verbs of the command line: what each may be told and what it does, known before anything heavy is imported.

A verb's work is the function ``run`` of its module in ``prune.cli``; that module, and PyTorch with it, is imported
only after the command line has been read, so that ``--help`` and a mistyped flag answer at once.
"""

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from prune import errors, progress
from prune.options import Parser, given_values
from prune.recipes import recipe_settings

Config = TypeVar("Config")


@dataclass(frozen=True)
class Verb:
    """A verb of the command line.

    Args:
        description: What it does, in one sentence.
        script: The script that calls it; without one it is called as ``python -m prune NAME``.
    """

    description: str
    script: str = ""


VERBS = {
    "train": Verb("Train or fine-tune a segmentation network.", "train.py"),
    "test": Verb("Score checkpoints on whole images; several are compared.", "test.py"),
    "prune": Verb("Remove channels from a network.", "torchvision_pruning.py"),
    "inference": Verb("Show what a network sees on photographs.", "inference.py"),
    "prepare": Verb("Convert the official S2DS download or color labels into the documented layout."),
    "dataset": Verb(
        "Look through a data set in any known layout: sizes, classes, problems, duplicates, contact sheet.",
    ),
    "synthesize": Verb("Draw S2DS-like images and labels."),
    "score": Verb("Score masks made by any program against labels."),
    "compare": Verb("Compare evaluations of several networks on the same images."),
    "export": Verb(
        "Export a checkpoint to ONNX, OpenVINO, ncnn or a PyTorch program, and compare the file with it.",
    ),
    "inspect": Verb("Print a checkpoint as a card."),
    "models": Verb("List the networks that can be trained, or show the layers of one."),
    "study": Verb(
        "Train once, prune by several criteria, fine-tune each with the same budget, test, tabulate.",
    ),
    "networks": Verb(
        "Train, prune, fine-tune, test and export every network on one data set, and tabulate them.",
    ),
    "demo": Verb("Go through a whole study on synthetic images in a few minutes."),
    "benchmark": Verb(
        "Time networks of any runtime against each other, or measure what the project itself promises.",
    ),
}
"""Every verb by the name of its module in ``prune.cli``."""


def parse(
    config_class: type[Config], description: str, argv: Sequence[str] | None = None, prog: str | None = None
) -> Config:
    """Read a command line (None: the process's own) into a config: defaults, then ``--recipe``, then the flags."""
    parser = Parser(prog=prog, description=description)
    given = given_values(parser, config_class, sys.argv[1:] if argv is None else argv)
    recipe = given.get("recipe")
    settings = {} if recipe is None else recipe_settings(config_class, recipe)
    return config_class(**{**settings, **given})


def options_of(name: str) -> type:
    """The dataclass that the command line of a verb becomes: ``Options`` behind the name of its module in ``prune.cli``."""
    return getattr(importlib.import_module(f"prune.cli.{name}"), f"{name.title()}Options")


def call(name: str, argv: Sequence[str] | None = None) -> None:
    """Read the command line of a verb, then do what it says.

    Args:
        name: A key of ``VERBS``.
        argv: The words behind the verb, None = those of this process.

    Raises:
        UserError: for anything the user can fix.
    """
    verb = VERBS[name]
    options: Any = parse(options_of(name), verb.description, argv, verb.script or f"python -m prune {name}")
    progress.show()
    importlib.import_module(f"prune.cli.{name}").run(options)


def script(name: str) -> int:
    """Run a verb as a program of its own and return the exit code, see ``prune.errors.run``."""
    return errors.run(partial(call, name))
