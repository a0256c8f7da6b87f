"""Part of ``make fuzz``: damaged uploads to the page, many at once, and requests for what is not the visitor's.

    python -m tests.fuzz.page --uploads 200 --output results/reliability

It prints a table and writes ``page.md`` and ``page.json``; the exit code is 1 when something failed.
"""

import argparse
import datetime
import io
import json
import platform
import sys
import tempfile
import threading
import time
import uuid
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

from prune.benchmark.cpu import cpu_kind
from prune.files import write_json
from prune.progress import say, shown_or_not
from prune.tables import markdown_table, text_table
from prune.web.server import free_port
from tests.fuzz.mutations import mutated
from tests.fuzz.readers import FORMATS
from tests.web.hand_made import dark_network
from tests.web.serving import WAIT, address_of, fetched, form, start

AT_ONCE = 20
SECRET = b"what nobody who visits the page may read"
LOOK: list[Any] = ["dark.onnx", 0.5, ["Crack"], 0.5, "standard", None]
NAMES = (
    b"wall.png",
    b"../../../../tmp/wall.png",
    b"..%2f..%2fwall.jpg",
    b"/etc/wall.png",
    b"C:\\\\wall.png",
    b"wall\x1b[2J.png",
    b"<script>alert(1)</script>.png",
    b"a" * 300 + b".png",
    b"\xff\xfe.png",
    b".png",
    b"..",
    b"wall.png.zip",
    b"",
)
"""Names that uploads have."""
REFUSALS = ("Invalid file type. Please upload a file that is",)
"""Sentences of Gradio for a visitor."""
PHOTOS = tuple(
    name for name in FORMATS if name.startswith(("photograph, ", "photographs, ", "ONNX, hand", "orthophoto"))
)
"""Formats whose damaged files are uploaded."""
BOUND = 200.0
"""MiB by which the server may grow between the first quarter of the uploads and the end."""
HEAD = """Requests to the page, {date}, CPU of the kind {cpu}, Python {python}: {uploads} uploads of damaged files, {at_once} at once.
Server memory {mib[0]:.0f} MiB after the first quarter of them, {mib[1]:.0f} MiB at the end; open files {files[0]} and {files[1]}.

"""
HEADER = ("requests", "number", "refused", "failed")


@dataclass
class Report:
    """What became of the requests of each kind."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, outcome: str, said: str = "") -> None:
        """Count a request that was answered, refused, or failed."""
        with self.lock:
            self.counts.setdefault(kind, Counter())[outcome] += 1
            if outcome == "failed":
                self.failures.append(f"{kind}: {said}"[:300])

    def rows(self) -> list[list[str]]:
        """A row for each kind of request."""
        return [[k, f"{sum(c.values()):,}", f"{c['refused']:,}", f"{c['failed']:,}"] for k, c in self.counts.items()]


class Visitor:
    """Somebody with a session of their own."""

    def __init__(self, page: str, report: Report) -> None:
        self.page, self.report, self.session = page, report, uuid.uuid4().hex

    def get(self, kind: str, path: str, data: bytes | None = None, headers: dict[str, str] | None = None) -> bytes:
        """The answer to a request; an error of the server counts as failed, and so does the secret."""
        try:
            status, body, _ = fetched(self.page + path, headers, data, wait=2 * WAIT)
        except OSError as error:
            self.report.add(kind, "failed", f"{path}: {error}")
            return b""
        wrong = status >= 500 or SECRET in body or b"root:x:" in body
        outcome = "failed" if wrong else "answered" if status < 400 else "refused"
        self.report.add(kind, outcome, f"{path[:100]}: status {status}, {body[:80]!r}")
        return body if outcome == "answered" else b""

    def upload(self, content: bytes, name: bytes) -> str:
        """The path of an uploaded file on the server, empty when it was refused."""
        headers, body = form(content, name)
        answer = self.get("uploads", "/gradio_api/upload", body, headers)
        return json.loads(answer)[0] if answer else ""

    def call(self, kind: str, name: str, data: list[Any]) -> Any:
        """The result of an action of the page, None when it was refused."""
        body = json.dumps({"data": data, "session_hash": self.session}).encode()
        while True:
            answer = self.get(kind, f"/gradio_api/call/{name}", body, {"Content-Type": "application/json"})
            if not answer:
                return None
            text = self.get(kind, f"/gradio_api/call/{name}/{json.loads(answer)['event_id']}").decode()
            event, _, rest = text.rpartition("event: ")[2].partition("\n")
            found = json.loads(rest.partition("data: ")[2] or "null")
            if event == "complete":
                return found
            if "queue" in str(found).lower():  # too many wait: as the page says, once more
                time.sleep(0.2)
                continue
            told = isinstance(found, dict) and str(found.get("error", "")).startswith(REFUSALS)
            outcome = "refused" if kind == "files of others" or told else "failed"
            self.report.add(kind, outcome, f"{name}: {found}")
            return None

    def photo(self, path: str) -> None:
        """Choose an uploaded photograph, look at what was found, and measure it."""
        told = self.call("photographs", "photo", [{"path": path, "meta": {"_type": "gradio.FileData"}}])
        if told is None:
            return
        shown = self.call("results", "show", LOOK)
        self.call("results", "measure", LOOK)
        for one in shown or ():
            if isinstance(one, dict) and one.get("path"):
                self.get("pictures", f"/gradio_api/file={one['path']}")

    def survey(self, path: str) -> None:
        """Ask for the survey of an uploaded archive."""
        self.call("surveys", "survey", [[{"path": path, "meta": {"_type": "gradio.FileData"}}], "dark.onnx", 0.5])


def damaged_files(folder: Path) -> list[tuple[str, bytes]]:
    """A valid file of every format that is uploaded."""
    found = []
    for name in PHOTOS:
        place = folder / name.replace(" ", "_")
        place.mkdir()
        found.append((name, FORMATS[name].make(place).read_bytes()))
    return found


def bombs() -> list[tuple[str, bytes]]:
    """Files that are small and unpack to much: a picture of 25 and one of 400 megapixels, and three archives."""
    found = []
    for side in (5000, 20_000):
        stream = io.BytesIO()
        Image.new("1", (side, side)).save(stream, format="PNG")
        found.append(("picture.png", stream.getvalue()))
    for names in (["a.png"], [f"{i}.png" for i in range(600)], ["../a.png", "/etc/a.png"]):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in names:
                archive.writestr(name, bytes(64 << 20) if len(names) == 1 else b"x")
        found.append(("bomb.zip", stream.getvalue()))
    return found


def send(visitor: Visitor, content: bytes, name: bytes, archive: bool) -> None:
    """Upload a file and ask for what the page does with it."""
    path = visitor.upload(content, name)
    if path and archive:
        visitor.survey(path)
    elif path:
        visitor.photo(path)


def others(page: str, report: Report, work: Path) -> None:
    """Ask for files of another visitor, of the server and of other computers, and send what is no request of the page."""
    kind = "files of others"
    owner, thief = Visitor(page, report), Visitor(page, report)
    stream = io.BytesIO()
    Image.effect_noise((64, 48), 60).convert("RGB").save(stream, format="PNG")
    mine = owner.upload(stream.getvalue(), b"mine.png")
    owner.photo(mine)
    if any((thief.call(kind, "show", LOOK) or [None])[:1]):
        report.add(kind, "failed", "a result of another visitor")
    if thief.call(kind, "measure", LOOK) is None:
        report.add(kind, "failed", "no answer")
    folder = Path(mine).parent.parent
    secret = work / "secret.txt"
    paths = [
        folder,
        folder / "mine.png",
        folder / "*/mine.png",
        secret,
        "/etc/passwd",
        f"{mine}/../../../../etc/passwd",
    ]
    paths += [
        f"http://{page.removeprefix('http://')}/config",
        "file:///etc/passwd",
        f"{folder}/%2e%2e/%2e%2e/secret.txt",
    ]
    for path in paths:
        if thief.get(kind, f"/gradio_api/file={path}"):
            report.add(kind, "failed", f"served {path}")
        entry = {"path": str(path), "url": str(path), "meta": {"_type": "gradio.FileData"}}
        for name, data in (("photo", [entry]), ("survey", [[entry], "dark.onnx", None])):
            if SECRET.decode() in json.dumps(thief.call(kind, name, data)):
                report.add(kind, "failed", f"{name} tells {path}")
    malformed(thief)


def malformed(visitor: Visitor) -> None:
    """Requests that no page sends."""
    kind, words = "malformed requests", {"Content-Type": "application/json"}
    for body in (
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"data": 3}',
        b'{"data": []}',
        b'{"fn_index": 9999, "data": [], "session_hash": "a"}',
    ):
        for path in (
            "call/show",
            "call/nothing",
            "call/v2/show",
            "call/v2/nothing",
            "run/show",
            "queue/join",
            "cancel",
            "reset",
        ):
            visitor.get(kind, f"/gradio_api/{path}", body, words)
    for path in ("file=", "file=%00", "file=" + "a" * 5000, "heartbeat", "theme.css/nothing"):
        visitor.get(kind, f"/gradio_api/{path}")
    headers, body = form(b"x", b"a.png")
    for content in (b"", body[:40], body[:-8]):
        visitor.get(kind, "/gradio_api/upload", content, headers)
    visitor.get(kind, "/gradio_api/upload", body, {"Content-Type": "multipart/form-data"})
    visitor.get(kind, "/gradio_api/upload", body, {"Content-Type": "text/plain"})


def attack(page: str, process: psutil.Process, work: Path, uploads: int, at_once: int) -> dict[str, Any]:
    """Send everything and give the counts, and memory in MiB and open files after a quarter and at the end."""
    report, marks = Report(), []
    with tempfile.TemporaryDirectory() as folder:
        whole = damaged_files(Path(folder))
    jobs = []
    for number in range(uploads):
        name, content = whole[number % len(whole)]
        archive, title = "ZIP" in name, NAMES[number % len(NAMES)]
        title = title.replace(b".png", b".zip").replace(b".jpg", b".zip") if archive else title
        jobs.append((mutated(content, number), title, archive))

    def one(job: tuple[bytes, bytes, bool]) -> None:
        send(Visitor(page, report), *job)

    for part in (jobs[: uploads // 4], jobs[uploads // 4 :]):
        say("page", f"{len(part)} uploads, {at_once} at once")
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(one, part))
        if not marks:
            say("page", "bombs, and files of others")
            for name, content in bombs():
                send(Visitor(page, report), content, name.encode(), name.endswith(".zip"))
            others(page, report, work)
        marks.append((process.memory_info().rss / 2**20, process.num_fds()))
    if marks[1][0] - marks[0][0] > BOUND:
        report.add("memory", "failed", f"{marks[0][0]:.0f} MiB, at the end {marks[1][0]:.0f} MiB")
    if Visitor(page, report).get("the page itself", "/config") == b"":
        report.add("the page itself", "failed", "it is gone")
    now = {"date": datetime.date.today().isoformat(), "cpu": cpu_kind(), "python": platform.python_version()}
    mib, files = zip(*marks, strict=True)
    counts = {kind: dict(count) for kind, count in report.counts.items()}
    found = {"uploads": uploads, "at_once": at_once, "mib": [round(one, 1) for one in mib], "files": files}
    return {**now, **found, "counts": counts, "failures": report.failures, "rows": report.rows()}


def run(uploads: int, at_once: int) -> dict[str, Any]:
    """Serve the page in a process of its own and attack it."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        dark_network(work / "results/exports/dark.onnx")
        (work / "secret.txt").write_bytes(SECRET)
        program = start("--port", free_port("127.0.0.1", 0), work=work)
        said: list[str] = []
        try:
            page = address_of(program)
            threading.Thread(target=lambda: said.extend(program.stdout or ()), daemon=True).start()
            found = attack(page, psutil.Process(program.pid), work, uploads, at_once)
        finally:
            program.terminate()
            program.wait(WAIT)
    return found | {"log": [line.rstrip() for line in said[-40:]]}


def main() -> int:
    """Run it; the exit code is 1 when something failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uploads", type=int, default=200)
    parser.add_argument("--at_once", type=int, default=AT_ONCE)
    parser.add_argument("--output", type=Path, default=Path("results/reliability"), help="folder of the results")
    options = parser.parse_args()
    with shown_or_not(True):
        found = run(options.uploads, options.at_once)
    rows, log = found.pop("rows"), found.pop("log")
    write_json(options.output / "page.json", found)
    (options.output / "page.md").write_text(HEAD.format(**found) + markdown_table(HEADER, rows) + "\n")
    print(text_table(HEADER, rows, "lrrr"))
    print(f"memory   {found['mib'][0]:.0f} MiB, at the end {found['mib'][1]:.0f} MiB; open files {found['files']}")
    for line in found["failures"]:
        print(f"failed   {line}")
    if found["failures"]:
        print("\n".join(log))
    return 1 if found["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
