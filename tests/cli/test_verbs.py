"""The one command line: every verb under one program, flags that suggest themselves, packages that are not installed."""

import subprocess
import sys
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import pytest

from prune import progress
from prune.cli import verbs
from prune.errors import run
from prune.options import CHECKPOINT_FLAGS, Parser, add_arguments, check, flag_of, given_values, option
from prune.version import VERSION
from tests.conftest import ROOT, command, refused


@dataclass(frozen=True)
class Options:
    """Options with other spellings: their own, and those that are the same on every command line."""

    checkpoint: str | None = option(None, "what to read; default: the newest", positional=True)
    files: tuple[str, ...] = option((), "several", aliases=("--many",))
    data_dir: str | None = option(None, "data")
    dataset: str = option("auto", "layout")
    output: str = option("a", "result", metavar="DIR")
    latency_size: int = option(512, "side", low=32)
    kind: str = option("x", "which", flag="class")


@dataclass(frozen=True)
class OtherOptions:
    """Where names mean something else."""

    weights: str = option("auto", "start", choices=("auto", "none"))
    state_dict: str | None = option(None, "file")
    size: int = option(1, "side")
    latency_size: int = option(2, "side")


def given(*words: str) -> dict[str, object]:
    return given_values(Parser(prog="p"), Options, words)


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["a.pth"], {"checkpoint": "a.pth"}),
        *[([flag, "a.pth"], {"checkpoint": "a.pth"}) for flag in CHECKPOINT_FLAGS],
        (["--check", "a.pth"], {"checkpoint": "a.pth"}),  # an abbreviation of one of them
        (["--many", "a", "b", "--files", "c"], {"files": ("a", "b", "c")}),
        (["--data", "d", "--output_dir", "o", "--size", "64"], {"data_dir": "d", "output": "o", "latency_size": 64}),
        (["--data_d", "d", "--out", "o", "--class", "y"], {"data_dir": "d", "output": "o", "kind": "y"}),
        ([], {}),
    ],
)
def test_other_spellings_set_the_same_field(words: list[str], values: dict[str, object]) -> None:
    assert given(*words) == values


def test_a_name_that_means_something_else_is_no_other_spelling() -> None:
    words = ["--weights", "none", "--checkpoint", "a.pth", "--size", "7"]
    found = given_values(Parser(prog="p"), OtherOptions, words)
    assert found == {"weights": "none", "state_dict": "a.pth", "size": 7}


VERBS_WITH_A_CHECKPOINT = ("prune", "test", "inference", "export", "inspect", "benchmark")


@pytest.mark.parametrize("verb", VERBS_WITH_A_CHECKPOINT)
@pytest.mark.parametrize("flag", CHECKPOINT_FLAGS)
def test_a_checkpoint_is_named_the_same_way_in_every_verb(verb: str, flag: str) -> None:
    (value,) = given_values(Parser(prog="p"), verbs.options_of(verb), [flag, "a.pth"]).values()
    assert value in ("a.pth", ("a.pth",))


@pytest.mark.parametrize("verb", verbs.VERBS)
def test_data_output_and_size_are_named_the_same_way_in_every_verb(verb: str) -> None:
    options = verbs.options_of(verb)
    flags = {flag_of(field) for field in fields(options) if not field.metadata["positional"]}
    for group in (("--data", "--data_dir"), ("--output", "--output_dir"), ("--latency_size", "--size")):
        if flags & {group[0], group[1]} - {"--size"}:
            for flag in group:
                assert given_values(Parser(prog="p"), options, [flag, "64"])


def test_help_says_file_dir_and_the_other_spellings() -> None:
    parser = Parser(prog="p")
    add_arguments(parser, Options)
    shown = " ".join(parser.format_help().split())
    assert "--state_dict FILE, --weights FILE, --checkpoint FILE the same as CHECKPOINT" in shown
    assert "--data_dir DIR, --data DIR" in shown and "--output DIR, --output_dir DIR result" in shown
    assert "--class TEXT" in shown and "what to read; default: the newest" in shown


def test_an_unknown_flag_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    for words, hint in (
        (["--latncy_size", "3"], "unrecognized arguments: --latncy_size, did you mean --latency_size?"),
        (["a", "b", "--ouptut=3"], "unrecognized arguments: b --ouptut=3, did you mean --output for --ouptut?"),
        (["--zzzzzz"], "unrecognized arguments: --zzzzzz (see p --help)"),
    ):
        with pytest.raises(SystemExit):
            given(*words)
        assert f"error: {hint}" in capsys.readouterr().err


def test_checks_name_the_first_spelling() -> None:
    with refused("--latency_size: expected at least 32, found 3"):
        check(Options(latency_size=3))


@pytest.mark.parametrize("verb", ["train", "test", "prune", "inference", "predict", "export", "models"])
def test_every_verb_is_a_word_of_the_program(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["prune-crackseg", verb, "--help"])
    with pytest.raises(SystemExit) as stop:
        run(partial(verbs.main, "prune-crackseg"))
    assert stop.value.code == 0 and capsys.readouterr().out.startswith(f"usage: prune-crackseg {verb} ")


def test_the_program_tells_its_version_and_its_verbs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["prune-crackseg", "--version"])
    assert run(partial(verbs.main, "prune-crackseg")) == 0 and capsys.readouterr().out == f"prune-crackseg {VERSION}\n"
    monkeypatch.setattr(sys, "argv", ["prune-crackseg"])
    assert run(partial(verbs.main, "prune-crackseg")) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name:12} {verb.description}" in shown for name, verb in verbs.VERBS.items())
    assert shown.startswith("usage: prune-crackseg VERB") and "(also: predict)" in shown
    monkeypatch.setattr(sys, "argv", ["prune-crackseg", "exprot"])
    assert run(partial(verbs.main, "prune-crackseg")) == 2
    assert capsys.readouterr().err == "error: unknown command 'exprot', did you mean export?\n"


def test_a_verb_runs_from_the_console_program(here: Path) -> None:
    code = "import sys; from prune.cli.start import program; sys.exit(program())"
    words = ["synthesize", "drawn", "--images", "3", "--size", "64"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=here, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "3 images (train 1, val 1, test 1) in drawn" in done.stdout and "\x1b" not in done.stderr + done.stdout
    assert "it/s" not in done.stderr and "image/s" not in done.stderr  # no bars where nobody watches


WITHOUT = (
    "import sys\n"
    "class Hidden:\n"
    "    def find_spec(self, name, path=None, target=None):\n"
    "        if name.split('.')[0] in {hidden!r}:\n"
    "            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)\n"
    "sys.meta_path.insert(0, Hidden())\n"
    "from prune.cli.start import program; sys.exit(program())"
)
EDGE = (
    "torch",
    "torchvision",
    "torch_pruning",
    "scipy",
    "pandas",
    "openpyxl",
    "matplotlib",
    "tqdm",
    "filelock",
    "psutil",
)


@pytest.mark.parametrize(
    ("words", "package"),
    [
        (["train", "S2DS", "S2DS", "x"], "torch"),
        (["models"], "torch"),
        (["synthesize", "out"], "scipy"),
        (["study", "S2DS"], "torch"),
        (["demo"], "scipy"),
    ],
)
def test_a_package_that_is_not_installed_is_one_line(words: list[str], package: str, data: Path, here: Path) -> None:
    (here / "S2DS").symlink_to(data)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(hidden=EDGE), *words],
        cwd=here,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
    )
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and line.startswith(f"error: {words[0]}: needs ")
    assert line.endswith("which is not installed: pip install prune-crackseg[train]")


def test_a_mistake_in_the_program_itself_is_no_missing_package() -> None:
    with pytest.raises(ModuleNotFoundError), verbs.missing_packages_named("train"):
        raise ModuleNotFoundError("No module named 'prune.nothing'", name="prune.nothing")
    with refused(r"export: needs onnxscript, which is not installed: pip install prune-crackseg\[export\]"):
        with verbs.missing_packages_named("export"):
            raise ModuleNotFoundError("No module named 'onnxscript.ir'", name="onnxscript.ir")


def test_a_command_shows_its_progress_and_leaves_the_library_silent(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = progress.shown()
    verbs.run_command("-m prune synthesize", ["drawn", "--images", "3", "--size", "64"])
    assert "3 images" in capsys.readouterr().out and progress.shown() == before


def test_python_m_prune_is_the_same_program(here: Path) -> None:
    done = command("-m prune", "train", "--help", cwd=here)
    assert done.stdout.startswith("usage: python -m prune train ")


@pytest.mark.parametrize("verb", ["train", "prune", "test", "export", "inspect", "inference"])
def test_a_network_of_somebody_elses_is_named_by_its_factory_in_every_verb(verb: str) -> None:
    options = verbs.options_of(verb)
    assert given_values(Parser(prog="p"), options, ["--factory", "mine:build"]) == {"factory": "mine:build"}
