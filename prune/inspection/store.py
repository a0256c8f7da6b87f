"""The folder of a survey: one record per finished photograph, so that a survey that was stopped goes on where it was."""

import datetime
import hashlib
import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from prune.errors import UserError
from prune.files import visible, write_json
from prune.inspection.records import SHAPE, VERSION, PhotoRecord, Source
from prune.shapes import check_shape, load_json

FORMAT = "prune-survey"
RECORDS, MASKS, OVERLAYS, MAPS, GROWTH = "photographs", "masks", "overlays", "maps", "growth"
"""Folders of a survey."""
CHUNK = 2**20


def digest_of(file: Path) -> str:
    """SHA-256 of a file as hexadecimal digits; of an unchanged one, such as a video with many frames, taken once.

    Raises:
        UserError: when it cannot be read.
    """
    try:
        status = file.stat()
    except OSError as error:
        raise UserError(f"{file}: expected a readable file, found: {error.strerror or error}") from error
    return _digest(file, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=8)
def _digest(file: Path, size: int, mtime_ns: int) -> str:
    """The digest of a file of that size and time."""
    found = hashlib.sha256()
    try:
        with file.open("rb") as stream:
            while part := stream.read(CHUNK):
                found.update(part)
    except OSError as error:
        raise UserError(f"{file}: expected a readable file, found: {error.strerror or error}") from error
    return found.hexdigest()


def identity_of(file: Path) -> dict[str, Any]:
    """What tells a file from a changed one: size, time and digest.

    Raises:
        UserError: when it cannot be read.
    """
    digest = digest_of(file)
    status = file.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": digest}


@dataclass(frozen=True)
class Store:
    """The files of one survey.

    Args:
        folder: Where they lie.
        settings: Everything that the measurements depend on, as plain values; a survey of others is not mixed with them.
    """

    folder: Path
    settings: Mapping[str, Any]

    @property
    def file(self) -> Path:
        """What the survey was made with, and its totals."""
        return self.folder / "survey.json"

    @property
    def key(self) -> str:
        """Of the settings, for every record: 16 hexadecimal digits."""
        text = json.dumps({"version": VERSION, **self.settings}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def open(self, force: bool) -> str:
        """Begin or continue the survey and return the date it was begun, ISO 8601.

        Raises:
            UserError: for a folder of other settings, unless ``force``, and for one that holds something else.
        """
        stored = self._stored()
        if stored is not None and not force:
            self._require_same(stored["settings"])
            return str(stored["begun"])
        begun = datetime.date.today().isoformat()
        self.write(begun, {})
        return begun

    def _stored(self) -> Mapping[str, Any] | None:
        """The content of an earlier survey of this name, None when there is none."""
        if not self.file.exists():
            if visible(self.folder, "*"):  # a killed process may have left a hidden file
                raise UserError(
                    f"{self.folder}: expected an empty folder or that of a survey, found other files: choose another "
                    "name (--name)"
                )
            return None
        with suppress(UserError):
            content = load_json(self.file, "a survey")
            check_shape(content, {"format": str, "begun": str, "settings": dict}, str(self.file))
            if content["format"] == FORMAT:
                return dict(content)
        raise UserError(f"{self.file} exists and is not a survey of this program: choose another name (--name)")

    def _require_same(self, stored: Mapping[str, Any]) -> None:
        now = json.loads(json.dumps(dict(self.settings)))
        for name in {**now, **stored}:
            if stored.get(name) != now.get(name):
                raise UserError(
                    f"{self.folder} was made with other settings, {name} {stored.get(name)!r} instead of {now.get(name)!r}: "
                    "choose another name (--name), or replace it with --force"
                )

    def write(self, begun: str, found: Mapping[str, Any]) -> Path:
        """Write ``survey.json`` with what was found, and return its path."""
        content = {"format": FORMAT, "version": VERSION, "begun": begun, "settings": dict(self.settings), **found}
        return write_json(self.file, content)

    def path(self, kind: str, source: Source, suffix: str) -> Path:
        """The file of a photograph in one of the folders."""
        return self.folder / kind / f"{source.name}{suffix}"

    def save(self, source: Source, record: PhotoRecord, identity: Mapping[str, Any]) -> None:
        """Write the record of a photograph whose other files are complete; ``identity`` is that of its file when it was read."""
        content = {"made_with": self.key, "source": dict(identity), "photograph": record.to_json()}
        write_json(self.path(RECORDS, source, ".json"), content)

    def finished(self, source: Source) -> PhotoRecord | None:
        """The record of a photograph that is done, None when it is to be done: it, its file or the settings changed.

        A file of the same size and time counts as the same, and so does a copy of the same content.
        """
        try:
            file = self.path(RECORDS, source, ".json")
            if not file.is_file():
                return None
            content = load_json(file, "a record")
            check_shape(content, {"made_with": str, "source": {"size": int, "mtime_ns": int, "sha256": str}}, str(file))
            status, known = source.file.stat(), content["source"]
            same = (known["size"], known["mtime_ns"]) == (status.st_size, status.st_mtime_ns)
            same = same or (known["size"] == status.st_size and known["sha256"] == digest_of(source.file))
            record = _record(content, file)
            written = all((self.folder / name).is_file() for name in record.files.values())
            return record if same and written and content["made_with"] == self.key else None
        except (OSError, UserError):
            return None

    def forget(self, names: Collection[str]) -> None:
        """Remove records, masks and overlays of photographs that are not among ``names``: they were taken away."""
        for kind in (RECORDS, MASKS, OVERLAYS, MAPS, GROWTH):
            top = self.folder / kind
            for file in top.rglob("*") if top.is_dir() else ():
                if file.is_file() and not file.name.startswith(".") and _name(file, top) not in names:
                    file.unlink(missing_ok=True)


def read_record(file: Path) -> PhotoRecord:
    """The photograph of a record.

    Raises:
        UserError: when it cannot be read or is damaged.
    """
    return _record(load_json(file, "the record of a photograph"), file)


def _record(content: Any, file: Path) -> PhotoRecord:
    check_shape(content, {"photograph": SHAPE}, str(file))
    try:
        return PhotoRecord.from_json(content["photograph"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{file}: expected the record of a photograph, found a damaged one ({error})") from error


def _name(file: Path, top: Path) -> str:
    """The photograph's name within the survey that a file in the folder ``top`` belongs to."""
    return file.relative_to(top).with_suffix("").as_posix()
