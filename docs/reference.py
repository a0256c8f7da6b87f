"""Pages generated from the code: the options of every verb, and the functions of the Python API."""

import argparse
import inspect
import os
import re
import typing
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from prune.cli.verbs import VERBS, options_of
from prune.options import add_arguments

FUNCTIONS = ("load", "train", "prune", "evaluate", "export", "predict")
FUNCTIONS += ("survey", "compare", "score", "dataset", "synthesize")
"""The public functions, in the order a user meets them; ``prune.api`` has a module for each."""


def commands() -> str:
    """A section per verb with its options; nothing heavy is imported for it."""
    return "\n\n".join(_verb(name) for name in VERBS)


def _verb(name: str) -> str:
    verb = VERBS[name]
    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser, options_of(name))
    words = [str(action.metavar) for action in parser._actions if not action.option_strings]
    called = f"python {verb.script}" if verb.script else f"python -m prune {name}"
    usage = " ".join([called, *(f"[{word}]" for word in words), "[options]"])
    lines = [f"## {name}", verb.description, f"```text\n{usage}\n```"]
    words_first = sorted(parser._actions, key=lambda action: bool(action.option_strings))
    return "\n\n".join([*lines, *map(_entry, words_first)])


def _entry(action: argparse.Action) -> str:
    """An option as a term and its definition: its spellings, then what ``--help`` says about it."""
    metavar = " ".join(action.metavar) if isinstance(action.metavar, tuple) else str(action.metavar)
    many = action.nargs == "+"
    value = f"[{metavar}]" if action.nargs == "?" and action.option_strings else metavar
    value = f"{value} [{value} ...]" if many else value
    names = [f"`{flag} {value}`" for flag in action.option_strings] or [f"`{metavar}`"]
    return f"{', '.join(names)}\n: {_markdown(str(action.help).replace('%%', '%'))}"


def _markdown(text: str) -> str:
    """Help text with flags as code, and without what Markdown would take for markup."""
    parts = re.split(r"(--[a-z][a-z_0-9]*)", text)
    return "".join(f"`{part}`" if part[:2] == "--" else re.sub(r"([<*_\[\]])", r"\\\1", part) for part in parts)


def functions() -> str:
    """Every public function of ``prune`` with the class of what it returns; each class once, where it comes first."""
    import prune
    from prune.api.crack_table import CrackTable
    from prune.api.measures import Area, CrackMeasurement
    from prune.api.prediction import Prediction
    from prune.inspection.cracks import Crack, Segment
    from prune.inspection.findings import Findings
    from prune.inspection.records import CrackRecord, PhotoRecord
    from prune.inspection.survey_result import SurveyResult

    follows: dict[type, list[type]] = {Prediction: [CrackMeasurement, CrackTable, Crack, Segment, Area]}
    follows[SurveyResult] = [Findings, PhotoRecord, CrackRecord]
    parts: list[str] = []
    told: dict[type, None] = {}
    for name in FUNCTIONS:
        parts.append(f"## prune.{name}\n\n" + _directive("autofunction", f"prune.{name}"))
        found = [one for kind in _classes(getattr(prune, name)) for one in (kind, *follows.get(kind, ()))]
        new = dict.fromkeys(kind for kind in found if kind not in told)
        parts += map(_class_section, new)
        told |= new
    return "\n\n".join(parts)


def _class_section(kind: type) -> str:
    options = (":members:", ":inherited-members:", ":exclude-members: __init__")
    return f"### {kind.__name__}\n\n" + _directive("autoclass", f"{kind.__module__}.{kind.__qualname__}", *options)


def _directive(name: str, argument: str, *options: str) -> str:
    return "\n".join(["```{eval-rst}", f".. {name}:: {argument}", *(f"   {option}" for option in options), "```"])


def _classes(function: Callable[..., Any]) -> list[type]:
    """The classes of this project in the annotated result of a function, in the order they are named."""
    annotation = inspect.unwrap(function).__annotations__.get("return")
    if isinstance(annotation, str):
        annotation = eval(annotation, inspect.unwrap(function).__globals__)
    found = [
        annotation,
        *typing.get_args(annotation),
        *(a for b in typing.get_args(annotation) for a in typing.get_args(b)),
    ]
    return [kind for kind in found if inspect.isclass(kind) and kind.__module__.startswith("prune.")]


def with_included(text: str) -> str:
    """A page with the files it includes by ``<!-- included: PATH -->``, their links made those of the site."""
    return re.sub(r"<!-- included: (\S+) -->", lambda found: _included(found[1]), text)


def _included(name: str) -> str:
    def moved(link: re.Match[str]) -> str:
        target, hash_sign, anchor = link[1].partition("#")
        if not target or "://" in target:
            return link[0]
        path = os.path.normpath(PurePosixPath(name).parent / target)
        if path in PAGES:
            return f"]({PAGES[path]}{hash_sign}{anchor})"
        return f"]({'path:' if path.endswith('.md') else ''}../{path})"

    return re.sub(r"\]\(([^)\s]+)\)", moved, (ROOT / name).read_text(encoding="utf-8"))


ROOT = Path(__file__).parent.parent
PAGES = {
    "CONTRIBUTING.md": "architecture.md",
    "results/benchmarks/README.md": "benchmark_figures.md",
    "results/networks/README.md": "result_networks.md",
    "results/real/README.md": "result_criteria.md",
}
"""Files of the repository that are pages of the site."""
MARKERS: dict[str, Callable[[], str]] = {
    "<!-- generated: the options of every command -->": commands,
    "<!-- generated: the functions and what they return -->": functions,
}
"""What a page writes where generated text belongs."""
