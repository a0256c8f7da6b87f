"""What a survey gives: its findings, its files, and a summary for the screen."""

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prune.inspection.findings import Findings
from prune.inspection.records import Broken, PhotoRecord
from prune.inspection.report_text import total_length, warnings
from prune.inspection.rows import crack_table
from prune.inspection.wording import counted
from prune.tables import data_frame


@dataclass
class SurveyResult:
    """A survey.

    Args:
        findings: What was found.
        files: The report, tables and polygons; masks and overlays are named in the records.
        measured: Photographs that were surveyed now; the others were done already.
        seconds: From the first photograph read to the last one done.
    """

    findings: Findings
    files: dict[str, Path] = field(default_factory=dict)
    measured: int = 0
    seconds: float = 0.0

    @property
    def photos(self) -> Sequence[PhotoRecord]:
        """What was found in each photograph."""
        return self.findings.photos

    @property
    def broken(self) -> Sequence[Broken]:
        """Files that could not be surveyed."""
        return self.findings.broken

    @property
    def folder(self) -> Path:
        """Where the files lie."""
        return self.findings.folder

    def to_frame(self) -> Any:
        """A row per crack as a pandas ``DataFrame``, as a list of dicts where pandas is not installed."""
        titles, rows = crack_table(self.findings)
        return data_frame([dict(zip(titles, row, strict=True)) for row in rows])

    def __str__(self) -> str:
        found = self.findings
        cracked = sum(bool(photo.cracks) for photo in found.photos)
        lines = [
            f"{counted(len(found.photos), 'photograph')}, {cracked} with cracks: {counted(len(found.cracks), 'crack')}, "
            f"total length {total_length(found)}"
        ]
        lines += [f"note     {text}" for text in warnings(found)]
        if self.measured < len(found.photos):
            lines.append(f"resumed  {counted(len(found.photos) - self.measured, 'photograph')} done already")
        if self.measured > 1:
            lines.append(f"speed    {self.measured / self.seconds:.3g} photographs/s, measuring included")
        return "\n".join([*lines, *(f"{kind:8} {file}" for kind, file in self.files.items())])

    def _repr_html_(self) -> str:
        """The first lines, for notebooks."""
        return "".join(f"<p>{html.escape(line)}</p>" for line in str(self).splitlines())
