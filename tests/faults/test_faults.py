"""A few cases of ``make faults``, with a command that starts quickly."""

import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.faults import long_run
from tests.faults.campaign import Campaign, may_mount, share
from tests.faults.cases import FULL, KILLS, READ_ONLY, TWICE, Whole, prepared, run_case, undisturbed, was_done
from tests.faults.contents import content, difference, digests, incomplete
from tests.faults.process import Command, Failed
from tests.faults.verbs import VERBS

DRAW = VERBS["synthesize"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the cases, with material of which the command needs nothing."""
    folder = tmp_path_factory.mktemp("faults")
    (folder / "material").mkdir()
    (folder / "material/earlier.txt").write_text("of an earlier day\n")
    return folder


@pytest.fixture(scope="module")
def whole(place: Path) -> Whole:
    return undisturbed(DRAW, place / "material", place / "case", place / "whole/synthesize")


def test_the_undisturbed_command_is_run_once(place: Path, whole: Whole) -> None:
    assert undisturbed(DRAW, place / "nowhere", place / "nowhere", place / "whole/synthesize") == whole


@pytest.mark.parametrize("kind", [*KILLS, TWICE])
def test_a_disturbed_command_finishes_when_it_is_run_again(place: Path, whole: Whole, kind: str) -> None:
    assert run_case(DRAW, kind, 0, whole, place / "material", place / "case")


@pytest.mark.parametrize("kind", [FULL, READ_ONLY])
def test_a_disk_without_room_is_named_in_a_line(place: Path, whole: Whole, kind: str) -> None:
    if not may_mount():
        pytest.skip("no right to mount a disk")
    assert run_case(DRAW, kind, 0, whole, place / "material", place / "case")


@pytest.mark.slow
def test_a_broken_promise_is_found(place: Path, whole: Whole, tmp_path: Path) -> None:
    said = {**whole.said, "drawn/train/Images/000.png": "other"}
    changed = Whole(whole.folder, said, whole.seconds, whole.writes, whole.size)
    campaign, found = Campaign(tmp_path, tmp_path, again=False), {"cases": 0, "failures": []}
    for expected in (changed, whole):
        given = (DRAW, "SIGKILL", 0, expected, place / "material", place / "case")
        campaign.note(found, "synthesize", "SIGKILL", lambda given=given: run_case(*given))
    ((number, failure),) = found["failures"]  # type: ignore[misc]
    assert found["cases"] == 2 and number == 0
    assert "000.png differs from the undisturbed one" in failure and (tmp_path / "faults.json").is_file()


def test_slow_commands_and_kinds_without_chance_get_fewer_cases() -> None:
    assert [share("SIGKILL", 8), share("SIGKILL", 8, slow=True), share(READ_ONLY, 8), share(TWICE, 1)] == [8, 2, 2, 1]


def test_a_command_that_ends_by_a_signal_must_have_done_its_work(place: Path, whole: Whole) -> None:
    begun, folder = time.time(), prepared(place / "material", place / "done")
    with pytest.raises(Failed, match="nothing written and not a word"):
        was_done(DRAW, whole, folder, begun, "killed")
    shutil.copytree(whole.folder / "drawn", folder / "drawn", copy_function=shutil.copy)
    was_done(DRAW, whole, folder, begun, "killed")
    file = folder / "drawn/train/Images/000.png"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(Failed, match="000.png differs"):
        was_done(DRAW, whole, folder, begun, "killed")


def test_a_signal_strikes_at_the_write_that_is_named(place: Path) -> None:
    for at, left in ((1, []), (3, ["a"])):
        told = {"FAULT_BELOW": str(place), "FAULT_AT": str(at)}
        (place / "a").unlink(missing_ok=True)
        code = "for name in 'ab': open(name, 'w').write(name); open(name, 'a').close()"
        done = Command([sys.executable, "-c", code], place, told, fresh=True).ended()
        assert done.code == -signal.SIGKILL and [name for name in "ab" if (place / name).exists()] == left


def test_contents_tell_what_differs_and_what_is_incomplete(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"rows": [1, {"miou": 0.5, "seconds": 3}], "date": "today"}')
    assert content(file) == {"rows": [1, {"miou": 0.5}]} and not incomplete(file)
    assert difference(content(file), {"rows": [1, {"miou": 0.6}]}) == "/rows/1/miou: 0.5 instead of 0.6"
    before = digests(tmp_path)
    file.write_text('{"rows": [1')
    assert "JSONDecodeError" in incomplete(file) and digests(tmp_path) != before


LAST_STEP = """
import pathlib, sys, time
out = pathlib.Path(sys.argv[1])
out.mkdir(exist_ok=True)
for name in "ab":
    if not (out / name).exists():
        time.sleep(0.5)
        (out / name).touch()
(out / "report").unlink(missing_ok=True)
time.sleep(1.5)
(out / "report").touch()
time.sleep(4)
"""


@pytest.mark.slow
def test_a_long_run_ends_though_its_last_step_takes_longer_than_the_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def command(words: list[str], cwd: Path, fresh: bool) -> Command:
        return Command([sys.executable, "-c", LAST_STEP, words[-1]], cwd, fresh=fresh)

    monkeypatch.setattr(long_run, "Command", command)
    samples = long_run.Sampled()
    done, _, kills = long_run.watched([str(tmp_path / "out")], tmp_path / "out", samples, every=0.1)
    assert done.code == 0 and kills >= long_run.IN_VAIN
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == ["a", "b", "report"]
    assert min(samples.mib) > 0 and min(samples.files) >= 3
