"""Many photographs of a visitor become a survey: unpacked, measured with progress, and packed for download."""

import re
import shutil
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prune.api.measures import checked_scale
from prune.api.model import Model
from prune.api.survey import survey
from prune.data.images import image_size, is_image
from prune.errors import UserError
from prune.inspection.records import Broken, PhotoRecord
from prune.web.archive import ArchiveLimits, unpack
from prune.web.limits import MAX_MEGAPIXELS
from prune.web.networks import Networks

MAX_AGE = 3600.0
"""s after which the files of a survey are removed."""
MAX_SECONDS = 3600.0
"""s: a survey that takes longer is given up."""
Tell = Callable[[int, int], None]
"""Is told how many photographs of how many are done."""


@dataclass(frozen=True)
class PageSurvey:
    """What a visitor gets.

    Args:
        report: The HTML file.
        everything: A ZIP file of all files.
        text: A sentence about it.
    """

    report: str
    everything: str
    text: str


class Surveys:
    """Surveys of a page; their folders are readable by this user only and removed after an hour.

    Args:
        networks: That the page offers.
        limits: Of uploads.
    """

    def __init__(self, networks: Networks, limits: ArchiveLimits | None = None) -> None:
        self.networks, self.limits = networks, limits or ArchiveLimits()
        self._made: list[tuple[float, Path]] = []
        self._lock = threading.Lock()

    def make(self, files: Sequence[str] | None, network: str | None, mm: float | None, tell: Tell) -> PageSurvey:
        """Survey uploaded photographs, or those of one ZIP file.

        Raises:
            UserError: for no photograph, too many or too large ones, a ZIP file that is not to be trusted, and a survey that
                takes longer than ``MAX_SECONDS``.
        """
        if not files:
            raise UserError("expected photographs or a ZIP file of them, found none")
        scale, opened = checked_scale(mm or None), self.networks.open(network)
        folder = self._folder()
        try:
            photos = self._photographs([Path(file) for file in files], folder / "photographs")
            end, done = time.monotonic() + MAX_SECONDS, 0

            def on_photo(_: PhotoRecord | Broken) -> None:
                nonlocal done
                done += 1
                tell(done, len(photos))
                if time.monotonic() > end:
                    raise UserError(f"expected a survey done within {MAX_SECONDS / 60:.0f} minutes, found a longer one")

            with self.networks.alone():
                result = survey(
                    folder / "photographs",
                    Model(opened.predictor),
                    name="survey",
                    output=folder / "survey",
                    mm_per_pixel=scale,
                    recursive=True,
                    root=folder / "photographs",
                    networks=1,
                    on_photo=on_photo,
                )
            packed = _packed(folder / "survey", folder / "survey.zip")
        except UserError as error:
            raise UserError(str(error).replace(f"{folder / 'photographs'}/", "")) from error
        finally:
            shutil.rmtree(folder / "photographs", ignore_errors=True)
        first = str(result).splitlines()[0]
        broken = f"; {len(result.broken)} could not be read, see the report" if result.broken else ""
        return PageSurvey(str(folder / "survey/report.html"), str(packed), f"{first}{broken}")

    def _folder(self) -> Path:
        """A new folder; old ones are removed."""
        folder = Path(tempfile.mkdtemp(prefix="prune-survey-"))
        with self._lock:
            old = [path for made, path in self._made if time.monotonic() - made > MAX_AGE]
            self._made = [(made, path) for made, path in self._made if path not in old]
            self._made.append((time.monotonic(), folder))
        for path in old:
            shutil.rmtree(path, ignore_errors=True)
        return folder

    def _photographs(self, files: Sequence[Path], folder: Path) -> list[Path]:
        """The photographs in a folder of their own, checked by their headers."""
        if len(files) == 1 and files[0].suffix.lower() == ".zip":
            photos = unpack(files[0], folder, self.limits)
        else:
            photos = self._copied([file for file in files if is_image(file)], folder)
        for photo in photos:
            try:
                height, width = image_size(photo)
            except UserError:
                continue  # the survey names it
            if height * width > MAX_MEGAPIXELS * 1e6:
                found = height * width / 1e6
                raise UserError(f"{photo.name}: expected at most {MAX_MEGAPIXELS:g} MP, found {found:.0f} MP")
        return photos

    def _copied(self, files: Sequence[Path], folder: Path) -> list[Path]:
        """Uploaded photographs under harmless, different names."""
        if not files:
            raise UserError("expected photographs or one ZIP file of them, found other files")
        if len(files) > self.limits.photographs:
            raise UserError(f"expected at most {self.limits.photographs} photographs, found {len(files)}")
        folder.mkdir(parents=True)
        copies: dict[Path, None] = {}
        for file in files:
            stem, number = re.sub(r"[^\w-]+", "_", file.stem)[:60] or "photograph", 2
            path = folder / f"{stem}{file.suffix.lower()}"
            while path in copies:
                path, number = folder / f"{stem}_{number}{file.suffix.lower()}", number + 1
            copies[Path(shutil.copyfile(file, path))] = None
        return list(copies)


def _packed(folder: Path, path: Path) -> Path:
    """All files of a survey but the records of its progress, as a ZIP file; pictures are compressed already."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and file.relative_to(folder).parts[0] != "photographs":
                small = file.suffix in (".json", ".csv", ".geojson")
                name = file.relative_to(folder).as_posix()
                archive.write(file, name, zipfile.ZIP_DEFLATED if small else zipfile.ZIP_STORED)
    return path
