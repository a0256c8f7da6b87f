"""``make fuzz``: thousands of damaged files of every format, read in a process of its own that may die.

    python -m tests.fuzz.campaign --cases 10000 --output results/reliability

It goes on where it was stopped, prints a table, and writes ``fuzz.md`` and ``fuzz.json``. ``--again`` repeats formats that
failed, from their first case.
"""

import argparse
import datetime
import json
import platform
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prune.benchmark.cpu import cpu_kind
from prune.files import write_json
from prune.hardware import set_threads
from prune.tables import markdown_table, text_table
from tests.fuzz.cases import FAILED, MEMORY, READ, REFUSED, SECONDS, Case, Damaged
from tests.fuzz.readers import FORMATS

QUIET, STARTING = 30 * SECONDS, 3600
"""Seconds without a word after which a process is ended: at a case, and while it starts or makes a valid file."""
MARK = "campaign: "
OUTCOMES = (READ, REFUSED, FAILED)
HEAD = """Damaged files of every format, read on {date} on a CPU of the kind {cpu} with Python {python}. A case is read or refused
with a sentence within {0} s of CPU time and {1} GiB; everything else counts as failed.

"""
HEADER = ("format", "cases", "read", "refused", "failed")


def work(jobs: list[tuple[str, int, int]]) -> None:
    """Read damaged files of formats, from a first to before a last case, and print a line about each; runs in a process of its own."""
    set_threads(1)
    for name, first, last in jobs:
        with tempfile.TemporaryDirectory() as folder:
            damaged = Damaged(name, Path(folder))
            damaged.check_whole()
            tell("ready", name)
            for number in range(first, last):
                case = damaged.case(number)
                tell("case", name, case.number, case.outcome, case.said)
        tell("done", name)


def tell(*words: object) -> None:
    """Tell the campaign; readers may print something too."""
    print(MARK + json.dumps(words), flush=True)


def run(jobs: list[tuple[str, int, int]], keep: dict[str, Any], on_done: Callable[[str], None]) -> None:
    """Run the cases of formats; a process that dies fails the case it was at, and the next one goes on behind it."""
    while jobs:
        command = [sys.executable, "-m", "tests.fuzz.campaign", "--work", json.dumps(jobs)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
        said: list[str] = []
        errors = threading.Thread(target=lambda pipe=process.stderr, kept=said: kept.extend(pipe), daemon=True)
        errors.start()
        ready, watch = "", threading.Timer(STARTING, process.kill)
        watch.start()
        for line in process.stdout or ():
            if not line.startswith(MARK):
                continue
            watch.cancel()
            what, name, *rest = json.loads(line.removeprefix(MARK))
            if what == "case":
                count(keep, name, Case(*rest))
                jobs[0] = (name, rest[0] + 1, jobs[0][2])
            if what == "done":
                jobs.pop(0)
                on_done(name)
            ready = name if what != "done" else ""
            watch = threading.Timer(QUIET if ready else STARTING, process.kill)
            watch.start()
        watch.cancel()
        code = process.wait()
        errors.join(5)
        if jobs and ready != jobs[0][0]:  # the program itself is wrong, not a file
            raise RuntimeError(f"{jobs[0][0]}: {''.join(said[-20:])}")
        if jobs:
            name, number, last = jobs[0]
            count(keep, name, Case(number, FAILED, f"the process ended with {code}"))
            jobs[0] = (name, number + 1, last)


def count(keep: dict[str, Any], name: str, case: Case) -> None:
    """Add a case to what is known of its format."""
    row = keep["formats"].setdefault(name, {READ: 0, REFUSED: 0, FAILED: 0, "failures": []})
    row[case.outcome] += 1
    if case.outcome == FAILED:
        row["failures"].append([case.number, case.said])


def table(keep: dict[str, Any]) -> list[list[str]]:
    """A row per format and one for all."""
    counts = {name: Counter({k: row[k] for k in OUTCOMES}) for name, row in keep["formats"].items()}
    rows = {**counts, "all": sum(counts.values(), Counter())}
    return [[name, f"{sum(c.values()):,}", *(f"{c[k]:,}" for k in OUTCOMES)] for name, c in rows.items()]


def main() -> int:
    """Run the campaign; the exit code is 1 when a case failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000, help="cases over all formats")
    parser.add_argument("--output", type=Path, default=Path("results/reliability"), help="folder of the results")
    parser.add_argument("--only", default="", help="formats whose name contains this")
    parser.add_argument("--again", action="store_true", help="repeat the formats that failed")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(json.loads(options.work))
        return 0
    file = options.output / "fuzz.json"
    keep: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"formats": {}}
    if options.again:
        keep["formats"] = {name: row for name, row in keep["formats"].items() if not row[FAILED]}
    each = -(-options.cases // len(FORMATS))
    done = {name: sum(keep["formats"].get(name, {}).get(k, 0) for k in OUTCOMES) for name in FORMATS}
    jobs = [(name, done[name], each) for name in FORMATS if options.only in name and done[name] < each]

    def on_done(name: str) -> None:
        now = {"date": datetime.date.today().isoformat(), "cpu": cpu_kind(), "python": platform.python_version()}
        write_json(file, {**keep, **now})
        print(text_table(HEADER, [row for row in table(keep) if row[0] == name], "lrrrr"), flush=True)

    run(jobs, keep, on_done)
    keep |= json.loads(file.read_text())
    rows = table(keep)
    (options.output / "fuzz.md").write_text(
        HEAD.format(SECONDS, MEMORY >> 30, **keep) + markdown_table(HEADER, rows) + "\n"
    )
    print(text_table(HEADER, rows, "lrrrr"))
    for name, row in keep["formats"].items():
        for number, said in row["failures"][:5]:
            print(f"failed   {name}, case {number}: {said}")
    return 1 if any(row[FAILED] for row in keep["formats"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
