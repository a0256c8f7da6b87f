"""The order of the rooms: every module has a rank, imports run one way, and nothing is circular."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROWS = (
    ("errors", "files", "hardware", "number_format", "options", "progress", "recipes", "shapes", "tables", "version"),
    ("data", "metrics"),
    ("models",),
    ("pruning", "synthetic"),
    ("inference",),
    ("evaluation", "training"),
    ("deployment",),
    ("report",),
    ("inspection",),
    ("api",),
    ("benchmark", "studies"),
    ("",),
    ("web",),
    ("cli",),
    ("__main__",),
)
"""Rooms and loose modules from the ground up; imports run from later rows to earlier ones, or within a row one way.

The empty name is the package itself, which holds its version."""


def modules(root: Path) -> dict[str, Path]:
    """Dotted names of all modules of the package in ``root``, packages by the name of their folder."""
    files = (root / "prune").rglob("*.py")
    return {".".join(f.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): f for f in files}


def imported(source: str, known: dict[str, Path]) -> Iterator[str]:
    """Modules of ``known`` that a source text imports anywhere, functions and ``from package import module`` included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "prune":
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in known else node.module


def room(module: str) -> str:
    """The first name behind ``prune``: a room or a loose module; empty for the package itself."""
    return [*module.split("."), ""][1]


def graph(root: Path) -> dict[str, set[str]]:
    """What every module imports."""
    known = modules(root)
    return {name: set(imported(file.read_text(encoding="utf-8"), known)) - {name} for name, file in known.items()}


def circle(edges: dict[str, set[str]]) -> list[str]:
    """The modules of one circle of imports, empty when there is none."""
    done: set[str] = set()
    for start in edges:
        path: list[str] = []

        def walk(name: str, path: list[str] = path) -> list[str]:
            if name in path:
                return path[path.index(name) :]
            if name in done:
                return []
            path.append(name)
            found = next((found for other in sorted(edges.get(name, ())) if (found := walk(other))), [])
            if not found:
                path.pop()
                done.add(name)
            return found

        if found := walk(start):
            return found
    return []


def upward(edges: dict[str, set[str]]) -> list[str]:
    """Imports of a later row, and rooms of one row that import each other."""
    rank = {name: number for number, row in enumerate(ROWS) for name in row}
    wrong = [f"{m} imports {o}" for m, others in edges.items() for o in others if rank[room(o)] > rank[room(m)]]
    between: dict[str, set[str]] = defaultdict(set)
    for module, others in edges.items():
        between[room(module)] |= {room(other) for other in others} - {room(module)}
    for row in ROWS:
        inside = {name: between[name] & set(row) for name in row}
        wrong += [f"{' and '.join(found)} import each other"] if (found := circle(inside)) else []
    return wrong


def test_every_module_has_a_rank() -> None:
    ranked = {name for row in ROWS for name in row}
    assert {room(module) for module in modules(ROOT)} == ranked


def test_imports_run_one_way() -> None:
    assert upward(graph(ROOT)) == []


def test_there_is_no_circle() -> None:
    assert circle(graph(ROOT)) == []


def test_few_modules_lie_loose() -> None:
    loose = [f.stem for f in (ROOT / "prune").glob("*.py") if not f.stem.startswith("__")]
    assert len(loose) <= 9


def test_no_package_bears_the_name_of_an_api_verb() -> None:
    verbs = {"load", "train", "prune", "evaluate", "predict", "score", "compare", "export", "study", "survey"}
    verbs |= {"synthesize", "dataset"}
    assert not verbs & {room(module) for module in modules(ROOT)}


@pytest.mark.parametrize(
    "text", ["from prune import models", "def f():\n    from prune.models import cost", "import prune.models.cost"]
)
def test_lazy_and_whole_module_imports_are_seen(text: str) -> None:
    known = {"prune": Path(), "prune.models": Path(), "prune.models.cost": Path()}
    assert set(imported(text, known)) & {"prune.models", "prune.models.cost"}


def test_circles_and_wrong_directions_are_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    assert upward({"prune.data.images": {"prune.models.cost"}, "prune.models.cost": set()}) == [
        "prune.data.images imports prune.models.cost"
    ]
    assert upward({"prune.data.a": {"prune.metrics.b"}, "prune.metrics.b": {"prune.data.a"}})
