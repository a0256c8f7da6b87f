"""The server: what it answers, what it refuses, what one visitor can see of another."""

import asyncio
import json
import socket
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from prune.cli.app import AppOptions
from prune.files import locked
from prune.web.guard import MAX_BODY, Guard, allowed, is_local
from prune.web.server import _private_folder, _Uploads, free_port, serve
from tests.conftest import ROOT, refused
from tests.web.hand_made import dark_network
from tests.web.serving import WAIT, address_of, fetched, form, served, start

gradio_client = pytest.importorskip("gradio_client")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    (folder / "secret.txt").write_text("secret")
    (folder / "results/models").mkdir(parents=True)
    (folder / "results/models/broken.pth").write_bytes(b"no network")
    dark_network(folder / "results/exports/dark.onnx")
    return folder


@pytest.fixture(scope="module")
def page(work: Path) -> Iterator[str]:
    """One server for all tests of this module."""
    pytest.importorskip("gradio")
    yield from served(work)


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    pixels = np.full((96, 128, 3), 170, np.uint8)
    pixels[:, 60:63] = 20
    Image.fromarray(pixels).save(tmp_path / "wall.png")
    return tmp_path / "wall.png"


def test_what_the_working_folder_and_the_disk_hold_is_not_served(page: str, work: Path) -> None:
    assert fetched(f"{page}/config")[0] == 200
    files = (work / "secret.txt", work / "results/models/broken.pth", "/etc/passwd", ROOT / "app.py", "secret.txt")
    for file in files:
        for prefix in ("file=", "file/", "file=/", "file=%2e%2e/"):
            status, body, _ = fetched(f"{page}/gradio_api/{prefix}{file}")
            assert status in (403, 404) and body != b"secret" and b"root:" not in body, (prefix, file)


@pytest.mark.parametrize(
    "path",
    [
        "gradio_api/file=http://127.0.0.1:1/x",
        "gradio_api/file=HTTPS://example.invalid/x",
        "gradio_api/file=http%3A//example.invalid/x",
        "gradio_api/file=file:///etc/passwd",
        "gradio_api/proxy=http://example.invalid/",
        "gradio_api/runs",
        "gradio_api/run/show",
        "gradio_api/vibe-code/",
        "gradio_api/openapi.json",
        "monitoring",
        "monitoring/summary",
        "docs",
    ],
)
def test_addresses_the_page_does_not_need_are_refused(page: str, path: str) -> None:
    status, body, _ = fetched(f"{page}/{path}")
    assert (status, body) == (403, b"not served here")


def test_other_names_of_this_computer_are_refused(page: str) -> None:
    assert fetched(page, {"Host": "example.invalid"})[:2] == (403, b"expected a request to this computer")
    assert fetched(page, {"Host": "localhost:80"})[0] == 200


def test_the_browser_is_told_to_load_nothing_from_elsewhere(page: str) -> None:
    policy = fetched(page)[2]["content-security-policy"]
    assert policy.startswith("default-src 'self';") and "http" not in policy


def test_a_photograph_goes_through_and_stays_with_its_visitor(page: str, photograph: Path) -> None:
    quiet: dict[str, Any] = {"verbose": False, "analytics_enabled": False}
    first, second = (gradio_client.Client(page, **quiet) for _ in range(2))
    first.predict(gradio_client.handle_file(str(photograph)), api_name="/photo")
    shown = first.predict("dark.onnx", 0.5, ["Crack"], 0.5, "standard", None, api_name="/show")
    assert Path(shown[0]).is_file() and Image.open(shown[0]).size == (128, 96)
    assert not any(second.predict("dark.onnx", 0.5, ["Crack"], 0.5, "standard", None, api_name="/show")[:1])


def test_an_upload_has_an_address_nobody_can_guess(page: str, photograph: Path) -> None:
    import hashlib

    content = photograph.read_bytes()
    headers, body = form(content, b"wall.png")
    uploaded = Path(json.loads(fetched(f"{page}/gradio_api/upload", headers, body)[1])[0])
    assert fetched(f"{page}/gradio_api/file={uploaded}")[1] == content
    known = hashlib.sha256(content).hexdigest()
    assert uploaded.parent.name != known  # a secret of the server is part of it
    folder = uploaded.parent.parent
    for guess in (folder, folder / known / "wall.png", folder / "wall.png", folder / "*" / "wall.png"):
        assert fetched(f"{page}/gradio_api/file={guess}")[0] in (403, 404)
    private = next(parent for parent in uploaded.parents if parent.name.startswith("prune-page-"))
    assert stat.S_IMODE(private.stat().st_mode) == 0o700


def test_a_broken_file_is_a_sentence_and_the_page_stays_up(page: str, tmp_path: Path) -> None:
    (tmp_path / "wall.png").write_bytes(b"no image")
    client = gradio_client.Client(page, verbose=False, analytics_enabled=False)
    told = client.predict(gradio_client.handle_file(str(tmp_path / "wall.png")), api_name="/photo")
    assert told[-1] == "Expected a photograph (PNG, JPEG, TIFF, BMP, WebP or GIF), found another file"
    assert fetched(page)[0] == 200


def test_too_large_requests_are_refused_before_they_are_read(page: str) -> None:
    name, port = page.removeprefix("http://").split(":")
    with socket.create_connection((name, int(port)), timeout=WAIT) as line:
        line.sendall(
            f"POST /gradio_api/upload HTTP/1.1\r\nHost: {name}\r\nContent-Length: {MAX_BODY + 1}\r\n\r\n".encode()
        )
        assert line.recv(100).startswith(b"HTTP/1.1 413 ")


def test_an_upload_without_a_name_is_not_to_be_removed_as_a_file(tmp_path: Path) -> None:
    uploads = _Uploads()
    (tmp_path / "a.png").touch()
    uploads.update([str(tmp_path), str(tmp_path / "a.png")], [str(tmp_path / "comes later.png")])
    assert uploads == {str(tmp_path / "a.png"), str(tmp_path / "comes later.png")}


def test_folders_of_killed_pages_are_removed_at_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed, living, foreign, link = (tmp_path / f"prune-page-{name}" for name in ("killed", "living", "mine", "link"))
    for folder in (killed, living, foreign):
        (folder / "files").mkdir(parents=True)
    (killed / ".page.lock").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / ".page.lock").touch()
    link.symlink_to(tmp_path / "elsewhere")
    with locked(living / "page"), _private_folder() as private:
        assert not killed.exists()
        with _private_folder():  # another page
            assert private.is_dir()
    assert {one.name for one in tmp_path.iterdir()} == {living.name, foreign.name, link.name, "elsewhere"}
    assert (living / "files").is_dir() and (link / ".page.lock").is_file()


@pytest.mark.slow
def test_the_private_folder_is_removed_at_the_end(tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    work, temporary = tmp_path / "work", tmp_path / "temporary"
    work.mkdir()
    temporary.mkdir()
    program = start("--port", 0, work=work, TMPDIR=str(temporary))
    address_of(program)
    assert len(list(temporary.glob("prune-page-*"))) == 1
    program.terminate()
    assert program.wait(WAIT) == 0 and not any(temporary.iterdir()) and not any(work.iterdir())


def test_photographs_become_a_survey_to_download(page: str, tmp_path: Path) -> None:
    pixels = np.full((120, 160, 3), 200, np.uint8)
    pixels[50:55, 20:120] = 10
    Image.fromarray(pixels).save(tmp_path / "wall.png")
    client = gradio_client.Client(page, verbose=False, analytics_enabled=False)
    files = [gradio_client.handle_file(str(tmp_path / "wall.png"))]
    report, everything, text = client.predict(files, "dark.onnx", 0.5, api_name="/survey")
    report, everything = (one["value"] if isinstance(one, dict) else one for one in (report, everything))
    assert "1 crack, total length 50" in text and "wall" in Path(report).read_text()
    with zipfile.ZipFile(everything) as archive:
        assert "cracks.csv" in archive.namelist()


def test_a_taken_port_and_a_bad_host_are_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with refused(f"^--port: {port} is taken by another program: try --port {port + 1}, or 0 for any$"):
            serve(port=port)
    for host in ("192.0.2.1", "no.such.host.invalid", "a b", "x" * 300):
        with refused(f"^--host: expected an address of this computer, found '{host}'$"):
            free_port(host, 0)
    with refused("^--port: expected at most 65535, found 70000$"):
        AppOptions(port=70000)
    with refused("^--port: expected at least 0, found -1$"):
        AppOptions(port=-1)


def test_without_gradio_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with refused(r"^app: needs gradio, which is not installed: pip install prune-crackseg\[web\]$"):
        serve(port=0)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST.", "::1", "[::1]"])
def test_this_computer_has_several_names(host: str) -> None:
    assert is_local(host)


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "example.org", "localhost.example.org", "127.0.0.1.example.org", "[::1"]
)
def test_other_names_are_not_this_computer(host: str) -> None:
    assert not is_local(host)


def test_on_an_open_address_any_name_is_answered() -> None:
    scope = {"headers": [(b"host", b"example.org")], "path": "/", "method": "GET"}

    async def nothing(*_: Any) -> None: ...

    assert Guard(nothing, "0.0.0.0").verdict(scope) == (200, "")
    assert Guard(nothing, "127.0.0.1").verdict(scope)[0] == 403
    posted = {**scope, "path": "/gradio_api/queue/join", "method": "POST"}
    assert Guard(nothing, "0.0.0.0").verdict(posted)[0] == 411


@pytest.mark.parametrize("begun", [False, True])
def test_a_request_that_gradio_fails_on_gets_an_answer(begun: bool) -> None:
    sent: list[Any] = []

    async def fails(scope: Any, receive: Any, send: Any) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200})
        raise KeyError("no such action")

    async def keep(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "headers": [(b"host", b"localhost")], "path": "/config", "method": "GET"}
    passed = Guard(fails, "127.0.0.1")(scope, keep, keep)
    if begun:  # half an answer is no answer: the server ends the connection
        with pytest.raises(KeyError):
            asyncio.run(passed)
        assert [message.get("status") for message in sent] == [200]
    else:
        asyncio.run(passed)
        assert sent[0]["status"] == 400 and sent[1]["body"] == b"expected a request of this page"


@pytest.mark.parametrize(
    "path", ["/", "/config", "/assets/a.js", "/gradio_api/queue/join", "/gradio_api/file=/a/b.jpg"]
)
def test_what_the_page_needs_is_allowed(path: str) -> None:
    assert allowed(path)


@pytest.mark.parametrize(
    "path", ["/gradio_api/file=/tmp/../etc", "/assets/../x", "/gradio_api/file=a\0", "/file=/etc/passwd"]
)
def test_tricks_are_not_allowed(path: str) -> None:
    assert not allowed(path)
