"""The suite page measures what a visitor waits for; no time is judged."""

import pytest

from prune.web import speed


@pytest.mark.slow
def test_the_page_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "SIZE", 256)
    monkeypatch.setattr(speed, "REPEATS", 1)
    first, change = speed.page_speed()
    assert (first.name, first.unit, change.name, change.unit) == (
        "page, first result",
        "s",
        "page, threshold change",
        "ms",
    )
    assert first.value > 0 and change.value > 0
