"""A slice of ``make fuzz``: damaged files of every format that Python reads; only ``UserError`` may come out."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prune.errors import UserError, printable
from prune.shapes import Each, Many, Maybe, check_shape
from tests.fuzz.cases import FAILED, Damaged
from tests.fuzz.readers import FORMATS

EACH = 20
SLOW, LONG = {"study, study.json", "evaluation, JSON"}, {"study, study.json", "program, PT2"}
"""Formats of which fewer cases are read, and those whose valid file takes seconds to make."""
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_subnormal=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in LONG else name
        for name, form in FORMATS.items()
        if not form.native
    ],
)
def test_damaged_files_give_a_sentence(name: str, tmp_path: Path) -> None:
    damaged = Damaged(name, tmp_path)
    damaged.check_whole()
    cases = [damaged.case(number) for number in range(5 if name in SLOW else EACH)]
    assert [case for case in cases if case.outcome == FAILED] == []


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(VALUES)
def test_content_of_any_kind_fits_or_is_named(content: object) -> None:
    shape = {"a": Many(float), "b?": Maybe({"c": str}), "c": Each(Many(int))}
    try:
        check_shape(content, shape, "file")
    except UserError as error:
        assert error.message.startswith("file: expected ")
    else:
        assert isinstance(content, dict) and all(isinstance(value, (int, float)) for value in content["a"])


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(st.text())
def test_any_text_can_be_printed_and_steers_nothing(text: str) -> None:
    shown = printable(text)
    shown.encode()
    assert not [c for c in shown if (ord(c) < 32 and c not in "\t\n") or 127 <= ord(c) < 160]
    assert printable(shown) == shown
