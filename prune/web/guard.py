"""What the page's server answers, and to whom: a filter before Gradio, as an ASGI middleware.

Gradio serves many programs; this page needs a few of its addresses. Everything else is refused, above all what makes
the server fetch addresses that a visitor names (``/file=http://…``, ``/proxy=…``).
"""

import ipaddress
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from prune.errors import first_line
from prune.progress import say

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

MAX_BODY = 260_000_000
"""Bytes a request may have: one ZIP file of photographs with what a form adds."""
API = re.compile(
    r"/gradio_api/(info|startup-events|theme\.css|heartbeat/\w+|upload|upload_progress|queue/(join|data)|cancel|reset"
    r"|file=[^?]+|app_id|token|user|login_check|call/\w+(/\w+)?|call/v2/\w+)/?"
)
"""Actions go through the queue, which is bounded: no ``run/…`` past it."""
OTHER = re.compile(r"/|/(config|theme\.css|favicon\.ico|robots\.txt|manifest\.json|(static|assets|svelte)/.+)/?")
ADDRESS = re.compile(r"/*[a-z][a-z0-9+.-]*:", re.IGNORECASE)
"""How an address of another server begins, ``http:``."""
HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
        b"worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
"""Sent with every answer: the browser loads nothing from, and sends nothing to, another server."""


class Guard:
    """Pass on what the page needs and refuse the rest.

    Args:
        app: What is guarded.
        host: The address listened at; where it is this computer only, requests must name this computer, so that no
            website can reach the page through a name of its own (DNS rebinding).
    """

    def __init__(self, app: App, host: str) -> None:
        self.app, self.local = app, is_local(host)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        status, reason = (403, "not served here") if scope["type"] != "http" else self.verdict(scope)
        if status == 200:
            await self._passed(scope, receive, send)
        elif scope["type"] == "http":
            await _answer(send, status, reason)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _passed(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on. Gradio fails on some that its own page never sends, such as calls of an action there is not."""
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, _with_headers(sending))
        except Exception as error:
            if begun:
                raise
            say("request", f"{scope['path'][:80]} was not understood ({type(error).__name__}: {first_line(error)})")
            await _answer(send, 400, "expected a request of this page")

    def verdict(self, scope: Message) -> tuple[int, str]:
        """Status and reason for a request: 200 = it is passed on."""
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if self.local and not is_local(_name(headers.get(b"host", ""))):
            return 403, "expected a request to this computer"
        if not allowed(scope["path"]):
            return 403, "not served here"
        if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            length = headers.get(b"content-length", "")
            if not length.isdecimal():
                return 411, "expected a request with a length"
            if int(length) > MAX_BODY:
                return 413, f"expected at most {MAX_BODY / 1e6:.0f} MB"
        return 200, ""


def allowed(path: str) -> bool:
    """Whether the page needs a decoded path of its server."""
    if ".." in path.split("/") or "\\" in path or "\0" in path:
        return False
    if path.startswith("/gradio_api/file="):
        asked = path.removeprefix("/gradio_api/file=")
        return not any(ADDRESS.match(text) for text in (asked, unquote(asked), unquote(unquote(asked))))
    return bool(API.fullmatch(path) or OTHER.fullmatch(path))


def is_local(host: str) -> bool:
    """Whether an address without port is this computer's own: ``localhost``, 127.0.0.0/8 or ``::1``."""
    try:
        return ipaddress.ip_address(host[1:-1] if host[:1] + host[-1:] == "[]" else host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def _name(host: str) -> str:
    """The host of a ``Host`` header without its port."""
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]


async def _answer(send: Send, status: int, reason: str) -> None:
    text = [(b"content-type", b"text/plain; charset=utf-8"), *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": text})
    await send({"type": "http.response.body", "body": reason.encode()})


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
        await send(message)

    return sending
