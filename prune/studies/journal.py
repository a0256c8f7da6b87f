"""Runs the project's own command lines one after the other, so that a long job can be interrupted and repeated by hand."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prune.errors import UserError
from prune.files import RUNS, write_json
from prune.progress import tell

RunCommand = Callable[[str, Sequence[str]], None]
"""Runs a command line of this project: what stands behind ``python``, ``train.py`` or ``-m prune export``, and its words."""


class Journal:
    """Runs the project's own command lines, notes how long each took, and skips what an earlier call has finished.

    Args:
        file: JSON file that remembers commands and seconds.
        data: Data folder, written as ``$DATA`` in what is published.
        run_command: Runs a command line.
        force: Replace what other commands of the same journal made.
    """

    def __init__(self, file: Path, data: Path, run_command: RunCommand, *, force: bool = False) -> None:
        self.file, self.data, self.run_command, self.force = file, data, run_command, force
        self.steps: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []

    def run(self, product: Path, script: str, *arguments: object) -> None:
        """Run ``python SCRIPT ARGUMENTS`` unless the same command already made ``product`` of what is there now.

        Raises:
            UserError: when another command made it, unless forced; and whatever the command raises.
        """
        words = [str(a) for a in arguments]
        command = self._claim(product, script, words)
        done = [step for step in self.steps if step["command"] == command and "seconds" in step]
        if done and product.exists() and not self._outdated(product, words):
            tell(f"\n$ {command}\n  done before, {product}")
            return
        tell(f"\n$ {command}")
        flags = self._flags(product, script, command)
        step = {"command": command, "product": str(product)}
        self.steps = [other for other in self.steps if other.get("product") != str(product)] + [step]
        write_json(self.file, self.steps)
        begin = time.perf_counter()
        self.run_command(script, [*words, *flags])
        self.steps[-1]["seconds"] = round(time.perf_counter() - begin, 1)
        write_json(self.file, self.steps)

    def _claim(self, product: Path, script: str, words: Sequence[str]) -> str:
        """The command line that is to make ``product``; raises ``UserError`` when it would replace another's."""
        command = " ".join(["python", script, *words])
        made = [step for step in self.steps if step.get("product") == str(product) and "seconds" in step]
        if made and made[-1]["command"] != command and product.exists() and not self.force:
            raise UserError(
                f"{product} was made with other settings ({made[-1]['command']}): choose another NAME or add --force"
            )
        return command

    def _flags(self, product: Path, script: str, command: str) -> list[str]:
        """Continue a training this journal started, replace what it finished; what others made under the name stays."""
        mine = [step for step in self.steps if step.get("product") == str(product)]
        if script != "train.py":
            return ["--force"] if mine else []
        if any(step["command"] == command and "seconds" not in step for step in mine):
            return ["--resume", "--force"]
        if mine:  # Interrupted before its first epoch, the new training must not continue the one it replaces.
            (RUNS / product.stem / "last.pth").unlink(missing_ok=True)
        return ["--force"] if mine else []

    def _outdated(self, product: Path, words: list[str]) -> bool:
        """Whether a checkpoint the command names was rewritten after ``product``."""
        products = [Path(step.get("product", "")) for step in self.steps]
        named = [file for file in products if file.suffix == ".pth" and file.stem in words]
        return any(file.exists() and file.stat().st_mtime > product.stat().st_mtime for file in named)

    def attempt(self, product: Path, script: str, *arguments: object) -> str:
        """``run``, but a user's error does not stop what follows: its message is given back, else an empty string."""
        self._claim(product, script, [str(a) for a in arguments])
        try:
            self.run(product, script, *arguments)
        except UserError as error:
            self.steps[-1] |= {"error": error.message, "seconds": 0.0}
            tell(f"  {error.message}")
            return error.message
        return ""

    def published(self) -> str:
        """The commands with their minutes, as Markdown; the data folder appears as ``$DATA``."""
        lines = [
            f"{step['command'].replace(str(self.data), '$DATA')}   # {step.get('seconds', 0) / 60:.1f} min"
            for step in self.steps
        ]
        return "\n".join(["```sh", *lines, "```"])
