"""The page as a user starts it, and requests to it without a browser."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prune.web.server import free_port
from tests.conftest import ROOT

WAIT = 60
"""s: for an answer, and for the end of the server."""


def start(*words: object, work: Path, **variables: str) -> "subprocess.Popen[str]":
    """The page as a user starts it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **variables}
    command = [sys.executable, str(ROOT / "app.py"), *map(str, words)]
    return subprocess.Popen(
        command, cwd=work, env=environment, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True
    )


def address_of(program: "subprocess.Popen[str]") -> str:
    """The address it prints."""
    assert program.stdout
    for line in program.stdout:
        if "http://" in line:
            return next(word for word in line.split() if word.startswith("http://")).rstrip("/")
    raise AssertionError("the page was not served")


def served(work: Path) -> Iterator[str]:
    """The address of the page while it runs on a free port."""
    program = start("--port", free_port("127.0.0.1", 0), work=work)
    try:
        yield address_of(program)
    finally:
        program.terminate()
        program.wait(WAIT)


def fetched(
    address: str, headers: dict[str, str] | None = None, data: bytes | None = None, wait: float = WAIT
) -> tuple[int, bytes, Any]:
    """Status, body and headers; no proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(address, data, headers or {}), timeout=wait) as answer:
            body, end = b"", time.monotonic() + 5 * wait
            while part := answer.read1(1 << 16):
                body += part
                if time.monotonic() > end:  # a stream that goes on without an event
                    raise TimeoutError(f"{address}: no end of the answer after {5 * wait:.0f} s")
            return answer.status, body, answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


def form(content: bytes, name: bytes) -> tuple[dict[str, str], bytes]:
    """Headers and body of an upload of a file, whose name may be anything."""
    boundary = "x" * 20
    head = b'--%b\r\nContent-Disposition: form-data; name="files"; filename="%b"\r\n\r\n' % (boundary.encode(), name)
    return (
        {"Content-Type": f"multipart/form-data; boundary={boundary}"},
        head + content + f"\r\n--{boundary}--\r\n".encode(),
    )
