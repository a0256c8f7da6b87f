"""``make faults``: every verb that writes is killed, interrupted, left without room on the disk, and started twice.

    python -m tests.faults.campaign --cases 4 --output results/reliability

It goes on where it was stopped, prints a table, and writes ``faults.md`` and ``faults.json``. ``--again`` repeats what failed.
Full and read-only disks need the right to mount one; without it these cases are left out, and the table says so.
"""

import argparse
import datetime
import json
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from prune.benchmark.cpu import cpu_kind
from prune.errors import run
from prune.files import write_json, write_text
from prune.tables import markdown_table, text_table
from tests.faults.cases import FULL, KINDS, READ_ONLY, TWICE, Whole, disk, run_case, undisturbed
from tests.faults.page import PAGE_KINDS, PAGE_NAME, run_page_case
from tests.faults.process import Failed, import_all
from tests.faults.verbs import VERBS, Verb, make_material

HEAD = """Commands disturbed on {date} on a CPU of the kind {cpu} with Python {python}: cases that passed of cases that were run.
A case passes when earlier files are intact byte for byte, nothing incomplete has a final name, stderr holds one line, and
the same command run again gives what an undisturbed one gives. They took {minutes:.0f} minutes.{skipped}

"""
SKIPPED = " Disks could not be mounted here: full and read-only ones are left out."


def share(kind: str, cases: int, slow: bool = False) -> int:
    """How many cases of a kind a verb gets: a read-only disk and two at once have little chance in them."""
    cases = -(-cases // 4) if slow else cases
    return min(cases, {READ_ONLY: 2, TWICE: 2}.get(kind, cases))


def may_mount() -> bool:
    """Whether this user may mount a disk."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with disk(Path(folder) / "disk", 2**16):
                return True
        except (PermissionError, FileNotFoundError):
            return False


class Campaign:
    """Cases and their outcomes, kept in a file after every case.

    Args:
        output: Folder of the results.
        work: Folder of the cases.
        again: Whether what failed is repeated.
    """

    def __init__(self, output: Path, work: Path, again: bool) -> None:
        self.output, self.work = output, work
        self.whole: dict[str, Whole] = {}
        self.file = output / "faults.json"
        self.keep: dict[str, Any] = json.loads(self.file.read_text()) if self.file.exists() else {"verbs": {}}
        if again:
            for row in self.keep["verbs"].values():
                for kind in [kind for kind, found in row.items() if found["failures"]]:
                    del row[kind]

    def run(self, verb: Verb, kinds: list[str], cases: int) -> None:
        """Run the cases of a verb that are missing."""
        row = self.keep["verbs"].setdefault(verb.name, {})
        for kind in kinds:
            found = row.setdefault(kind, {"cases": 0, "failures": []})
            while found["cases"] < share(kind, cases, verb.slow):
                material = make_material(self.work / "material")
                if verb.name not in self.whole:
                    kept = self.work / "whole" / verb.name
                    self.whole[verb.name] = undisturbed(verb, material, self.work / "case", kept)
                given = (verb, kind, found["cases"], self.whole[verb.name], material, self.work / "case")
                self.note(found, verb.name, kind, lambda given=given: run_case(*given))

    def run_page(self, kinds: list[str], cases: int) -> None:
        """Run the cases of the page that are missing."""
        row = self.keep["verbs"].setdefault(PAGE_NAME, {})
        for kind in kinds:
            found = row.setdefault(kind, {"cases": 0, "failures": []})
            while found["cases"] < share(kind, cases):
                given = (kind, found["cases"], self.work / "page")
                self.note(found, PAGE_NAME, kind, lambda given=given: run_page_case(*given))

    def note(self, found: dict[str, Any], name: str, kind: str, case: Any) -> None:
        """Run a case, keep its outcome and print a line."""
        start, number = time.monotonic(), found["cases"]
        try:
            said = f"passed   {case()}"
        except Failed as failure:
            found["failures"].append([number, str(failure)])
            said = f"FAILED   {failure}"
        found["cases"] += 1
        self.keep["seconds"] = round(self.keep.get("seconds", 0) + time.monotonic() - start, 1)
        self.keep |= {"date": datetime.date.today().isoformat(), "cpu": cpu_kind(), "python": platform.python_version()}
        write_json(self.file, self.keep)
        print(f"{name}, {kind} {number}: {said}", flush=True)

    def rows(self) -> list[list[str]]:
        """A row per verb and one for all: passed cases of all cases by kind."""
        every: dict[str, dict[str, dict[str, Any]]] = self.keep["verbs"]
        total = {
            kind: {
                "cases": sum(row[kind]["cases"] for row in every.values() if kind in row),
                "failures": [one for row in every.values() if kind in row for one in row[kind]["failures"]],
            }
            for kind in KINDS
        }
        return [[name, *(_cell(row.get(kind)) for kind in KINDS)] for name, row in {**every, "all": total}.items()]

    def finish(self, skipped: bool) -> int:
        """Write and print the table; the exit code is 1 when a case failed."""
        header = ("verb", *KINDS)
        about = {name: self.keep[name] for name in ("date", "cpu", "python")}
        text = HEAD.format(**about, minutes=self.keep["seconds"] / 60, skipped=SKIPPED if skipped else "")
        write_text(self.output / "faults.md", text + markdown_table(header, self.rows()) + "\n")
        print(text_table(header, self.rows(), "l" + "r" * len(KINDS)))
        failures = 0
        for name, row in self.keep["verbs"].items():
            for kind, found in row.items():
                failures += len(found["failures"])
                for number, said in found["failures"][:3]:
                    print(f"failed   {name}, {kind} {number}: {said}")
        return 1 if failures else 0


def _cell(found: dict[str, Any] | None) -> str:
    return "" if not found or not found["cases"] else f"{found['cases'] - len(found['failures'])}/{found['cases']}"


def main() -> None:
    """Run the campaign; it raises ``SystemExit`` with 1 when a case failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=4, help="of each verb and kind; slow verbs get a quarter")
    parser.add_argument("--output", type=Path, default=Path("results/reliability"), help="folder of the results")
    parser.add_argument("--work", type=Path, default=Path("build/faults"), help="folder the commands work in")
    parser.add_argument("--only", default="", help="verbs whose name contains this")
    parser.add_argument("--kinds", default="", help="kinds whose name contains this")
    parser.add_argument("--again", action="store_true", help="repeat kinds with failures")
    options = parser.parse_args()
    mounts = may_mount()
    import_all()
    kinds = [kind for kind in KINDS if options.kinds in kind and (mounts or kind not in (FULL, READ_ONLY))]
    campaign = Campaign(options.output, options.work.absolute(), options.again)
    for cases in range(1, options.cases + 1):  # all verbs first, then all verbs again
        for name, verb in VERBS.items():
            if options.only in name:
                campaign.run(verb, kinds, cases)
        if options.only in PAGE_NAME:
            campaign.run_page([kind for kind in PAGE_KINDS if kind in kinds], cases)
    sys.exit(campaign.finish(skipped=not mounts))


if __name__ == "__main__":
    sys.exit(run(main))  # on SIGTERM and Ctrl-C too, disks are unmounted
