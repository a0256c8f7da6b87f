"""What README and documentation say is true of this tree: links, commands, flags, and calls; nothing is run."""

import ast
import inspect
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import prune
from prune.cli.verbs import SYNONYMS, VERBS, options_of, parse
from prune.options import SPELLINGS, flag_of
from tests.conftest import ROOT

README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
SCRIPTS = {verb.script: name for name, verb in VERBS.items() if verb.script}
OTHER_PROGRAMS = {"make", "source", "pip", "python3", ".venv/bin/python"}
"""What shell examples start with besides the commands of this project."""


def blocks(page: Path, language: str) -> list[str]:
    """The fenced examples of a language in a page."""
    found = re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return [re.sub(r"\s*\\\n\s*", " ", block) for block in found]  # lines that go on


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def words_of(line: str) -> tuple[str, list[str]] | None:
    """The verb of a command line of this project and the words behind it; None for other programs."""
    words = shlex.split(line, comments=True)
    if words[:2] == ["torchrun", "--nproc_per_node"]:
        words = ["python", *words[3:]]
    if words[:1] == ["python"] and words[1:2] and words[1] in SCRIPTS:
        return SCRIPTS[words[1]], words[2:]
    head = 3 if words[:3] == ["python", "-m", "prune"] else 1 if words[:1] == ["prune-crackseg"] else 0
    if not head or len(words) == head:
        return None
    return SYNONYMS.get(words[head], words[head]), words[head + 1 :]


def command_lines() -> list[tuple[str, str]]:
    """Every command line in examples and in running text, with the name of its page."""
    found = []
    for page in PAGES:
        lines = [
            line for block in blocks(page, "sh") for line in block.splitlines() if shlex.split(line, comments=True)
        ]
        lines += re.findall(r"`((?:python|prune-crackseg|torchrun) [^`]+)`", prose(page))
        found += [(page.name, line) for line in lines]
    return found


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_every_command_line_is_one_that_its_verb_takes(page: str, line: str) -> None:
    command = words_of(line)
    if command is None:
        program = shlex.split(line)[0]
        assert program in OTHER_PROGRAMS or line in ("python -m prune", "prune-crackseg"), f"{page}: {line}"
        return
    verb, words = command
    assert verb in VERBS, f"{page}: {line}"
    parse(options_of(verb), "", words)


def test_every_flag_in_the_text_is_one() -> None:
    known = {"--help", "--version", "--index-url", "--no-deps", "--nproc_per_node"}
    for verb in VERBS:
        for field in fields(options_of(verb)):
            if "help" in field.metadata:
                known |= {flag_of(field), *field.metadata["aliases"], *SPELLINGS.get(field.name, ())}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        text = re.sub(r"^```text\n.*?^```$|`ray start[^`]*`", "", text, flags=re.M | re.S)  # of other programs
        found = set(re.findall(r"(?<![\w-])--[a-z][\w-]*\w", text))
        assert found <= known, f"{page.name}: {found - known}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_call_of_the_python_api_fits_its_signature(page: Path) -> None:
    for block in blocks(page, "python"):
        for call in (node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Call)):
            function = call.func
            if (
                isinstance(function, ast.Attribute)
                and isinstance(function.value, ast.Name)
                and function.value.id == "prune"
            ):
                names = {str(keyword.arg): None for keyword in call.keywords}
                inspect.signature(getattr(prune, function.attr)).bind(*call.args, **names)


def anchors(page: Path) -> set[str]:
    """The anchors of a page: its headings as GitHub and the site write them, and those of generated sections."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.M)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | (set(VERBS) if page.name == "commands.md" else set())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_inside_the_project_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(file), f"{page.name}: {target}"
    for included in re.findall(r"<!-- included: (\S+) -->", prose(page)):
        assert (ROOT / included).is_file()


def test_targets_of_make_and_extras_of_pip_exist() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", text, flags=re.M))
    assert named and named <= targets
    extras = re.findall(r"^([a-z]+) = \[", (ROOT / "pyproject.toml").read_text(), flags=re.M)
    used = {extra for group in re.findall(r"\.\[([a-z,]+)\]", text) for extra in group.split(",")}
    assert used and used <= set(extras)


def test_the_readme_fits_a_screen_and_a_half() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 130
    assert max(map(len, lines)) <= 160
    assert "--trust_pickle" in README.read_text(encoding="utf-8")


def test_the_pages_have_narrow_lines() -> None:
    wide = [
        f"{p.name}:{n}"
        for p in PAGES[1:]
        for n, line in enumerate(p.read_text().splitlines(), 1)
        if len(line) > 120 and not line.startswith("|")  # rows of tables cannot be broken
    ]
    assert not wide


def test_the_command_reference_is_generated_without_anything_heavy() -> None:
    code = (
        "import sys; sys.path[:0] = ['docs', '.']; import reference; text = reference.commands();"
        "assert not {'torch', 'scipy', 'pandas', 'matplotlib'} & set(sys.modules); print(text)"
    )
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    for verb in VERBS:
        section = finished.stdout.partition(f"## {verb}\n")[2].partition("\n## ")[0]
        flags = [flag_of(f) for f in fields(options_of(verb)) if "help" in f.metadata and not f.metadata["positional"]]
        assert VERBS[verb].description in section
        assert [flag for flag in flags if f"`{flag}" not in section] == []


@pytest.mark.slow
def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    words = ["-E", "-a", "-q", "-W", "--keep-going", "-b", "html", "-d", str(tmp_path / "doctrees")]
    finished = subprocess.run(
        [sys.executable, "-m", "sphinx", *words, str(ROOT / "docs"), str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0 and not finished.stderr, finished.stderr
    pages = {file.stem for file in (tmp_path / "site").glob("*.html")}
    assert {page.stem for page in PAGES[1:]} <= pages
    assert 'id="prune.train"' in (tmp_path / "site/api.html").read_text(encoding="utf-8")
