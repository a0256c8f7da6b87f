"""Which number format training takes: hand-set speeds in, the exact choice out; and that a run keeps its choice."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from prune import number_format as module
from prune.cli import prune
from prune.cli.inference import InferenceOptions
from prune.cli.prune import PruneOptions
from prune.cli.test import TestOptions
from prune.cli.train import TrainOptions, train
from prune.cli.verbs import parse
from prune.models.checkpoint import load_checkpoint
from prune.models.torch_file import read_torch, write_torch
from prune.number_format import (
    REFERENCE,
    Candidate,
    NumberFormat,
    ProbeSettings,
    evaluation_format,
    fastest_seconds,
    measured_speeds,
    number_format,
    probe,
)
from prune.training.loop import stored_numbers
from tests.conftest import refused
from tests.training.test_loop import history, run

CPU = torch.device("cpu")
CONTIGUOUS, HALF = (torch.float32, False), (torch.bfloat16, True)


def fake(contiguous: float, half: float) -> Callable[[tuple[Candidate, ...]], Mapping[Candidate, float]]:
    """Speeds relative to float32 channels_last, whatever is asked for."""
    known = {REFERENCE: 1.0, CONTIGUOUS: contiguous, HALF: half, (torch.bfloat16, False): 0.9 * half}
    return lambda candidates: {c: known[c] for c in candidates}


@pytest.mark.parametrize(
    ("speeds", "text"),
    [
        ((0.9, 2.1), "bfloat16 channels_last, measured 2.1x float32"),
        ((0.9, 1.1), "bfloat16 channels_last, measured 1.1x float32"),
        ((0.9, 1.09), "float32 channels_last, measured (contiguous 0.9x, bfloat16 1.1x)"),
        ((1.09, 0.025), "float32 channels_last, measured (contiguous 1.1x, bfloat16 0.025x)"),
        ((1.3, 1.2), "float32 contiguous, measured 1.3x channels_last"),
    ],
)
def test_auto_takes_another_format_only_where_it_is_clearly_faster(speeds: tuple[float, float], text: str) -> None:
    assert str(number_format("auto", "auto", CPU, fake(*speeds))) == text


@pytest.mark.parametrize(
    ("amp", "channels_last", "text"),
    [
        ("off", "auto", "float32 contiguous, measured 1.5x channels_last"),
        ("off", True, "float32 channels_last, asked for"),
        ("off", False, "float32 contiguous, asked for"),
        ("auto", True, "bfloat16 channels_last, measured 1.6x float32"),
        ("auto", False, "float32 contiguous, measured (bfloat16 0.96x)"),
        ("bf16", "auto", "bfloat16 channels_last, asked for"),
        ("bf16", False, "bfloat16 contiguous, asked for"),
    ],
)
def test_what_is_asked_for_is_taken(amp: str, channels_last: bool | str, text: str) -> None:
    assert str(number_format(amp, channels_last, CPU, fake(1.5, 1.6))) == text


def test_a_slow_wish_is_granted_and_says_how_slow() -> None:
    found = number_format("bf16", "auto", CPU, fake(0.9, 0.05))
    assert (found.autocast, found.channels_last) == (torch.bfloat16, True)
    assert str(found) == "bfloat16 channels_last, asked for; bf16 is 0.05x as fast as float32 on this CPU"


def test_scores_and_pictures_are_made_in_float32_without_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(candidates: object) -> Mapping[Candidate, float]:
        raise AssertionError("measured")

    monkeypatch.setattr(module, "measured_speeds", fail)
    for config in (TestOptions(), InferenceOptions()):
        found = evaluation_format(config.amp, config.channels_last, CPU)
        assert (found.autocast, found.channels_last) == (None, True)
    assert not evaluation_format("off", False, CPU).channels_last
    monkeypatch.setattr(module, "measured_speeds", fake(0.9, 2.0))
    assert evaluation_format("auto", "auto", CPU).autocast == torch.bfloat16


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float16)])
def test_gpus_follow_a_rule(monkeypatch: pytest.MonkeyPatch, native: bool, dtype: torch.dtype) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    found = number_format("auto", "auto", torch.device("cuda"))
    assert (found.autocast, found.channels_last, found.reason) == (dtype, True, "by rule for GPUs")
    assert number_format("off", False, torch.device("cuda")) == NumberFormat(None, False, "asked for")


def test_candidates_are_measured_once_and_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Candidate, ProbeSettings]] = []

    def fixed(candidate: Candidate, settings: ProbeSettings) -> Callable[[], float]:
        calls.append((candidate, settings))
        large = settings == ProbeSettings()
        return lambda: {REFERENCE: 2.0, HALF: 1.0 if large else 4.0, CONTIGUOUS: 9.0}[candidate]

    monkeypatch.setattr(module, "probe", fixed)
    monkeypatch.setattr(module, "measured_speeds", lru := module.lru_cache(measured_speeds.__wrapped__))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert lru((REFERENCE, CONTIGUOUS, HALF)) == {REFERENCE: 1.0, HALF: 2.0, CONTIGUOUS: 2 / 9}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert [c for c, settings in calls if settings == ProbeSettings()] == [REFERENCE, HALF]  # the third is emulated
    for _ in range(3):
        assert number_format("auto", "auto", CPU).autocast == torch.bfloat16
    assert len(calls) == 5


def test_the_fastest_pass_counts_and_a_slow_machine_gets_one_round() -> None:
    times = {REFERENCE: iter([9.0, 0.02, 0.01, 0.03]), HALF: iter([0.5, 0.04, 0.05, 0.02])}
    probes = {name: (lambda values=values: next(values)) for name, values in times.items()}
    assert fastest_seconds(probes, ProbeSettings(rounds=3, limit_s=99)) == {REFERENCE: 0.01, HALF: 0.02}
    times = {REFERENCE: iter([9.0, 5.0]), HALF: iter([9.0, 6.0])}
    assert fastest_seconds(probes | {n: (lambda v=v: next(v)) for n, v in times.items()}, ProbeSettings()) == {
        REFERENCE: 5.0,
        HALF: 6.0,
    }


@pytest.mark.parametrize("candidate", [REFERENCE, CONTIGUOUS, HALF])
def test_a_probe_runs_and_keeps_the_random_state(candidate: Candidate) -> None:
    before = torch.get_rng_state()
    assert probe(candidate, module.TINY)() > 0
    assert torch.equal(torch.get_rng_state(), before)


def test_the_switch_is_read_as_people_type_it(capsys: pytest.CaptureFixture[str]) -> None:
    for words, value in (([], "auto"), (["auto"], "auto"), (["False"], False), (["on"], True), (["no"], False)):
        flags = ["--channels_last", *words] if words else []
        for kind in (TrainOptions, PruneOptions, TestOptions, InferenceOptions):
            assert parse(kind, "", flags).channels_last == value
    assert parse(TrainOptions, "", ["--channels_last"]).channels_last is True
    with pytest.raises(SystemExit):
        parse(TrainOptions, "", ["--channels_last", "maybe"])
    assert "--channels_last: expected auto, True or False, found 'maybe'" in capsys.readouterr().err
    with refused("--channels_last: expected one of auto, True, False, found 'sometimes'"):
        TrainOptions(channels_last="sometimes")


@pytest.mark.slow
def test_a_resumed_run_repeats_its_number_format(
    data: Path, here: Path, monkeypatch: pytest.MonkeyPatch, shown: None, capsys: pytest.CaptureFixture[str]
) -> None:
    from prune.training import loop as fit

    monkeypatch.setattr(module, "measured_speeds", fake(2.0, 0.1))
    auto = {"epochs": 2, "amp": "auto", "channels_last": "auto"}
    train(run(data, "whole", **auto))
    assert "numbers  float32 contiguous, measured 2.0x channels_last\n" in capsys.readouterr().out
    real, calls = fit.train_one_epoch, []

    def interrupted(*arguments: object) -> float:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(fit, "train_one_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(run(data, "part", **auto))
    monkeypatch.setattr(fit, "train_one_epoch", real)
    record = {"autocast": "float32", "channels_last": False, "reason": "measured 2.0x channels_last"}
    record["threads"] = torch.get_num_threads()
    assert json.loads(Path("results/runs/part/config.json").read_text())["number_format"] == record

    monkeypatch.setattr(module, "measured_speeds", fake(0.1, 9.0))  # as if on another CPU
    capsys.readouterr()
    train(run(data, "part", **auto, resume=True))
    text = "float32 contiguous, measured 2.0x channels_last; repeated from results/runs/part/last.pth"
    assert f"numbers  {text}\n" in capsys.readouterr().out
    assert history("part") == history("whole")
    assert read_torch(Path("results/runs/part/last.pth"))["number_format"] == record
    settings = load_checkpoint(Path("results/models/part.pth")).lineage[-1]["settings"]
    assert (settings["amp"], settings["channels_last"], settings["number_format"]) == ("auto", "auto", record)


def test_a_stored_number_format_is_checked(here: Path) -> None:
    last = here / "last.pth"
    record = NumberFormat(torch.bfloat16, False, "measured").record()
    write_torch({"number_format": record}, last)
    assert stored_numbers(last) == (NumberFormat(torch.bfloat16, False, "measured"), torch.get_num_threads())
    write_torch({}, last)
    assert stored_numbers(last) is None  # a run of an older version: chosen anew
    write_torch({"number_format": record | {"autocast": "posit8"}}, last)
    with refused("last.pth: expected the number format float32, bfloat16, float16, found {"):
        stored_numbers(last)


@pytest.mark.slow
def test_pruning_stores_what_gradients_were_taken_in(
    data: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "measured_speeds", fake(0.5, 2.0))
    flags = ["--model", "deeplabv3_tiny", "--data_dir", str(data), "--latency_repeats", "0", "--batches", "2"]
    prune.main([*flags, "--crop_size", "32", "--model_name", "a"])
    assert "numbers  bfloat16 channels_last, measured 2.0x float32\n" in capsys.readouterr().out
    report = json.loads(Path("results/pruning/a.json").read_text())
    stored = report["settings"]["number_format"]
    assert (stored["autocast"], stored["channels_last"]) == ("bfloat16", True)
    assert load_checkpoint(Path("results/models/a.pth")).lineage[-1]["settings"]["number_format"] == stored
    prune.main([*flags, "--importance_type", "Magnitude", "--model_name", "b"])
    assert "numbers" not in capsys.readouterr().out
