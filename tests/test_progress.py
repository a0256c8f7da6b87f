"""Lines and bars: silent in a library call, lines where they are asked for, bars on terminals only."""

import io
import sys
from contextlib import redirect_stderr

import pytest

from prune import progress
from prune.errors import UserError, run


class Terminal(io.StringIO):
    """A screen somebody watches."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(params=[Terminal, io.StringIO])
def screen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What standard error is: a terminal, or a file. Nothing is shown yet."""
    monkeypatch.setattr(progress, "_shown", False)
    return request.param()


def work(screen: io.StringIO) -> None:
    """Everything that tells how far it is."""
    with redirect_stderr(screen):
        assert list(progress.progress(range(3), "drawing")) == [0, 1, 2]
        with progress.Bar(total=2, desc="steps") as bar:
            bar.update(description="one", loss=0.5)
            bar.write("a line")
        progress.say("train", "8 images")
        progress.tell("as it is")


def test_a_library_call_is_silent(screen: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    work(screen)
    assert screen.getvalue() == "" and capsys.readouterr().out == ""


def test_bars_appear_on_terminals_only(screen: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    progress.show()
    work(screen)
    assert {"a line", "train    8 images", "as it is"} <= set(capsys.readouterr().out.splitlines())
    assert ("drawing" in screen.getvalue()) == screen.isatty()
    assert screen.isatty() or screen.getvalue() == ""


def test_it_works_without_tqdm(screen: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    progress.show()
    work(screen)
    assert screen.getvalue() == ""


def test_names_from_strangers_do_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.shown_or_not(True):
        progress.say("image", "\x1b]0;title\x07\x1b[31mred\u202egpj.exe \udcff é\tß")
        progress.tell("two\nlines\r")
    assert capsys.readouterr().out == (
        "image    \\x1b]0;title\\x07\\x1b[31mred\\u202egpj.exe \\udcff é\tß\ntwo\nlines\\r\n"
    )
    assert run(progress_fails) == 2
    assert capsys.readouterr().err == "error: \\x1b[2J.png: expected a photograph\n"


def progress_fails() -> None:
    raise UserError("\x1b[2J.png: expected a photograph")
