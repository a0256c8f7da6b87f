"""``make fuzz``: thousands of damaged files of every format, each format in a process of its own that may die.

    python -m tests.fuzz.campaign --cases 10000 --output results/reliability

It goes on where it was stopped, prints a table, and writes ``fuzz.md`` and ``fuzz.json``.
"""

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from prune.files import write_json
from prune.hardware import set_threads
from prune.tables import markdown_table, text_table
from tests.fuzz.cases import FAILED, READ, REFUSED, SECONDS, Case, Damaged
from tests.fuzz.readers import FORMATS

QUIET, STARTING = 3 * SECONDS, 600
"""Seconds without a word after which a process is ended, also while it makes the valid file."""
HEADER = ("format", "cases", "read", "refused", "failed")


def work(name: str, first: int, last: int) -> None:
    """Read damaged files and print a line about each; runs in a process of its own."""
    set_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        damaged = Damaged(name, Path(folder))
        damaged.check_whole()
        print('["ready"]', flush=True)
        for number in range(first, last):
            case = damaged.case(number)
            print(json.dumps(["case", case.number, case.outcome, case.said]), flush=True)


def run(name: str, done: int, total: int, keep: dict[str, Any]) -> None:
    """Run the cases of a format that are missing; a process that dies fails the case it was at, and the next one goes on."""
    while done < total:
        command = [sys.executable, "-m", "tests.fuzz.campaign", "--work", name, str(done), str(total)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        said: list[str] = []
        errors = threading.Thread(target=lambda pipe=process.stderr, kept=said: kept.extend(pipe), daemon=True)
        errors.start()
        ready, watch = False, threading.Timer(STARTING, process.kill)
        watch.start()
        for line in process.stdout or ():
            if not line.startswith(('["ready"', '["case"')):
                continue
            watch.cancel()
            ready = True
            if line.startswith('["case"'):
                _, number, outcome, text = json.loads(line)
                count(keep, name, Case(number, outcome, text))
                done = number + 1
            watch = threading.Timer(QUIET, process.kill)
            watch.start()
        watch.cancel()
        code = process.wait()
        errors.join(5)
        if not ready:  # the program itself is wrong, not the file
            raise RuntimeError(f"{name}: {''.join(said[-20:])}")
        if done < total:
            count(keep, name, Case(done, FAILED, f"the process ended with {code}"))
            done += 1


def count(keep: dict[str, Any], name: str, case: Case) -> None:
    """Add a case to what is known of its format."""
    row = keep["formats"].setdefault(name, {READ: 0, REFUSED: 0, FAILED: 0, "failures": []})
    row[case.outcome] += 1
    if case.outcome == FAILED:
        row["failures"].append([case.number, case.said])


def table(keep: dict[str, Any]) -> list[list[str]]:
    """A row per format and one for all."""
    counts = {name: Counter({k: row[k] for k in (READ, REFUSED, FAILED)}) for name, row in keep["formats"].items()}
    rows = {**counts, "all": sum(counts.values(), Counter())}
    return [[name, f"{sum(c.values()):,}", *(f"{c[k]:,}" for k in (READ, REFUSED, FAILED))] for name, c in rows.items()]


def main() -> int:
    """Run the campaign; the exit code is 1 when a case failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000, help="cases over all formats")
    parser.add_argument("--output", type=Path, default=Path("results/reliability"), help="folder of the results")
    parser.add_argument("--only", default="", help="formats whose name contains this")
    parser.add_argument("--work", nargs=3, metavar=("FORMAT", "FIRST", "LAST"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work[0], int(options.work[1]), int(options.work[2]))
        return 0
    file = options.output / "fuzz.json"
    keep: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"formats": {}}
    each = -(-options.cases // len(FORMATS))
    for name in FORMATS:
        if options.only in name:
            row = keep["formats"].get(name, {})
            run(name, sum(row.get(k, 0) for k in (READ, REFUSED, FAILED)), each, keep)
            keep["date"] = datetime.date.today().isoformat()
            write_json(file, keep)
            print(text_table(HEADER, [row for row in table(keep) if row[0] == name], "lrrrr"), flush=True)
    rows = table(keep)
    text = f"Damaged files of every format, {keep['date']}: only a sentence may come out, within {SECONDS} s and 2 GiB.\n\n"
    (options.output / "fuzz.md").write_text(text + markdown_table(HEADER, rows) + "\n")
    print(text_table(HEADER, rows, "lrrrr"))
    for name, row in keep["formats"].items():
        for number, said in row["failures"][:5]:
            print(f"failed   {name}, case {number}: {said}")
    return 1 if any(row[FAILED] for row in keep["formats"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
