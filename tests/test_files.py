import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prune import progress
from prune.cli import defaults
from prune.data.mask_files import files_by_stem
from prune.errors import UserError
from prune.files import (
    LONGEST_STEM,
    STALE_SECONDS,
    TEMPORARY,
    atomic_path,
    atomic_paths,
    locked,
    require_plain_name,
    short_name,
    visible,
    write_text,
)
from prune.synthetic import synthesize, unfinished
from tests.conftest import ROOT, refused


def start(code: str, cwd: Path) -> "subprocess.Popen[str]":
    """Run Python code in a process of its own that prints to a pipe."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", code], cwd=cwd, env=environment, stdout=pipe, stderr=pipe, text=True)


def age(path: Path) -> Path:
    """Make a file as old as one that nobody is writing any more."""
    old = time.time() - STALE_SECONDS - 60
    os.utime(path, (old, old))
    return path


def test_what_a_killed_process_left_is_hidden_and_removed_when_it_is_old(tmp_path: Path) -> None:
    code = (
        "import os, signal; from pathlib import Path; from prune.files import atomic_path\n"
        "with atomic_path(Path('small.pth')) as temporary:\n"
        "    temporary.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    for _ in range(2):
        assert start(code, tmp_path).wait(60) == -signal.SIGKILL
    old, recent = sorted(tmp_path.iterdir())
    assert all(TEMPORARY.fullmatch(path.name) for path in (old, recent)) and visible(tmp_path, "*") == []
    age(old)
    mine = [age(write_text(tmp_path / name, "")) for name in (".notes.pth", "small.0123abcd.writing.pth")]
    process = start(
        "from pathlib import Path; from prune.files import write_text; write_text(Path('a.txt'), '')", tmp_path
    )
    assert process.wait(60) == 0
    assert set(tmp_path.iterdir()) == {recent, *mine, tmp_path / "a.txt"}


def test_temporary_names_keep_the_suffix_and_are_no_images(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "001.png") as temporary:
        temporary.write_bytes(b"half")
        assert temporary.suffix == ".png" and TEMPORARY.fullmatch(temporary.name)
        with refused("expected image files, found none"):
            files_by_stem(tmp_path, (".png",))
    assert list(files_by_stem(tmp_path)) == ["001"]


@pytest.mark.parametrize("durable", [False, True])
def test_a_failed_write_leaves_the_earlier_file(tmp_path: Path, durable: bool) -> None:
    file = write_text(tmp_path / "a.txt", "before")
    with pytest.raises(ValueError), atomic_path(file, durable=durable) as temporary:
        temporary.write_text("half")
        raise ValueError
    with atomic_path(file, durable=durable) as temporary:
        assert file.read_text() == "before"
        temporary.write_text("after")
    assert file.read_text() == "after" and list(tmp_path.iterdir()) == [file]


HOLD = (
    "import sys, time; from pathlib import Path; from prune.files import locked\n"
    "with locked(Path('models/a.pth')):\n"
    "    print('held', flush=True); sys.stdin.read() if {waits} else time.sleep(0.5)"
)


def test_files_that_belong_together_get_their_names_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        os.kill(os.getpid(), signal.SIGINT)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), atomic_paths(tmp_path / "a", tmp_path / "b") as (one, other):
        one.write_text("1")
        other.write_text("2")
    assert visible(tmp_path, "*") == [tmp_path / "a", tmp_path / "b"]


def test_a_lock_refuses_at_once_and_dies_with_its_process(here: Path) -> None:
    file = Path("models/a.pth")
    holder = start(HOLD.format(waits=False).replace("0.5", "60"), here)
    assert holder.stdout and holder.stdout.readline() == "held\n"
    with pytest.raises(
        UserError, match="models/a.pth is being written by another process: wait for it or choose another name"
    ):
        with locked(file):
            raise AssertionError("the lock was given twice")
    with locked(Path("models/b.pth")):
        holder.kill()
        holder.wait()
    with locked(file), refused("being written"), locked(file):
        raise AssertionError("the lock was given twice")
    assert visible(Path("models"), "*") == []


@pytest.mark.parametrize("shown", [True, False])
def test_a_lock_is_waited_for_with_a_word_or_silently(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shown: bool
) -> None:
    monkeypatch.setattr(progress, "_shown", shown)
    holder = start(HOLD.format(waits=False), here)
    assert holder.stdout and holder.stdout.readline() == "held\n"
    with locked(Path("models/a.pth"), wait=True):
        assert holder.wait(60) == 0
    said = "waiting  for another process that is writing models/a.pth\n"
    assert capsys.readouterr().out == (said if shown else "")


def test_a_folder_that_cannot_hold_a_lock_is_named(here: Path) -> None:
    Path("a.pth").write_text("")
    Path(".b.pth.lock").mkdir()
    with refused("cannot lock b.pth: Is a directory"), locked(Path("b.pth")):
        raise AssertionError("a folder is no lock")


def test_the_module_needs_no_package(here: Path) -> None:
    code = "import sys; sys.modules['filelock'] = None; import prune.files; prune.files.write_json(__import__('pathlib').Path('a.json'), [])"
    assert start(code, here).wait(60) == 0 and Path("a.json").read_text() == "[]\n"


def test_two_commands_draw_the_demo_data_once(here: Path) -> None:
    code = (
        "from prune.cli import defaults; defaults.DEMO_IMAGES, defaults.DEMO_SIZE = 8, 64\n"
        "print(defaults.data_folder(), len(list(defaults.DEMO_DATA.rglob('*.png'))))"
    )
    processes = [start(code, here) for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert all(out.endswith("data/demo 24\n") for out, _ in outputs)
    assert sum("8 images" in out for out, _ in outputs) == 1
    assert {path.name for path in Path("data").iterdir()} == {"demo", ".demo.lock"}


def test_a_part_of_the_demo_data_is_never_used(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "DEMO_IMAGES", 8)
    monkeypatch.setattr(defaults, "DEMO_SIZE", 64)
    (here / "data/.demo.partial/train").mkdir(parents=True)  # left by a kill
    folder = defaults.data_folder()
    assert not unfinished(folder) and [path.name for path in visible(Path("data"), "*")] == ["demo"]
    for missing in ("test/Labels_RGB/007.png", "test/Labels_grayscale/007.png", "test/Images/007.png"):
        (folder / missing).unlink()
        with pytest.raises(
            UserError, match="data/demo: expected a complete synthetic set, found part of one: remove the folder"
        ):
            defaults.data_folder()


def test_data_of_another_kind_are_never_called_unfinished(data: Path, tmp_path: Path) -> None:
    synthesize(tmp_path / "a", 4, 64, 0)
    assert not any(map(unfinished, (data, tmp_path, tmp_path / "nowhere", tmp_path / "a")))


def test_long_names_are_shortened_and_stay_different(tmp_path: Path) -> None:
    assert short_name("a" * LONGEST_STEM) == "a" * LONGEST_STEM
    names = [short_name("ß" * 120 + end) for end in ("x", "y")]
    assert len(set(names)) == 2 and all(name.startswith("ß" * 85 + "-") for name in names)
    assert max(len(name.encode()) for name in names) <= LONGEST_STEM
    longest = tmp_path / f"{'a' * 251}.txt"
    assert write_text(longest, "whole").read_text() == "whole" and list(tmp_path.iterdir()) == [longest]


@pytest.mark.parametrize("name", ["", " ", ".", "..", ".hidden", "../x", "a/b", "a\\b", "a\0b"])
def test_names_are_no_paths(name: str) -> None:
    with refused("^--name: expected a plain file name without folders, found "):
        require_plain_name("--name", name)


def test_names_leave_room_for_endings() -> None:
    require_plain_name("--name", "a name 1")
    with refused("^--name: expected a name of at most 180 bytes, found one of 181$"):
        require_plain_name("--name", "a" * 181)
