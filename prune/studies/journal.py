"""Runs the project's own command lines one after the other, so that a long job can be interrupted and repeated by hand."""

import json
import time
from pathlib import Path
from typing import Any

from prune.cli import export, inference, prune, test, train
from prune.errors import UserError
from prune.files import RUNS, write_json

VERBS = {
    "train.py": train.main,
    "torchvision_pruning.py": prune.main,
    "test.py": test.main,
    "inference.py": inference.main,
    "-m prune export": export.main,
}


class Journal:
    """Runs the project's own command lines, notes how long each took, and skips what an earlier call has finished.

    Args:
        file: JSON file that remembers commands and seconds.
        data: Data folder, written as ``$DATA`` in what is published.
    """

    def __init__(self, file: Path, data: Path) -> None:
        self.file, self.data = file, data
        self.steps: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []

    def run(self, product: Path, script: str, *arguments: object) -> None:
        """Run ``python SCRIPT ARGUMENTS`` unless the same command already made ``product`` of what is there now."""
        words = [str(a) for a in arguments]
        command = " ".join(["python", script, *words])
        done = [step for step in self.steps if step["command"] == command and "seconds" in step]
        if done and product.exists() and not self._outdated(product, words):
            print(f"\n$ {command}\n  done before, {product}")
            return
        print(f"\n$ {command}", flush=True)
        flags = self._training_flags(product, command) if script == "train.py" else []
        step = {"command": command, "product": str(product)}
        self.steps = [other for other in self.steps if other.get("product") != str(product)] + [step]
        write_json(self.file, self.steps)
        begin = time.perf_counter()
        VERBS[script]([*words, *flags])
        self.steps[-1]["seconds"] = round(time.perf_counter() - begin, 1)
        write_json(self.file, self.steps)

    def _training_flags(self, product: Path, command: str) -> list[str]:
        """Continue a training this journal started, replace one it finished; what others made under the name stays."""
        mine = [step for step in self.steps if step.get("product") == str(product)]
        if any(step["command"] == command and "seconds" not in step for step in mine):
            return ["--resume", "--force"]
        if mine:  # Interrupted before its first epoch, the new training must not continue the one it replaces.
            (RUNS / product.stem / "last.pth").unlink(missing_ok=True)
        return ["--force"] if mine else []

    def _outdated(self, product: Path, words: list[str]) -> bool:
        """Whether a checkpoint the command names was made anew after ``product``."""
        products = [Path(step.get("product", "")) for step in self.steps]
        named = [file for file in products if file.suffix == ".pth" and file.stem in words]
        return any(file.exists() and file.stat().st_mtime > product.stat().st_mtime for file in named)

    def attempt(self, product: Path, script: str, *arguments: object) -> str:
        """``run``, but a user's error does not stop what follows: its message is given back, else an empty string."""
        try:
            self.run(product, script, *arguments)
        except UserError as error:
            self.steps[-1] |= {"error": error.message, "seconds": 0.0}
            print(f"  {error.message}")
            return error.message
        return ""

    def published(self) -> str:
        """The commands with their minutes, as Markdown; the data folder appears as ``$DATA``."""
        lines = [
            f"{step['command'].replace(str(self.data), '$DATA')}   # {step.get('seconds', 0) / 60:.1f} min"
            for step in self.steps
        ]
        return "\n".join(["```sh", *lines, "```"])
