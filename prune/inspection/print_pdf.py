"""The report as a PDF, printed by the browser that is installed: Chromium, Chrome or Edge without a window."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from prune.errors import UserError, first_line
from prune.files import atomic_path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
"""Programs that print, by name."""
SECONDS = 600
"""Longer a report does not take."""


def find_browser() -> str:
    """The program that prints.

    Raises:
        UserError: when none is installed.
    """
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        raise UserError(
            "--pdf: expected Chromium, Chrome or Edge to print with, found none: install one, or print report.html from "
            "your browser"
        )
    return found


def print_pdf(page: Path, pdf: Path) -> Path:
    """Print an HTML file as a PDF, atomically, and return its path.

    Raises:
        UserError: when no browser is installed, or it fails.
    """
    browser = find_browser()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, atomic_path(pdf) as temporary:
        words = [browser, "--headless", "--disable-gpu", f"--user-data-dir={profile}", "--no-pdf-header-footer"]
        words += ["--no-first-run", "--disable-extensions", f"--print-to-pdf={temporary.resolve()}"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            words.append("--no-sandbox")  # the browser refuses its sandbox to the superuser; the page is our own
        try:
            done = subprocess.run(
                [*words, page.resolve().as_uri()], capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UserError(f"--pdf: {browser} could not print {page}: {first_line(error)}") from error
        if done.returncode or not temporary.is_file():
            lines = done.stderr.strip().splitlines()
            raise UserError(f"--pdf: {browser} could not print {page}: {lines[-1][:160] if lines else done.returncode}")
    return pdf
