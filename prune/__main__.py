"""``python -m prune COMMAND``: everything that is not one of the four scripts."""

import importlib
import sys

from prune.errors import UserError, run

COMMANDS = {
    "prepare": "convert the official S2DS download or color labels into the documented layout",
    "dataset": "check a data set of any layout: sizes, classes, mask problems, duplicates, a contact sheet",
    "synthesize": "draw S2DS-like images and labels",
    "score": "score masks made by any program against labels",
    "compare": "compare evaluations of several networks on the same images",
    "export": "export a checkpoint to ONNX, OpenVINO or a PyTorch program",
    "inspect": "print a checkpoint as a card",
    "models": "list the networks that can be trained, or show the layers of one",
    "study": "train once, prune by several criteria, fine-tune each, test, tabulate",
    "networks": "train, prune, fine-tune, test and export every network on one data set, tabulate",
    "demo": "the whole journey on synthetic images in a few minutes",
    "benchmark": "time networks of any runtime, or measure the project's own speed and memory",
}


def main() -> None:
    """Hand the rest of the command line to the named command.

    Raises:
        UserError: for an unknown command; the message lists the known ones.
    """
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        print("usage: python -m prune COMMAND ...\n")
        print("\n".join(f"  {command:12} {text}" for command, text in COMMANDS.items()))
        return
    if name not in COMMANDS:
        raise UserError(f"unknown command {name!r}: expected one of {', '.join(COMMANDS)}")
    importlib.import_module(f"prune.commands.{name}").main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(run(main))
