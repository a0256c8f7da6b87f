"""``app.py``: the page, a photograph in the browser and what a network finds on it."""

from collections.abc import Sequence
from dataclasses import dataclass

from prune.cli.verbs import call
from prune.errors import UserError
from prune.options import check, option

MAX_PORT = 65535


@dataclass(frozen=True)
class AppOptions:
    """Options of ``app.py``."""

    host: str = option("127.0.0.1", "address to listen at; the default lets in this computer only", metavar="ADDRESS")
    port: int = option(7860, "port to listen at, 0 = any free one", low=0)

    def __post_init__(self) -> None:
        check(self)
        if self.port > MAX_PORT:
            raise UserError(f"--port: expected at most {MAX_PORT}, found {self.port}")


def run(options: AppOptions) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        UserError: for an address that cannot be listened at.
    """
    from prune.web.server import serve

    serve(options.host, options.port)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse ``argv`` (None = the process's own arguments) and run the command."""
    call("app", argv)
