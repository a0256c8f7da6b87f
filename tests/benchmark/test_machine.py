"""What the machine gives: CPU kinds from hand-set texts, peaks, and shares of them."""

import json
from pathlib import Path

import pytest

from prune.benchmark.compare import TimedNetwork, with_shares
from prune.benchmark.cpu import cpu_kind, has_bf16
from prune.benchmark.machine import gmacs_per_second, measured_machine, peak_number, share_of_peak, stored_rows
from prune.benchmark.peaks import NUMBERS, Peaks, PeakSettings, measure_peaks

PEAKS = {"fp32": 100.0, "bf16": None, "int8": 400.0}
TINY = PeakSettings(rounds=2, matrix=16, pointwise=(8, 8), square=(8, 8), depth=2, copied_mib=1)


@pytest.mark.parametrize(
    ("flags", "kind", "bf16"),
    [
        ("fpu sse2 avx avx2 fma", "avx2", False),
        ("fpu avx2 fma avx_vnni", "avx2", False),
        ("fpu avx2 avx512f avx512bw", "avx512", False),
        ("fpu avx2 avx512f avx512_vnni", "avx512_vnni", False),
        ("fpu avx2 avx512f avx512_bf16 avx512_vnni", "avx512_vnni", True),
        ("fpu avx2 avx512f avx512_bf16 avx512_vnni amx_bf16 amx_tile amx_int8", "amx", True),
        ("fpu sse2", "unknown", False),
    ],
)
def test_the_kind_of_an_x86_cpu(flags: str, kind: str, bf16: bool) -> None:
    text = f"processor\t: 0\nmodel name\t: Some CPU with avx512_vnni\nflags\t\t: {flags}\nbugs\t\t: amx_tile\n\nprocessor\t: 1\n"
    assert cpu_kind(text) == kind and has_bf16(text) is bf16


def test_the_kind_of_an_arm_cpu() -> None:
    text = "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm bf16 sve\nCPU implementer\t: 0x41\n"
    assert cpu_kind(text) == "arm64" and has_bf16(text) and not has_bf16(text.replace("bf16 ", ""))


def test_this_machine_has_a_kind_fit_for_a_folder() -> None:
    assert cpu_kind() and set(cpu_kind()) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")


def test_a_share_is_the_rate_over_the_peak_of_the_own_number_format() -> None:
    assert gmacs_per_second(2_000_000_000, 40.0) == pytest.approx(50.0)
    assert share_of_peak(50.0, "fp32", PEAKS) == 0.5 and share_of_peak(50.0, "int8", PEAKS) == 0.125
    assert share_of_peak(150.0, "fp32", PEAKS) == 1.5  # fewer multiplications than are counted
    assert share_of_peak(50.0, "bf16", PEAKS) is None and share_of_peak(None, "fp32", PEAKS) is None
    assert gmacs_per_second(None, 40.0) is None and share_of_peak(50.0, "fp32", {}) is None
    assert [peak_number(p) for p in ("fp32", "fp32 compiled", "fp16", "bf16", "int8")] == ["fp32"] * 3 + [
        "bf16",
        "int8",
    ]


def timed_row(precision: str, device: str, rate: float | None) -> TimedNetwork:
    """A row of which only precision, device and rate matter."""
    numbers = (10.0, 10.0, 10.0, 10.0, 100.0, 1.0, 100.0, 1.0, 1.0)
    return TimedNetwork("a", "onnx", precision, "8x8", 1, *numbers, None, None, device, rate)


def test_every_row_is_held_against_the_device_it_ran_on() -> None:
    rows = [timed_row("fp32", "cpu", 80.0), timed_row("int8", "cpu", 80.0), timed_row("fp32", "GPU", 80.0)]
    rows += [timed_row("fp32", "cpu", None), timed_row("fp32", "another GPU", 80.0)]
    shared = with_shares(rows, {"cpu": PEAKS, "GPU": {"fp32": 1000.0}})
    assert [row.share_of_peak for row in shared] == [0.8, 0.2, 0.08, None, None]
    assert rows[0].share_of_peak is None and shared[0].gmacs_per_second == 80.0


def test_the_peak_is_the_fastest_candidate() -> None:
    peaks = Peaks({"fp32": {"a": 3.0, "b": 5.0}, "bf16": {}, "int8": {"a": 7.0}}, 20.0)
    assert peaks.best() == {"fp32": 5.0, "bf16": None, "int8": 7.0}


def test_peaks_are_measured_in_every_format_the_cpu_has() -> None:
    peaks = measure_peaks(1, settings=TINY)
    assert tuple(peaks.rates) == NUMBERS and peaks.copy_gb_per_second > 0
    names = {"torch matrix product", "torch 3x3 convolution", "openvino 1x1 convolution", "openvino 3x3 convolution"}
    assert set(peaks.rates["fp32"]) == names and set(peaks.rates["int8"]) == {n for n in names if "openvino" in n}
    assert set(peaks.rates["bf16"]) == (names if has_bf16() else set())
    assert all(rate > 0 for rates in peaks.rates.values() for rate in rates.values())


def test_facts_of_a_measured_machine_are_plain_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prune.benchmark.machine.measure_peaks", lambda *_: Peaks({"fp32": {"a": 3.0}}, 20.0))
    facts = measured_machine()
    assert json.loads(json.dumps(facts)) == facts and facts["peaks"] == {"fp32": 3.0} and facts["kind"] == cpu_kind()
    assert (
        facts["copy_gb_per_second"] == 20.0 and facts["peak_candidates"] == {"fp32": {"a": 3.0}} and facts["cores"] >= 1
    )


def test_rows_of_an_earlier_run_are_kept_on_the_same_machine_only(tmp_path: Path) -> None:
    machine = {"device": "a", "cores": 2, "threads": 2, "system": "s", "python": "3", "kind": "avx2"}
    file = tmp_path / "bench.json"
    assert stored_rows(file, "rows", machine) == []
    file.write_text(json.dumps({"rows": [{"a": 1}], "machine": machine | {"peaks": {"fp32": 1.0}}}))
    assert stored_rows(file, "rows", machine | {"peaks": {"fp32": 2.0}}) == [{"a": 1}]
    assert stored_rows(file, "rows", machine | {"threads": 1}) == [] == stored_rows(file, "figures", machine)
    file.write_text('{"rows": [')
    assert stored_rows(file, "rows", machine) == []
