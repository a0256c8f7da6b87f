"""What the page keeps of every visitor in memory, behind a token that cannot be guessed; old visits are forgotten."""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from prune.errors import UserError
from prune.report.paper import Picture
from prune.web.evidence import Evidence
from prune.web.limits import Upload
from prune.web.scale import Point

MAX_VISITS = 32
MAX_AGE = 3600.0
"""s: a visit that is not used for so long is forgotten."""
MAX_BYTES = 3_000_000_000
"""Of all visits together; the one used last may be larger by itself."""
KEPT_NETWORKS = 2
"""The evidence of so many networks is kept per visit: the one that is shown and the one it is compared with."""
FORGOTTEN = "expected a photograph: choose one, or take an example"


@dataclass
class Visit:
    """One photograph of one visitor.

    Args:
        upload: The photograph.
        name: Of its file, without folder and suffix.
        seen: What networks saw on it, by the name of the network, the latest last.
        clicks: Points of the scale (x, y) in px of the photograph.
        times: Milliseconds of two networks on it, by their names.
        used: When it was used last, in s.
        edited: The class map that the editor was opened with, uint8 (H, W), and the network's name.
    """

    upload: Upload
    name: str
    seen: "OrderedDict[str, Evidence]" = field(default_factory=OrderedDict)
    clicks: list[Point] = field(default_factory=list)
    edited: tuple[NDArray[np.uint8], str] | None = None
    times: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    used: float = 0.0
    _folder: TemporaryDirectory[str] = field(default_factory=lambda: TemporaryDirectory(prefix="prune-visit-"))

    @property
    def image(self) -> Picture:
        """The photograph, uint8 (H, W, 3), RGB."""
        return self.upload.image

    @property
    def folder(self) -> Path:
        """Where files of this visit are written before they are sent; removed with it, readable by this user only."""
        return Path(self._folder.name)

    def keep(self, network: str, evidence: Evidence) -> None:
        """Remember what a network saw; the oldest evidence above ``KEPT_NETWORKS`` is forgotten."""
        self.seen[network] = evidence
        self.seen.move_to_end(network)
        while len(self.seen) > KEPT_NETWORKS:
            self.seen.popitem(last=False)

    @property
    def bytes(self) -> int:
        """Memory it takes."""
        evidence = sum(one.best.nbytes + one.odds.nbytes + one.levels.nbytes for one in self.seen.values())
        return self.image.nbytes + evidence

    def close(self) -> None:
        """Remove its files."""
        self._folder.cleanup()


class Sessions:
    """All visits, the one used last at the end.

    Args:
        visits: Kept at most.
        age: In s: visits that are not used for longer are forgotten.
        size: Bytes all visits may take.
        clock: Gives the time in s.
    """

    def __init__(
        self,
        visits: int = MAX_VISITS,
        age: float = MAX_AGE,
        size: int = MAX_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.visits, self.age, self.size, self.clock = visits, age, size, clock
        self._kept: OrderedDict[str, Visit] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def start(self, upload: Upload, name: str) -> str:
        """Keep a photograph and return its token."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._kept[token] = Visit(upload, name, used=self.clock())
        self.tidy()
        return token

    def get(self, token: str) -> Visit:
        """The visit of a token.

        Raises:
            UserError: when there is none, or it was forgotten.
        """
        self.tidy()
        with self._lock:
            visit = self._kept.get(token)
            if visit is None:
                raise UserError(FORGOTTEN)
            visit.used = self.clock()
            self._kept.move_to_end(token)
            return visit

    def forget(self, token: str) -> None:
        """Forget a visit and remove its files; nothing happens where there is none."""
        with self._lock:
            self._forget(token)

    def tidy(self) -> None:
        """Forget visits that are too old, too many or too large together; the one used last stays."""
        with self._lock:
            for token in [t for t, visit in self._kept.items() if self.clock() - visit.used > self.age]:
                self._forget(token)
            total = sum(visit.bytes for visit in self._kept.values())
            while len(self._kept) > 1 and (len(self._kept) > self.visits or total > self.size):
                oldest = next(iter(self._kept))
                total -= self._kept[oldest].bytes
                self._forget(oldest)

    def _forget(self, token: str) -> None:
        visit = self._kept.pop(token, None)
        if visit is not None:
            visit.close()
