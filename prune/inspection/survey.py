"""A survey from its photographs to its files: measure what is not done yet, then write tables, polygons and the report."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.errors import CannotWrite, UserError
from prune.files import check_writable, locked
from prune.inference.flow import gate_of
from prune.inference.predictor import Predictor
from prune.inference.probability import require_logits
from prune.inference.replicas import ENOUGH, Replicas, replicated
from prune.inspection.corrections import write_corrections
from prune.inspection.dates import growth_of, read_survey, write_growth
from prune.inspection.findings import About, Findings
from prune.inspection.footage import frames, write_overlay_video
from prune.inspection.likeness import Likeness
from prune.inspection.map_survey import MapSurvey
from prune.inspection.places import write_geojson
from prune.inspection.print_pdf import find_browser, print_pdf
from prune.inspection.reading import PhotoReader
from prune.inspection.records import Broken, PhotoRecord, Source
from prune.inspection.report_page import write_report
from prune.inspection.settings import InspectionSettings
from prune.inspection.steps import Going, Steps, surveyed
from prune.inspection.store import Store
from prune.inspection.survey_result import SurveyResult
from prune.inspection.workbook import write_crack_csv, write_survey_workbook
from prune.progress import progress, say

OnPhoto = Callable[[PhotoRecord | Broken], None]


@dataclass(frozen=True)
class Job:
    """What is to be surveyed.

    Args:
        sources: The photographs.
        videos: Whose frames are surveyed after them.
        maps: Orthophotos, which are surveyed last.
        reader: What reads them.
        store: Where everything is written.
        about: How the survey is made, but for the date.
        how: Settings.
        threads: CPU threads of the network, 0 = all cores.
        compare: Folder of an earlier survey of the same place, None = there is none.
    """

    sources: Sequence[Source]
    videos: Sequence[Source]
    maps: Sequence[Source]
    reader: PhotoReader
    store: Store
    about: Callable[[str], About]
    how: InspectionSettings
    threads: int = 0
    compare: Path | None = None


@dataclass
class _Run:
    """A survey under way.

    Args:
        job: What is surveyed.
        about: How.
        on_photo: Told about every photograph that is done.
        names: Of all photographs so far, in their order.
        results: What became of them.
        measured: Photographs that were measured now.
    """

    job: Job
    about: About
    on_photo: OnPhoto | None
    names: list[str] = field(default_factory=list)
    results: dict[str, PhotoRecord | Broken] = field(default_factory=dict)
    measured: int = 0

    def waiting(self, photos: Iterable[Going | Broken]) -> Iterator[Going]:
        """Those that are not done yet."""
        for one in photos:
            name = one.source.name if isinstance(one, Going) else f"{one.file} broken"
            self.names.append(name)
            if isinstance(one, Broken):
                self.results[name] = one
            elif (record := self.job.store.finished(one.source)) is not None:
                self.results[name] = record
            else:
                yield one

    def photos(self) -> Iterator[Going | Broken]:
        """All photographs and frames."""
        yield from map(Going, self.job.sources)
        for video in self.job.videos:
            yield from frames(video, self.job.reader, self.job.how)

    def go(self, predictor: Predictor) -> float:
        """Survey what is not done yet and return the seconds it took."""
        return self._photographs(predictor) + self._orthophotos(predictor)

    def _orthophotos(self, predictor: Predictor) -> float:
        """Survey orthophotos, one after the other."""
        start, job = perf_counter(), self.job
        scales, logits = job.reader.scales, gives_logits(predictor)
        work = MapSurvey(predictor, job.store, job.how, scales, logits, self._likeness)
        for source in job.maps:
            self.names.append(source.name)
            one: PhotoRecord | Broken | None = job.store.finished(source)
            if one is None:
                try:
                    one = work(source)
                    self.measured += 1
                except CannotWrite:  # the others could not be written either
                    raise
                except UserError as error:
                    one = source.broken(error.message)
                if self.on_photo is not None:
                    self.on_photo(one)
            self.results[source.name] = one
        return perf_counter() - start if job.maps else 0.0

    def _photographs(self, predictor: Predictor) -> float:
        """Survey photographs and frames, many at the same time."""
        waiting = self.waiting(self.photos())
        first = next(waiting, None)
        if first is None:
            return 0.0
        steps, replicas = self._steps(predictor)
        start = perf_counter()
        total = None if self.job.videos else len(self.job.sources) - len(self.results)
        for one in progress(surveyed(chain([first], waiting), steps, replicas), "surveying", total=total):
            self.results[one.source.name] = one.result
            self.measured += one.record is not None
            if self.on_photo is not None:
                self.on_photo(one.result)
        return perf_counter() - start

    def _steps(self, predictor: Predictor) -> tuple[Steps, Replicas]:
        job, logits = self.job, gives_logits(predictor)
        count = ENOUGH if job.videos else len(job.sources)
        replicas = replicated(predictor, job.how.networks, job.threads, count, self._first)
        if count > 1:
            say("running", replicas)
        gate = gate_of(replicas)
        return Steps(job.store, job.reader, gate, predictor.classes, job.how, self._likeness, logits), replicas

    @property
    def _likeness(self) -> Likeness | None:
        """What the photographs of the network's test look like, None = not known."""
        return self.about.errors.likeness if self.about.errors else None

    def _first(self) -> NDArray[np.uint8] | None:
        """The first photograph or frame that can be read."""
        for source in self.job.sources:
            with suppress(UserError):
                return self.job.reader(source)[0]
        for video in self.job.videos:
            for one in frames(video, self.job.reader, self.job.how):
                if isinstance(one, Going) and one.image is not None:
                    return one.image
        return None


def gives_logits(predictor: Predictor) -> bool:
    """Whether a network gives logits, and with them probabilities."""
    try:
        require_logits(predictor)
    except UserError:
        return False
    return True


def make_survey(
    job: Job, predictor: Predictor, *, force: bool = False, on_photo: OnPhoto | None = None
) -> SurveyResult:
    """Survey the photographs that are not done yet, and write everything.

    Args:
        job: What to survey.
        predictor: The network.
        force: Replace a survey of other settings.
        on_photo: Called with every photograph in their order, when it is done.

    Raises:
        UserError: for a folder that holds something else, or that another process surveys into, a disk that is full, and a
            PDF without a browser to print it.
    """
    if job.how.pdf:
        find_browser()
    if job.compare is not None:
        read_survey(job.compare)  # what is wrong with it is said before hours of work
    check_writable(job.store.folder.parent)
    with locked(job.store.folder):
        return _surveyed(job, predictor, force, on_photo)


def _surveyed(job: Job, predictor: Predictor, force: bool, on_photo: OnPhoto | None) -> SurveyResult:
    """See ``make_survey``; the folder's lock is held."""
    run = _Run(job, job.about(job.store.open(force)), on_photo)
    seconds = run.go(predictor)
    ordered = [run.results[name] for name in run.names]
    photos = [one for one in ordered if isinstance(one, PhotoRecord)]
    broken = [one for one in ordered if isinstance(one, Broken)]
    if not photos:
        causes = [one.cause for one in broken] or ["expected photographs or videos with pictures, found none"]
        more = f" (and {len(causes) - 1} more)" if len(causes) > 1 else ""
        raise UserError(f"{causes[0]}{more}")
    job.store.forget({photo.name for photo in photos})
    findings = _compared(Findings(job.store.folder, run.about, photos, broken), job)
    return SurveyResult(findings, write_documents(findings, job), run.measured, seconds)


def _compared(found: Findings, job: Job) -> Findings:
    """The survey with its changes since an earlier one, where one is named."""
    if job.compare is None:
        return found
    since, earlier = read_survey(job.compare)
    sources = {source.name: source for source in job.sources}

    def read(photo: PhotoRecord) -> NDArray[np.uint8]:
        return job.reader(sources[photo.name])[0]

    photos = [photo for photo in found.photos if photo.name in sources]
    errors = found.about.errors
    grown = [growth_of(photo, earlier, read, errors, found.folder) for photo in progress(photos, "comparing")]
    return replace(found, growth=grown, since=since)


def write_documents(found: Findings, job: Job) -> dict[str, Path]:
    """Write the report and all tables of a survey, and return their files by what they are called on the screen."""
    folder, how = found.folder, job.how
    report = write_report(found, folder / "report.html", how.report_pictures)
    files = {"report": report}
    if how.pdf:
        files["pdf"] = print_pdf(report, folder / "report.pdf")
    files["workbook"] = write_survey_workbook(found, folder / "survey.xlsx")
    files["cracks"] = write_crack_csv(found, folder / "cracks.csv")
    places = write_geojson(found, folder / "cracks.geojson")
    files |= {"map": places} if places else {}
    files |= {"growth": write_growth(found.growth, folder / "growth.csv")} if found.growth else {}
    files |= dict(zip(("COCO", "LabelMe"), write_corrections(found), strict=False))
    for video in job.videos:
        written = write_overlay_video(video, found.photos, how, folder)
        files |= {"video": written} if written else {}
    broken = [{"file": one.file, "cause": one.cause} for one in found.broken]
    totals: dict[str, Any] = {"cracks": len(found.cracks), "length_px": found.length_px}
    totals |= {"length_mm": found.length_mm} if found.scaled else {}
    names = [photo.name for photo in found.photos]
    job.store.write(found.about.begun, {"photographs": names, "broken": broken, "totals": totals})
    return files
