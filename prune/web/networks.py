"""The networks the page offers: those of the package, and every file in ``results/models`` and ``results/exports``."""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prune.api.inspect import FileCard, inspect
from prune.api.load import load
from prune.errors import UserError, first_line
from prune.files import EXPORTS, MODELS, SHIPPED, visible
from prune.inference.latency import time_in_turns, time_predictors
from prune.inference.predictor import EXPORT_SUFFIXES, Predictor
from prune.inference.probability import require_logits
from prune.web.evidence import Evidence, see

LOADED = 3
"""Networks kept in memory."""
LATENCY_SIZE = (480, 640)
"""Height and width in px at which the card gives the latency."""
REPEATS = 5
SECONDS = 120.0
"""After so many a photograph is given up, before the next tile."""
SHORT = 2.0
"""s: passes up to this are timed three times, longer ones once."""


@dataclass(frozen=True)
class Entry:
    """A network that can be chosen.

    Args:
        name: What it is called, unique on the page: ``crack``, or the name of its file.
        file: Where it lies.
        label: What the list shows.
        problem: Why it cannot be used, empty = it can.
    """

    name: str
    file: Path
    label: str
    problem: str = ""


@dataclass(frozen=True)
class Loaded:
    """A network ready for prediction.

    Args:
        name: Of its entry.
        predictor: What runs it.
        has_logits: Whether a threshold and probabilities mean anything; exports that give class ids have none.
    """

    name: str
    predictor: Predictor
    has_logits: bool

    @property
    def class_id(self) -> int | None:
        """The id of the class crack, None = it has none."""
        return self.predictor.classes.index("crack")

    @property
    def has_gradients(self) -> bool:
        """Whether Seg-Grad-CAM can be drawn: PyTorch runs it."""
        return self.predictor.card.runtime == "pytorch"


def listed(work: Path) -> list[Entry]:
    """The networks of the package and of a working folder; files that cannot be used are listed with the reason."""
    shipped = [(file.stem, file) for file in visible(SHIPPED, "*.onnx")]
    own = [*visible(work / MODELS, "*.pth")]
    own += [file for file in visible(work / EXPORTS, "*") if file.suffix in EXPORT_SUFFIXES]
    entries = [_entry(name, file, f"{name} (comes with the program)") for name, file in shipped]
    return entries + [_entry(file.name, file, file.name) for file in own]


def _entry(name: str, file: Path, label: str) -> Entry:
    try:
        problem = _problem(file, file.stat().st_mtime_ns)
    except OSError as error:  # it was removed in the meantime
        problem = error.strerror or "it cannot be read"
    return Entry(name, file, f"{label}: cannot be used" if problem else label, problem)


@lru_cache(maxsize=256)
def _problem(file: Path, changed: int) -> str:
    """Why a file cannot be used, empty = it can; the message names no folder of the server."""
    try:
        predictor = load(file, device="cpu").predictor
    except UserError as error:
        return _without_folder(error.message, file)
    except Exception as error:  # a damaged file may fail anywhere inside its runtime
        return _without_folder(first_line(error), file)
    if len(predictor.classes) < 2:
        return "expected at least two classes, background first, found one"
    return ""


def _without_folder(message: str, file: Path) -> str:
    return message.replace(str(file), file.name).replace(str(file.parent), "its folder")


class Networks:
    """The networks of a working folder; those used last stay loaded, and one runs at a time.

    Args:
        work: Holds ``results``.
        loaded: Networks kept in memory.
    """

    def __init__(self, work: Path, loaded: int = LOADED) -> None:
        self.work, self.most = work, loaded
        self._loaded: OrderedDict[tuple[str, int], Loaded] = OrderedDict()
        self._cards: dict[tuple[str, int], str] = {}
        self._lock = threading.RLock()

    def entries(self) -> list[Entry]:
        """What there is now."""
        return listed(self.work)

    def entry(self, name: str | None) -> Entry:
        """The entry called ``name``: nothing else can be opened from the page.

        Raises:
            UserError: when there is none, or it cannot be used.
        """
        found = next((entry for entry in self.entries() if entry.name == name), None)
        if found is None:
            raise UserError(f"expected a network of the list, found {name!r}" if name else NONE)
        if found.problem:
            raise UserError(f"{found.name} cannot be used: {found.problem}")
        return found

    def open(self, name: str | None) -> Loaded:
        """The network called ``name``, loaded unless it is already.

        Raises:
            UserError: see ``entry``, and for a file that was damaged since.
        """
        entry = self.entry(name)
        key = entry.name, entry.file.stat().st_mtime_ns
        with self._lock:
            if key not in self._loaded:
                self._loaded[key] = _loaded(entry)
            self._loaded.move_to_end(key)
            while len(self._loaded) > self.most:
                self._loaded.popitem(last=False)
            return self._loaded[key]

    def see(self, network: Loaded, image: NDArray[np.uint8], seconds: float = SECONDS) -> Evidence:
        """What a network finds on a photograph uint8 (H, W, 3), RGB.

        Raises:
            UserError: when it takes longer than ``seconds``, and when the network fails.
        """
        end = time.monotonic() + seconds
        with self._lock:
            network.predictor.stopped = lambda: time.monotonic() > end
            try:
                return see(network.predictor, image)
            except CancelledError:
                raise UserError(f"expected a photograph done within {seconds:g} s, found a larger one") from None
            finally:
                network.predictor.stopped = None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No network runs for anyone else inside the block."""
        with self._lock:
            yield

    def milliseconds(self, networks: tuple[Loaded, Loaded], image: NDArray[np.uint8]) -> tuple[float, float]:
        """Median time of two networks on a photograph uint8 (H, W, 3), RGB, run interleaved."""
        passes = {number: one.predictor for number, one in enumerate(networks)}
        with self._lock:
            start = time.monotonic()
            self.see(networks[0], image)
            repeats = 3 if time.monotonic() - start < SHORT else 1
            works = {str(number): (lambda one=one: one.class_map(image)) for number, one in passes.items()}
            taken = time_in_turns(works, repeats, warmup=1 if repeats > 1 else 0)  # type: ignore[arg-type]
        return taken["0"].median, taken["1"].median

    def card(self, name: str | None) -> str:
        """The card of a network as Markdown; its latency is measured here when it is asked for the first time."""
        try:
            entry = self.entry(name)
            key = entry.name, entry.file.stat().st_mtime_ns
            if key not in self._cards:
                with self._lock:
                    self._cards[key] = card(entry, self.open(entry.name))
            return self._cards[key]
        except UserError as error:
            return str(error)


NONE = "there is no network yet: train one, or put a file into results/models or results/exports"


def _loaded(entry: Entry) -> Loaded:
    try:
        predictor = load(entry.file, device="cpu").predictor
    except UserError as error:
        raise UserError(_without_folder(error.message, entry.file)) from error
    try:
        require_logits(predictor)
    except UserError:
        return Loaded(entry.name, predictor, has_logits=False)
    return Loaded(entry.name, predictor, has_logits=True)


def card(entry: Entry, network: Loaded) -> str:
    """What a file says about its network, its size, and its latency measured here, as Markdown."""
    about = inspect(entry.file)
    time_ms = time_predictors({entry.name: network.predictor}, LATENCY_SIZE, REPEATS)[entry.name].median
    height, width = network.predictor.card.size or LATENCY_SIZE
    facts = [*_facts(about), ("Time here", f"{time_ms:.0f} ms for {width}x{height} px, median of {REPEATS}")]
    facts += [("Output", f"{about.output}: no threshold, no probability")] if not network.has_logits else []
    facts += [(heading.capitalize(), " ".join(lines)) for heading, lines in about.card.notes.items()]
    return "\n".join(f"- **{_plain(heading)}:** {_plain(text)}" for heading, text in facts)


def _facts(about: FileCard) -> list[tuple[str, str]]:
    card = about.card
    parameters = "unknown" if about.parameters is None else f"{about.parameters / 1e6:.2f} M"
    macs = ", ".join(f"{macs / 1e9:.2f} G at {size}" for size, macs in about.macs.items()) or "unknown"
    return [
        ("Network", ", ".join((card.architecture or "unknown", *about.traits))),
        ("Runs on", f"{card.runtime}, {card.precision}"),
        ("Size", f"{about.mib:.1f} MiB, {parameters} parameters"),
        ("MACs", macs),
        ("Classes", ", ".join(card.classes.classes[1:])),
        *([("How it came about", "; ".join(card.history))] if card.history else []),
    ]


def _plain(text: str) -> str:
    """Text of a file as text: it can neither be HTML nor Markdown."""
    for sign in "\\`*_[]#|":
        text = text.replace(sign, f"\\{sign}")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
