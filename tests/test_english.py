"""The words users read: strings, docstrings and comments of the code, and every page, in plain American English."""

import io
import json
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

BRITISH = (
    r"(?:centi|milli|kilo)?met(?:re)s?|cent(?:re|res|red)|gr(?:ey)(?:s|ish|scale)?|fib(?:re)s?",
    r"(?:colo|favo|neighbo|behavio|hono|labo)ur\w*",
    r"(?:normal|initial|optim|organ|recogn|general|summar|visual|synchron|quant|regular|minim|maxim|real)is(?:e|es|ed|er|ing|ation)",
    r"analys(?:e|ed|es|ing)(?<!analyses)|catalogues?|artefacts?|licence|defence|judgement|programmes?|whilst|learnt|sceptical",
    r"(?:label|model|cancel|travel|signal|channel)l(?:ed|ing)",
)
"""British spellings; identifiers of other libraries never come into running text here."""
PHRASES = (
    r"way to PyPI",
    r"goes on with|same command goes on",
    r"house is built|the one door",
    r"everything \S+(?: \S+){0,4} can be told|may be told",
    r"appetite|contenders?|talkative|stranger|yardstick|by a hair|quiet hour",
    r"(?:can|cannot|could|to) be had",
    r"nobody|somebody",
    r"tak(?:e|es|ing|en) turns|in turns",
    r"none: (?:the|a|all|by|those|synthetic|data)",
    r"where nothing else is said|unless told otherwise",
    r"what (?:a|the|another) networks? sees?|two networks see",
    r"sees? (?:no|the|every) cracks?",
    r"networks of others|none of this project",
    r"anew",
    r"edge box",
    r"(?:the|whole) journey|leaves? the lab",
    r"dwells?|sighted|wished",
    r"do what it says|as chance has it",
    r"readable on a telephone",
)
"""What a native reader stumbles over, each once met here; add what you find."""
SPACED_PERCENT = r"(?<=[0-9}]) %(?![\w.(])"
"""American text writes 50%."""
KEPT = (
    r"95 % (?:low|high)",  # columns of workbooks and tables that users' programs read
    r"50 % (?:channels|INT8)|\} % channels",  # names of figures in stored benchmarks
    r"\} %, fine-tuned",  # a stage in stored tables of networks
)
"""Names in files of users, which do not change for the sake of a space."""

BANNED = re.compile(rf"\b(?:{'|'.join((*BRITISH, *PHRASES))})\b|{SPACED_PERCENT}", flags=re.IGNORECASE)


def words_of_code(file: Path) -> Iterator[tuple[int, str]]:
    """The strings, docstrings and comments of a Python file, line by line with their numbers."""
    tokens = tokenize.generate_tokens(io.StringIO(file.read_text(encoding="utf-8")).readline)
    kinds = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    for token in tokens:
        if token.type in kinds:
            yield from enumerate(token.string.splitlines(), token.start[0])


def words_of(file: Path) -> Iterator[tuple[int, str]]:
    """What people read in a file, line by line with their numbers; of a notebook, without line numbers of its own."""
    if file.suffix == ".py":
        yield from words_of_code(file)
    elif file.suffix == ".ipynb":
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        yield from ((number, line) for number, cell in enumerate(cells, 1) for line in cell["source"])
    else:
        yield from enumerate(file.read_text(encoding="utf-8").splitlines(), 1)


def found_in(file: Path) -> list[str]:
    """``file:line: words`` for everything banned; lines are joined in pairs, because phrases wrap."""
    found = []
    before = ""
    for number, line in words_of(file):
        kept = re.sub("|".join(KEPT), "", line)
        joined = f"{before.rstrip()} {kept.strip().lstrip('# ')}"
        start = len(before.rstrip())
        found += [
            f"{file.relative_to(ROOT)}:{number}: {match[0]!r}"
            for match in BANNED.finditer(joined)
            if match.end() > start + 1
        ]
        before = kept
    return found


FILES = [
    *(p for p in sorted((ROOT / "prune").rglob("*.py"))),
    *sorted((ROOT / "prune/recipes").glob("*.ini")),
    *sorted((ROOT / "docs").glob("*.*")),
    *sorted((ROOT / "notebooks").glob("*.ipynb")),
    *sorted(ROOT.glob("*.py")),
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "results").glob("*/README.md")),
    *(ROOT / name for name in ("Makefile", "pyproject.toml", "CITATION.cff")),
]


def test_plain_american_english_everywhere() -> None:
    found = [line for file in FILES for line in found_in(file)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        '"""The centre line."""',
        "# a grey picture",
        'x = f"{share} % of the pixels"',
        '"""Shows what a\nnetwork sees."""',
        'help = "checkpoint; none: the newest"',
    ],
)
def test_the_list_is_looked_for_in_strings_docstrings_and_comments(text: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (tmp_path / "a.py").write_text(text + "\n", encoding="utf-8")
    assert len(found_in(tmp_path / "a.py")) == 1
    (tmp_path / "b.py").write_text(
        'grey = 7\nx = grey % 5\ny = "95 % low"\nz = "a center line, 50%"\n', encoding="utf-8"
    )
    assert found_in(tmp_path / "b.py") == []
