"""A survey of many photographs and a study of many trials, killed every half a minute: memory and file handles stay flat.

    python -m tests.faults.long_run --photographs 20000 --trials 200 --output results/reliability

Each is run once to its end and once killed again and again until it ends; both must say the same. It prints a table and
writes ``long_run.md`` and ``long_run.json``. The network of the survey takes what is dark for a crack, and trials take a
moment and train nothing: what is tested is the program around them.
"""

import argparse
import datetime
import os
import platform
import shutil
import signal
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prune.benchmark.cpu import cpu_kind
from prune.files import write_json, write_text
from prune.tables import markdown_table, text_table
from tests.faults.contents import contents, difference
from tests.faults.process import Command, Ended

SIDE, SHARE = 128, 0.25
"""px of a photograph, and the share of a run at its beginning and end whose memory is compared."""
SEED_TRIALS, RATIOS = 15, (30, 50, 70)
"""Trials of a seed: train; prune, fine-tune, score and time for each ratio; score and time the dense network."""
PAUSE = 0.2
"""Seconds a trial takes."""
IN_VAIN = 3
"""Kills in a row that may find no new file: the last step is done again as a whole, and may take longer than the pause."""
PATIENCE = 60.0
"""Seconds a process that was killed takes at most to end."""
LOOSE = ("trials/*", "*.png", "study.json", "fingerprints.json", "*.html", "*.md", "*.xlsx", "report.html")
HEADER = (
    "run",
    "items",
    "seconds",
    "kills",
    "MiB first quarter",
    "MiB last quarter",
    "files first",
    "files last",
    "result",
)
HEAD = """Long runs of {date} on a CPU of the kind {cpu} with Python {python}. Medians of resident memory and of open files of the
main process in the first and in the last quarter of the undisturbed run; the killed run gets a SIGKILL after every
{every:g} s of work, until three in a row find nothing new: the last step is done as a whole.

"""


@dataclass
class Sampled:
    """Memory and open files of a process while it runs."""

    mib: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def take(self, pid: int) -> None:
        """Look at a process, if it is still there."""
        try:
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            handles = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        except (OSError, IndexError):
            return
        self.mib.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)
        self.files.append(handles)

    def ends(self, values: list[Any]) -> tuple[float, float]:
        """Medians of the first and of the last quarter of samples."""
        quarter = max(1, int(len(values) * SHARE))
        return round(statistics.median(values[:quarter]), 1), round(statistics.median(values[-quarter:]), 1)


def survey(photos: Path, output: Path) -> None:
    """Survey photographs with the network that takes what is dark for a crack."""
    from prune.api.survey import survey as run
    from tests.inspection.drawn import dark_model

    run(photos, dark_model(), output=output, name="long", mm_per_pixel=0.5, networks=1, threads=1)


def study(data: Path, output: Path, trials: int) -> None:
    """Run trials that take a moment."""
    from prune.studies.run import study as run
    from tests.studies.fake import PLAN, work

    (output / "trials").mkdir(parents=True, exist_ok=True)
    (output / "trials/trouble.txt").write_text(f"seed={PAUSE}\n")
    plan = {**PLAN, "ratios": list(RATIOS), "seeds": list(range(-(-trials // SEED_TRIALS))), "controls": False}
    run({**plan, "data": str(data)}, output=output, jobs=1, work=work)


def watched(words: list[str], output: Path, samples: Sampled, every: float) -> tuple[Ended, float, int]:
    """Run a command until it ends, killed after so many seconds of work each time (0 = never).

    Returns:
        How it ended, its seconds, and the kills.
    """
    begun, kills, in_vain, most = time.monotonic(), 0, 0, 0
    while True:
        command = Command([sys.executable, "-m", "tests.faults.long_run", *words], output.parent, fresh=True)
        before, working = _written(output), 0.0
        while not command.wait(1.0):
            samples.take(command.pid)
            if not working and _written(output) != before:
                working = time.monotonic()
            if every and in_vain < IN_VAIN and working and time.monotonic() - working > every:
                command.strike(signal.SIGKILL, everyone=True)
        done = command.ended(PATIENCE)
        if done.code != -signal.SIGKILL:
            return done, time.monotonic() - begun, kills
        kills, found = kills + 1, _written(output)
        in_vain, most = (0, found) if found > most else (in_vain + 1, most)


def _written(output: Path) -> int:
    """How many files there are that are complete."""
    return sum(1 for path in output.rglob("[!.]*") if path.is_file())


def compared(name: str, words: list[str], count: int, folder: Path, every: float) -> dict[str, Any]:
    """Run something to its end, and again with kills; the row of the table."""
    samples, said = Sampled(), []
    figures: dict[str, Any] = {"run": name, "items": count}
    for place, pause in (("whole", 0.0), ("killed", every)):
        taken = samples if not pause else Sampled()
        output = folder / "out"
        shutil.rmtree(output, ignore_errors=True)
        done, seconds, kills = watched([*words, str(output), str(count)], output, taken, pause)
        if done.code != 0:
            return figures | {"result": f"{place}: exit code {done.code}: {done.errors[-300:]}"}
        said.append(contents(output, LOOSE))
        figures |= {f"{place}_seconds": round(seconds, 1), f"{place}_kills": kills}
    figures |= {
        "mib": samples.ends(samples.mib),
        "files": samples.ends(samples.files),
        "peak_mib": round(max(samples.mib), 1),
    }
    return figures | {"result": difference(said[1], said[0]) or "equal"}


def row(found: dict[str, Any]) -> list[str]:
    """A row of the table."""
    if "mib" not in found:
        return [found["run"], f"{found['items']:,}", *[""] * 6, found["result"]]
    seconds = f"{found['whole_seconds']:,.0f}, killed {found['killed_seconds']:,.0f}"
    handles = [f"{value:.0f}" for value in found["files"]]
    return [
        *(found["run"], f"{found['items']:,}", seconds, str(found["killed_kills"])),
        *(f"{value:,.0f}" for value in found["mib"]),
        *handles,
        found["result"],
    ]


def main() -> int:
    """Run both; the exit code is 1 when a result differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=int, default=20_000)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--every", type=float, default=30, help="seconds between kills")
    parser.add_argument("--output", type=Path, default=Path("results/reliability"))
    parser.add_argument("--work", type=Path, default=Path("build/long_run"))
    parser.add_argument("child", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        kind, source, output, count = options.child
        survey(Path(source), Path(output)) if kind == "survey" else study(Path(source), Path(output), int(count))
        return 0
    from tests.conftest import make_data
    from tests.faults.verbs import photographs

    work = options.work.absolute()
    shutil.rmtree(work, ignore_errors=True)
    rows = []
    if options.photographs:
        photographs(work / "photos", options.photographs, SIDE)
        rows.append(compared("survey", ["survey", str(work / "photos")], options.photographs, work, options.every))
    if options.trials:
        make_data(work / "data")
        rows.append(compared("study", ["study", str(work / "data")], options.trials, work, options.every))
    about = {"date": datetime.date.today().isoformat(), "cpu": cpu_kind(), "python": platform.python_version()}
    write_json(options.output / "long_run.json", {**about, "every": options.every, "runs": rows})
    lines = [row(found) for found in rows]
    text = HEAD.format(**about, every=options.every)
    write_text(options.output / "long_run.md", text + markdown_table(HEADER, lines) + "\n")
    print(text_table(HEADER, lines))
    return 0 if all(found["result"] == "equal" for found in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
