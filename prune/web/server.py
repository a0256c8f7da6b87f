"""The page's server: Gradio with nothing open that the page does not need."""

import errno
import importlib.util
import os
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from prune.errors import UserError
from prune.files import locked
from prune.progress import say
from prune.web.guard import Guard, is_local

MAX_UPLOAD = "250mb"
"""Of one file: a ZIP file of photographs; what a photograph may be is checked by its header."""
MAX_THREADS = 8
MAX_WAITING = 32
"""Requests that may wait for their turn; the others are told to come back."""
KEPT = (600, 3600)
"""s: how often files are looked through, and the age at which one is removed; visits are forgotten after an hour too."""
PRIVATE, LOCK = "prune-page-", "page"
"""How the folder for temporary files begins, and what in it is locked while the page is served."""
QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
}
"""No request to any other server."""


def serve(host: str = "127.0.0.1", port: int = 7860, work: Path | None = None) -> None:
    """Serve the page until Ctrl-C, or a SIGTERM that ``prune.errors.signals_interrupt`` makes one.

    Args:
        host: Address to listen at.
        port: Port to listen at, 0 = any free one.
        work: Folder whose ``results`` hold the networks, None = the working directory; corrections are saved in it.

    Raises:
        UserError: when Gradio is not installed, and for an address or port that cannot be listened at.
    """
    with serving(host, port, work) as address:
        say("page", f"open {address} in a browser (Ctrl-C stops the server)")
        if not is_local(host):
            say(
                "page",
                "everybody who reaches this address can use it; nothing is encrypted and no password is asked for",
            )
        ended = threading.Event()
        with suppress(KeyboardInterrupt):  # on SIGTERM too, so that a stopped service removes its files
            ended.wait()


@contextmanager
def serving(host: str = "127.0.0.1", port: int = 7860, work: Path | None = None) -> Iterator[str]:
    """Serve the page while the block runs; yields its address.

    What visitors upload and what is drawn for them lies in a folder that only this user can read and that is removed at
    the end, after a kill at the next start. One page per process: the folder for temporary files is the process's.

    Raises:
        UserError: see ``serve``.
    """
    if importlib.util.find_spec("gradio") is None:
        raise UserError("app: needs gradio, which is not installed: pip install prune-crackseg[web]")
    port = free_port(host, port)
    work = (work or Path.cwd()).absolute()
    with _private_folder() as private:
        from prune.web import page

        blocks = page.build(work)
        try:
            yield _launch(blocks, host, port, private, page.LOOK)
        finally:
            blocks.close(verbose=False)


def _launch(blocks: Any, host: str, port: int, private: Path, look: dict[str, Any]) -> str:
    """Start the server of a page in a thread of its own and return its address."""
    from starlette.middleware import Middleware

    blocks.delete_cache = KEPT
    uploads = _Uploads()
    blocks.temp_file_sets = [uploads if one is blocks.upload_file_set else one for one in blocks.temp_file_sets]
    blocks.upload_file_set = uploads
    blocks.queue(max_size=MAX_WAITING, default_concurrency_limit=1)
    # allowed_paths must not be empty, or Gradio reads it from the environment; the folder is served anyway
    _, address, _ = blocks.launch(
        server_name=f"[{host}]" if ":" in host else host,
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        inbrowser=False,
        max_threads=MAX_THREADS,
        max_file_size=MAX_UPLOAD,
        allowed_paths=[str(private / "served")],
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None, "middleware": [Middleware(Guard, host)]},
        strict_cors=True,
        enable_monitoring=False,
        run_history=False,
        footer_links=[],
        mcp_server=False,
        ssr_mode=False,
        pwa=False,
        show_error=True,
        **look,
    )
    return str(address)


class _Uploads(set[str]):
    """The uploaded files, which Gradio removes when they are old. It would stop at an upload without a name: a folder."""

    def update(self, *files: Iterable[str]) -> None:
        """Add files, but no folders."""
        super().update(file for some in files for file in some if not Path(file).is_dir())


@contextmanager
def _private_folder() -> Iterator[Path]:
    """The process's folder for temporary files while the block runs: new, readable by this user only, removed at the end.

    Variables that would open Gradio further are hidden from it; of its own only the address behind a proxy is kept.
    """
    private = Path(tempfile.mkdtemp(prefix=PRIVATE))  # mode 700
    _remove_left(private)
    kept, folder = dict(os.environ), tempfile.tempdir
    for name in [n for n in os.environ if n.startswith("GRADIO_") and n != "GRADIO_ROOT_PATH"]:
        del os.environ[name]
    own = ",".join(filter(None, (kept.get("NO_PROXY", kept.get("no_proxy", "")), "127.0.0.1,localhost,::1")))
    os.environ |= QUIET | {"NO_PROXY": own, "no_proxy": own}
    os.environ |= {"TMPDIR": str(private), "GRADIO_TEMP_DIR": str(private / "files")}
    os.environ |= {"GRADIO_EXAMPLES_CACHE": str(private / "examples")}
    tempfile.tempdir = str(private)
    try:
        with locked(private / LOCK):
            yield private
    finally:
        tempfile.tempdir = folder
        os.environ.clear()
        os.environ.update(kept)
        shutil.rmtree(private, ignore_errors=True)


def _remove_left(private: Path) -> None:
    """Remove the folders of pages of this user that were killed: no one holds their locks any more."""
    for folder in private.parent.glob(f"{PRIVATE}*"):
        with suppress(OSError, UserError):
            own = not folder.is_symlink() and folder.stat().st_uid == private.stat().st_uid
            if own and (folder / f".{LOCK}.lock").is_file():
                with locked(folder / LOCK):
                    shutil.rmtree(folder, ignore_errors=True)


def free_port(host: str, port: int) -> int:
    """``port``, or a free one for 0, after a try to listen at it.

    Raises:
        UserError: when it is taken, may not be used, or the address is none of this computer's.
    """
    try:
        found = socket.getaddrinfo(host.strip("[]") or None, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise UserError(f"--host: expected an address of this computer, found {host!r}") from error
    with socket.socket(found[0], socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(sys.platform != "win32"))
        try:
            tried.bind(found[4])
        except PermissionError as error:
            raise UserError(f"--port: expected one this user may listen at, found {port}: try 7860") from error
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise UserError(
                    f"--port: {port} is taken by another program: try --port {port + 1}, or 0 for any"
                ) from error
            raise UserError(f"--host: expected an address of this computer, found {host!r}") from error
        return int(tried.getsockname()[1])
