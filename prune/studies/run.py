"""``prune.study``: a plan in, its table, charts and report out; what was computed before is not computed again."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prune.data.find_split import find_split
from prune.errors import UserError, first_line
from prune.files import RESULTS, locked, make_folder, write_json
from prune.hardware import choose_device, machine_facts, versions
from prune.progress import say
from prune.shapes import Each, Many, check_shape
from prune.studies.identity import Fingerprints, code_version
from prune.studies.kinds import Work, compute
from prune.studies.outputs import notes_of, plain_rows, write_page, write_tables
from prune.studies.plan import Plan
from prune.studies.plan_file import plan_from
from prune.studies.schedule import NOT_RUN, Executor, missing, results_of, run_trials
from prune.studies.settings import RunSettings
from prune.studies.table import Cell, cells_of, header, line
from prune.studies.trials import Graph, Row, Trial, build
from prune.studies.watch import Watch
from prune.studies.work import drop_checkpoint, portable, read_json
from prune.tables import data_frame, html_table, text_table

STUDY = "study.json"
"""Plan, rows and names of trials, from which the table can be made again without the data."""
SCREEN = ("network", "method", "removed", "options", "precision", "MACs G", "mIoU", "crack ltIoU@4", "verdict")
"""Columns the screen has room for, besides latencies; the files have all."""


@dataclass
class StudyResult:
    """What a study found.

    Args:
        folder: Everything of the study.
        cells: The rows of the table.
        charts: Pictures of accuracy over cost.
        report: The page that stands alone.
        files: Everything that was written for readers.
        ran: Labels of the trials that this call ran.
        failed: Why trials failed, in one line each, by label.
        notes: What a reader has to know.
    """

    folder: Path
    cells: list[Cell]
    charts: list[Path] = field(default_factory=list)
    report: Path | None = None
    files: list[Path] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def table(self) -> Any:
        """A row per network and options as a pandas ``DataFrame`` (a list of dicts without pandas); see ``docs/studies.md``."""
        return data_frame(plain_rows(self.cells))

    def _texts(self) -> tuple[list[str], list[list[str]]]:
        titles = header(self.cells)
        shown = [i for i, title in enumerate(titles) if title in SCREEN or title.startswith("latency ")]
        rows = [line(cell, self.cells) for cell in self.cells]
        filled = [i for i in shown if titles[i] != "options" or any(row[i] for row in rows)]
        return [titles[i] for i in filled], [[row[i] for i in filled] for row in rows]

    def __str__(self) -> str:
        notes = [f"note     {note}" for note in self.notes]
        files = [f"report   {self.report}", f"files    {self.folder}"]
        return "\n".join(["", text_table(*self._texts()), "", *notes, *files])

    def _repr_html_(self) -> str:
        """The table, as notebooks show it."""
        return html_table(*self._texts())


STORED = {
    "plan": dict,
    "data": {"images": int},
    "machine": dict,
    "versions": dict,
    "skipped": Many(str),
    "failed": Each(str),
    "trials": Each(
        {"kind": str, "label": str, "settings": dict, "parents": Each(str), "data": dict, "code": str, "how": dict}
    ),
    "rows": Many(
        {
            **dict.fromkeys(
                ("network", "method", "level", "options", "precision", "evaluate", "checkpoint", "dense"), str
            ),
            "seed": int,
            "latency": Each(str),
        }
    ),
}
"""What ``study.json`` holds."""


def study(
    plan: str | Path | Plan | Mapping[str, Any] | None = None,
    *,
    executor: str = "local",
    jobs: int = 0,
    address: str | None = None,
    cpus: float = 1,
    gpus: float | None = None,
    output: str | Path | None = None,
    report_only: bool = False,
    keep_code: bool = False,
    force: bool = False,
    work: Work = compute,
    **keys: Any,
) -> StudyResult:
    """Compare pruning criteria, ratios and networks over seeds, with controls, intervals and a report.

    Interrupted or killed, the same call goes on where it stopped; a plan with another seed, ratio or criterion runs only
    what is missing. Trials that fail do not stop the others and are tried again by the next call.

    Args:
        plan: A TOML file, a table, or a ``prune.studies.plan.Plan``; None = ``keys`` say everything.
        executor: ``local``: processes of this machine, or ``ray``: tasks of a Ray cluster.
        jobs: Local processes, 0 = one per GPU, else one per core, at most 4.
        address: Of the Ray cluster: ``auto``, ``host:port`` or ``ray://host:port``; None = Ray on this machine.
        cpus: Cores that a Ray task asks for.
        gpus: GPUs that a Ray task asks for, None = 1 where the cluster has some.
        output: Folder of the study; default: ``results/studies/NAME``.
        report_only: Make table, charts and report again from the results there are, without data.
        keep_code: Trials count that were computed by the version of the code the study was begun with.
        force: Take the folder over from a study of other data; its trials stay, and count for its data only.
        work: Computes a trial; for tests.
        **keys: Keys of the plan (see ``prune.studies.plan.Plan``), in place of those of ``plan``.

    Raises:
        UserError: for a plan that is not allowed, data that cannot be used, a cluster that does not answer, a folder of a
            study of other data, and when another process runs this study. A trial that fails raises nothing.
    """
    settings = RunSettings(executor=executor, jobs=jobs, address=address, cpus=cpus, gpus=gpus)
    if report_only and output is not None:
        return report(output)
    chosen = plan_from(plan, **keys)
    folder = Path(output) if output is not None else RESULTS / "studies" / chosen.name
    if report_only:
        return report(folder)
    chosen = _with_data(chosen)
    with locked(make_folder(folder)):
        stored = {} if force else read_json(folder / STUDY) or {}
        if stored:
            check_shape(stored, {"plan": {"data": str}, "data": dict, "codes?": Each(str)}, str(folder / STUDY))
        return _run(chosen, settings, folder, stored, keep_code, work)


def _with_data(plan: Plan) -> Plan:
    """The plan with the network of its checkpoint and a data folder that exists, with drawn photographs if the plan asks for them."""
    if plan.data is None:
        raise UserError("--data: expected a data folder with splits, found none")
    data = Path(plan.data)
    if plan.synthesize and not data.exists():
        from prune.synthetic import synthesize

        wanted: dict[str, Any] = {"images": 60, "size": 192, "seed": 0, **plan.synthesize}
        with locked(data, wait=True):
            if not data.exists():
                say("data", synthesize(data, **wanted))
    from prune.models import architecture

    changes: dict[str, Any] = {"data": str(data.absolute())}
    if plan.dense:
        from prune.models.checkpoint import load_checkpoint

        file = Path(plan.dense)
        changes |= {"dense": str(file.absolute()), "networks": [load_checkpoint(file).architecture]}
    plan = dataclasses.replace(plan, **changes)
    for name in (*plan.named_networks(), *plan.smaller):
        architecture(name)
    return plan


def _run(
    plan: Plan, settings: RunSettings, folder: Path, stored: Mapping[str, Any], keep_code: bool, work: Work
) -> StudyResult:
    """Run what is missing and write everything; ``stored`` is what the folder holds, and the study's lock is held."""
    trials = folder / "trials"
    fingerprints, codes = _fingerprints(plan, folder, stored), _codes(stored, keep_code)
    given = {"dense": Fingerprints(folder / "fingerprints.json").of_files([Path(plan.dense)])} if plan.dense else {}
    machine = machine_facts(choose_device("auto")) | ({"threads": plan.latency_threads} if plan.latency_threads else {})
    graph = build(plan, fingerprints | given, codes=codes, machine=f"{machine['device']}, {machine['cores']} cores")
    study_facts: dict[str, Any] = {
        "plan": portable(json.loads(json.dumps(vars(plan), default=dict))),
        "data": {**fingerprints, "images": _test_images(plan)},
        "codes": codes or {kind: code_version(kind) for kind in {t.kind for t in graph.trials.values()}},
        "machine": machine,
        "versions": versions(),
        "skipped": graph.skipped,
        "failed": {},
        "trials": portable({name: dataclasses.asdict(trial) for name, trial in graph.trials.items()}),
        "rows": [dataclasses.asdict(row) for row in graph.rows],
    }
    write_json(folder / STUDY, study_facts)
    to_run = missing(graph.trials, trials)
    say("study", f"{folder}: {len(graph.trials)} trials, {len(graph.trials) - len(to_run)} of them done before")
    failed = _run_missing(plan, settings, graph, to_run, trials, work) if to_run else {}
    study_facts["failed"] = {graph.trials[name].label: cause for name, cause in failed.items()}
    write_json(folder / STUDY, study_facts)
    if len(failed) == len(to_run) and not results_of(graph.trials, trials):
        first = next(iter(study_facts["failed"].items()))
        raise UserError(
            f"every trial failed, the first: {first[0]}: {first[1]} (see {trials / next(iter(failed))}/log.txt)"
        )
    result = report(folder)
    result.ran = [trial.label for name, trial in to_run.items() if name not in failed]
    _drop(plan, graph, result, trials, bool(failed))
    return result


def _fingerprints(plan: Plan, folder: Path, stored: Mapping[str, Any]) -> dict[str, str]:
    """Of the plan's data; raises ``UserError`` when the folder holds a study of others."""
    known = Fingerprints(folder / "fingerprints.json")
    found = known.of_data(Path(str(plan.data)), plan.reading)
    known.save()
    before = {role: stored.get("data", {}).get(role) for role in found}
    if stored and before != found:
        differs = ", ".join(role for role in found if before[role] != found[role])
        raise UserError(
            f"{folder}: expected a study of {plan.data} as it is now, found one whose {differs} images differ "
            f"({stored['plan']['data']}): choose another name or remove the folder"
        )
    return found


def _codes(stored: Mapping[str, Any], keep: bool) -> dict[str, str]:
    return dict(stored.get("codes", {})) if keep else {}


def _test_images(plan: Plan) -> int:
    reading = plan.reading
    found = find_split(
        Path(str(plan.data)), None, dataset=reading.dataset, role="test", threshold=reading.mask_threshold
    )
    return len(found.pairs)


def _run_missing(
    plan: Plan, settings: RunSettings, graph: Graph, to_run: Mapping[str, Trial], trials: Path, work: Work
) -> dict[str, str]:
    """Run trials, those that measure time last and one at a time, on this machine; give the causes of failures."""
    seconds: dict[str, list[float]] = {}
    for name, result in results_of({n: t for n, t in graph.trials.items() if n not in to_run}, trials).items():
        seconds.setdefault(graph.trials[name].kind, []).append(float(result.get("seconds", 0)))
    parts = [(dict(to_run), False)]
    if settings.executor != "local" or settings.jobs != 1:  # one process disturbs no measurement
        timed = {name: trial for name, trial in to_run.items() if trial.kind == "latency"}
        parts = [({n: t for n, t in to_run.items() if n not in timed}, False), (timed, True)]
    failed: dict[str, str] = {}
    for part, alone in parts:
        blocked = [name for name, trial in part.items() if set(trial.parents.values()) & failed.keys()]
        for name in blocked:
            parent = next(parent for parent in part.pop(name).parents.values() if parent in failed)
            cause = failed[parent]
            failed[name] = cause if cause.startswith(NOT_RUN) else f"{NOT_RUN}{to_run[parent].label}"
        if part:
            runner = _executor(settings, work, alone)
            failed |= _watched(part, runner, len(graph.trials) - len(to_run), seconds, trials, plan)
    return failed


def _executor(settings: RunSettings, work: Work, alone: bool) -> Executor:
    """What runs trials; ``alone``: one process with all cores of this machine, to measure time."""
    if settings.executor == "ray" and not alone:
        from prune.studies.cluster import RayExecutor

        return RayExecutor(settings.address, settings.cpus, settings.gpus, work)
    from prune.studies.local import LocalExecutor

    return LocalExecutor(1 if alone else settings.jobs, work)


def _watched(
    part: Mapping[str, Trial],
    runner: "Executor",
    found: int,
    seconds: Mapping[str, list[float]],
    trials: Path,
    plan: Plan,
) -> dict[str, str]:
    say("running", f"{len(part)} trials, {runner}")
    watch = Watch(part, found, seconds, float(getattr(runner, "jobs", 1)))
    try:
        return run_trials(part, runner, trials, plan.data, watch)
    finally:
        watch.close()
        runner.close()


def report(folder: str | Path) -> StudyResult:
    """Make table, charts and report of a study from the results in its folder; it needs neither the data nor PyTorch.

    Raises:
        UserError: when the folder holds no study.
    """
    place = Path(folder)
    facts = read_json(place / STUDY)
    if facts is None and (place / STUDY).exists():
        raise UserError(f"{place / STUDY}: expected the results of a study, found a damaged file: run the study again")
    if facts is None:
        raise UserError(f"{place}: expected the folder of a study, found no {STUDY}: run the study first")
    check_shape(facts, STORED, str(place / STUDY))
    try:
        rows = [Row(**row) for row in facts["rows"]]
        trials = {name: Trial(**trial) for name, trial in facts["trials"].items()}
        cells = cells_of(rows, results_of(trials, place / "trials"), Plan(**facts["plan"]).limits)
    except (TypeError, KeyError, ValueError, IndexError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else first_line(error)
        raise UserError(f"{place}: expected the results of a study, found damaged ones ({what})") from error
    files = write_tables(facts, cells, place)
    charts = _charts(cells, facts, place)
    page = write_page(facts, cells, charts, place / "report.html")
    return StudyResult(place, cells, charts, page, [*files, *charts, page], [], facts["failed"], notes_of(facts))


def _charts(cells: Sequence[Cell], facts: Mapping[str, Any], folder: Path) -> list[Path]:
    """The charts; none where matplotlib is not installed."""
    try:
        from prune.studies.charts import pareto_charts
    except ModuleNotFoundError as error:
        say("note", f"no charts: {error.name} is not installed")
        return []
    plan = facts["plan"]
    title = (
        f"{Path(plan['data']).name}, {facts['data']['images']} test images, {len(plan['seeds'])} seed(s), 95% intervals"
    )
    return pareto_charts(cells, folder, title=title)


def _drop(plan: Plan, graph: Graph, result: StudyResult, trials: Path, failed: bool) -> None:
    """Remove the checkpoints the plan does not keep; none while trials still have to be tried again."""
    if plan.keep == "all" or failed:
        return
    kept: set[str] = set()
    if plan.keep == "best":
        best = {
            (c.network, c.method, c.level, c.options, c.precision)
            for c in result.cells
            if c.fronts or c.method == "dense"
        }
        kept = {r.checkpoint for r in graph.rows if (r.network, r.method, r.level, r.options, r.precision) in best}
    for name in graph.trials.keys() - kept:
        drop_checkpoint(trials / name)
