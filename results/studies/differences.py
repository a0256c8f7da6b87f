"""Prints how two rows of a study differ, paired by seed and image, as tables do for dense and Random.

For example ``python results/studies/differences.py distillation "Taylor macs=9% distilled" "Taylor macs=9%"``: the first
minus the second.
"""

import json
import sys
from pathlib import Path
from typing import Any

from prune.evaluation.content import conditions_of
from prune.metrics.statistics import Statistics
from prune.studies.intervals import paired
from prune.studies.table import COMPARED, SCORES, SEED

HERE = Path(__file__).parent


def scored(folder: Path, row: str) -> dict[int, tuple[Any, Any]]:
    """By seed, the pooled scores of a row and their values over draws of images."""
    found = {}
    for one in json.loads((folder / "study.json").read_text())["rows"]:
        title = " ".join(filter(None, (one["method"], one["level"], one["options"])))
        if title == row:
            content = json.loads((folder / "trials" / one["evaluate"] / "result.json").read_text())
            found[one["seed"]] = Statistics.from_json(content["statistics"], conditions_of(content)).drawn(SEED)
    return found


def main(study: str, first: str, second: str) -> None:
    """Print the difference of every compared score."""
    ours, theirs = (scored(HERE / study, row) for row in (first, second))
    seeds = sorted(ours.keys() & theirs.keys())
    for name in COMPARED:
        values, draws = zip(*([[one[seed][part][name] for seed in seeds] for part in (0, 1)] for one in (ours, theirs)), strict=True)
        score = paired(values[0], draws[0], values[1], draws[1], SEED)
        points = [f"{100 * number:+.1f}" for number in (score.value, score.low, score.high)]
        print(f"{SCORES[name]:14} {points[0]} [{points[1]}, {points[2]}] points, seeds {', '.join(map(str, seeds))}")


if __name__ == "__main__":
    main(*sys.argv[1:])
