"""Names of trials: stable, and different whenever what is computed differs."""

import json
import os
from pathlib import Path

import pytest

from prune.data.settings import DataOptions
from prune.studies import identity
from prune.studies.identity import Fingerprints, digest
from prune.studies.plan_file import plan_from
from prune.studies.trials import Trial, build
from tests.conftest import make_data, refused

DATA = {"train": "a", "val": "b", "test": "c"}


def test_a_hash_is_the_same_on_every_machine_and_day() -> None:
    assert digest({"b": 50.0, "a": [1, "é"]}) == digest({"a": (1, "é"), "b": 50}) == "a65b6ad02f5bb0d1"
    assert Trial("train", "any label", {"epochs": 2}, how={"workers": 3}).name == Trial("train", "", {"epochs": 2}).name


def test_what_determines_a_result_changes_the_name() -> None:
    first = Trial("train", "", {"epochs": 2}, {"network": "x"}, {"train": "a"}, "1")
    others = [
        Trial("scratch", "", {"epochs": 2}, {"network": "x"}, {"train": "a"}, "1"),
        Trial("train", "", {"epochs": 3}, {"network": "x"}, {"train": "a"}, "1"),
        Trial("train", "", {"epochs": 2}, {"network": "y"}, {"train": "a"}, "1"),
        Trial("train", "", {"epochs": 2}, {"network": "x"}, {"train": "b"}, "1"),
        Trial("train", "", {"epochs": 2}, {"network": "x"}, {"train": "a"}, "2"),
    ]
    assert len({trial.name for trial in [first, *others]}) == 6


def test_a_default_that_is_written_out_and_where_it_runs_change_nothing() -> None:
    plain = build(plan_from({"ratios": [50]}), DATA).trials
    spelled = {"train": {"optimizer": "adamw", "workers": 7, "device": "cpu"}, "ratios": [50.0]}
    assert build(plan_from(spelled), DATA).trials.keys() == plain.keys()
    assert not build(plan_from({"ratios": [50], "train": {"lr": 0.1}}), DATA).trials.keys() & plain.keys()


def test_other_test_images_train_nothing_anew() -> None:
    plan = plan_from({"ratios": [50]})
    before, after = build(plan, DATA).trials, build(plan, {**DATA, "test": "d"}).trials
    assert {t.kind for n, t in after.items() if n not in before} == {"evaluate"}


def test_comments_and_docstrings_are_no_code(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.py", "b.py", "c.py")]
    files[0].write_text('"""Text."""\ndef f():\n    """Text."""\n    return 1\n')
    files[1].write_text("# comment\ndef f():\n\n    return (1)\n")
    files[2].write_text("def f():\n    return 2\n")
    first, same, other = map(identity._code_of, files)
    assert first == same != other


def test_data_are_known_by_content_and_read_once(tmp_path: Path, monkeypatch: object) -> None:
    data = make_data(tmp_path / "data")
    known = Fingerprints(tmp_path / "known.json")
    before = known.of_data(data, DataOptions())
    known.save()
    again = Fingerprints(tmp_path / "known.json")
    read = next((data / "test" / "Images").iterdir())
    stamp = read.stat()
    content = bytearray(read.read_bytes())
    content[-1] ^= 1
    read.write_bytes(content)
    os.utime(read, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert again.of_data(data, DataOptions()) == before  # same size and time: not read
    os.utime(read, (1, 1))
    after = again.of_data(data, DataOptions())
    assert [role for role in before if before[role] != after[role]] == ["test"]
    with refused("nothing.png: cannot be read"):
        again.of_files([tmp_path / "nothing.png"])


@pytest.mark.parametrize("text", ["[", "[]", '{"a": 3}', '{"a": [1]}', "[" * 100_000])
def test_damaged_fingerprints_are_taken_again(text: str, tmp_path: Path) -> None:
    (tmp_path / "known.json").write_text(text.replace('"a"', json.dumps(str(tmp_path / "a"))))
    (tmp_path / "a").write_text("x")
    found = [Fingerprints(tmp_path / name).of_files([tmp_path / "a"]) for name in ("known.json", "none.json")]
    assert found[0] == found[1]
