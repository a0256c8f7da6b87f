"""The report as a PDF: printed by a browser, refused in one line without one."""

import stat
from pathlib import Path

import pytest

import prune
from prune.inspection import print_pdf as module
from prune.inspection.print_pdf import print_pdf
from tests.conftest import refused
from tests.inspection.drawn import dark_model, photograph


def browser(folder: Path, script: str) -> Path:
    """A program called chromium."""
    folder.mkdir()
    file = folder / "chromium"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


def test_without_a_browser_nothing_is_surveyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BROWSERS", ("no-such-browser",))
    with refused("--pdf: expected Chromium, Chrome or Edge to print with, found none"):
        prune.survey(photograph(tmp_path / "a.png", []), dark_model(), output=tmp_path / "out", pdf=True)
    assert not (tmp_path / "out").exists()


def test_the_browser_writes_the_file_that_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = browser(
        tmp_path / "bin", 'for word; do case $word in --print-to-pdf=*) echo "$@" > "${word#*=}";; esac; done'
    )
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    page = tmp_path / "report.html"
    page.write_text("<p>")
    words = print_pdf(page, tmp_path / "report.pdf").read_text()
    assert "--headless" in words and page.resolve().as_uri() in words


def test_a_failing_browser_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = browser(tmp_path / "bin", "echo first >&2; echo no memory >&2; exit 3")
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    with refused(r"--pdf: .*chromium could not print .*report.html: no memory"):
        print_pdf(tmp_path / "report.html", tmp_path / "report.pdf")
    assert not (tmp_path / "report.pdf").exists()
