"""The verbs of the command line: their options and descriptions, known before anything heavy is imported.

A verb's work is the function ``run`` of its module in ``prune.cli``; that module, and PyTorch with it, is imported
only after the command line has been read, so that ``--help`` and a mistyped flag answer at once.
"""

import difflib
import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from prune import progress
from prune.errors import UserError
from prune.options import Parser, given_values
from prune.recipes import recipe_settings
from prune.training.ranks import first_prints, one_message
from prune.version import VERSION

Config = TypeVar("Config")


@dataclass(frozen=True)
class Verb:
    """A verb of the command line.

    Args:
        description: What it does, in one sentence.
        script: The script that calls it, beside ``python -m prune NAME``.
    """

    description: str
    script: str = ""


VERBS = {
    "train": Verb("Train or fine-tune a segmentation network.", "train.py"),
    "test": Verb("Score checkpoints on whole images; several are compared.", "test.py"),
    "prune": Verb("Remove channels from a network.", "torchvision_pruning.py"),
    "inference": Verb("Show what a network finds in photographs.", "inference.py"),
    "app": Verb("Open the page: photographs, networks, measures and corrections in the browser.", "app.py"),
    "prepare": Verb("Convert the official S2DS download or color labels into the documented layout."),
    "dataset": Verb(
        "Check a data set in any known layout: sizes, classes, problems, duplicates, contact sheet.",
    ),
    "synthesize": Verb("Generate S2DS-like images and labels."),
    "score": Verb("Score masks from any program against labels."),
    "compare": Verb("Compare evaluations of several networks on the same images."),
    "export": Verb(
        "Export a checkpoint to ONNX, OpenVINO, ncnn or a PyTorch program, and compare the file with the checkpoint.",
    ),
    "survey": Verb("Find and measure defects in photographs of a structure, and write a report."),
    "inspect": Verb("Print a summary card of any network file."),
    "models": Verb("List the networks that can be trained, or show the layers of one."),
    "study": Verb(
        "Compare pruning criteria, ratios and networks over seeds, with controls, intervals and a report.",
    ),
    "networks": Verb(
        "Train, prune, fine-tune, test and export every network on one data set, and tabulate the results.",
    ),
    "demo": Verb("Run a complete small study on synthetic images in a few minutes."),
    "benchmark": Verb(
        "Time networks of any runtime side by side, or measure the project's own performance figures.",
    ),
}
"""Every verb by the name of its module in ``prune.cli``."""
SYNONYMS = {"predict": "inference"}
"""Other names of verbs: the function of the library is called so."""
EXTRAS = {
    "runtime": ("onnxruntime",),
    "openvino": ("openvino", "nncf"),
    "ncnn": ("ncnn",),
    "export": ("onnx", "onnxscript", "pnnx"),
    "encoders": ("segmentation_models_pytorch",),
    "pretrained": ("h5py",),
    "tensorboard": ("tensorboard",),
    "cluster": ("ray",),
    "web": ("gradio",),
    "train": (
        "torch",
        "torchvision",
        "torch_pruning",
        "scipy",
        "pandas",
        "openpyxl",
        "matplotlib",
        "tqdm",
        "filelock",
        "psutil",
    ),
}
"""The packages of every extra of the installation, by the names they are imported by."""
WITHOUT_TORCH = {"score": "score", "compare": "score", "survey": "score"}
"""The extra that is enough for verbs that need no PyTorch."""


def parse(
    config_class: type[Config], description: str, argv: Sequence[str] | None = None, prog: str | None = None
) -> Config:
    """Read a command line (None = the process's own) into a config: defaults, then ``--recipe``, then the flags."""
    parser = Parser(prog=prog, description=description)
    given = given_values(parser, config_class, sys.argv[1:] if argv is None else argv)
    recipe = given.get("recipe")
    settings = {} if recipe is None else recipe_settings(config_class, recipe)
    make: Any = getattr(config_class, "from_given", None)  # a verb that remembers earlier settings fills them in
    return make({**settings, **given}) if make else config_class(**{**settings, **given})


def options_of(name: str) -> type:
    """The dataclass that the command line of a verb becomes: ``Options`` behind the name of its module in ``prune.cli``."""
    return getattr(importlib.import_module(f"prune.cli.{name}"), f"{name.title()}Options")


@contextmanager
def missing_packages_named(name: str) -> Iterator[None]:
    """Turn a package that verb ``name`` needs and that is not installed into one line that says how to install it.

    Raises:
        UserError: naming the extra of the installation.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        extra = next((extra for extra, packages in EXTRAS.items() if package in packages), None)
        extra = WITHOUT_TORCH.get(name, extra) if extra == "train" and package != "torch" else extra
        if extra is None:
            raise
        install = f"pip install prune-crackseg[{extra}]"
        raise UserError(f"{name}: needs {package}, which is not installed: {install}") from error


def call(name: str, argv: Sequence[str] | None = None, prog: str = "") -> None:
    """Parse the command line of a verb and run it.

    Args:
        name: A key of ``VERBS``.
        argv: The arguments after the verb, None = those of this process.
        prog: What the user typed before ``argv``, for help and messages; empty = the verb's script, or ``python -m prune``.

    Raises:
        UserError: for anything the user can fix.
    """
    verb = VERBS[name]
    with one_message(), missing_packages_named(name):
        with first_prints():
            known = prog or verb.script or f"python -m prune {name}"
            options: Any = parse(options_of(name), verb.description, argv, known)
        with progress.shown_or_not(True):
            importlib.import_module(f"prune.cli.{name}").run(options)


def run_command(command: str, words: Sequence[str]) -> None:
    """Run a command line of this project in this process.

    Args:
        command: What stands between ``python`` and the words: ``train.py`` or ``-m prune export``.
        words: What is typed behind it.
    """
    scripts = {verb.script: name for name, verb in VERBS.items() if verb.script}
    call(scripts.get(command) or command.removeprefix("-m prune "), words)


def verb_list() -> str:
    """Every verb on a line of its own."""
    others = {name: f" (also: {other})" for other, name in SYNONYMS.items()}
    return "\n".join(f"  {name:12} {verb.description}{others.get(name, '')}" for name, verb in VERBS.items())


def main(prog: str) -> None:
    """Pass the process's arguments after the verb to that verb.

    Args:
        prog: What the user typed before them.

    Raises:
        UserError: for an unknown verb; the message suggests the nearest, else lists all.
    """
    word = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if word in ("-h", "--help"):
        print(f"usage: {prog} VERB ...\n\n{verb_list()}\n\n{prog} VERB --help lists the options of a verb")
        return
    if word in ("-V", "--version"):
        print(f"prune-crackseg {VERSION}")
        return
    name = SYNONYMS.get(word, word)
    if name not in VERBS:
        known = [*VERBS, *SYNONYMS]
        near = difflib.get_close_matches(word, known, n=1)
        hint = f", did you mean {near[0]}?" if near else f": expected one of {', '.join(known)}"
        raise UserError(f"unknown command {word!r}{hint}")
    call(name, sys.argv[2:], f"{prog} {word}")
