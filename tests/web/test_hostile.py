"""A part of ``make fuzz``: damaged uploads, bombs, and requests for what is not the visitor's."""

import pytest


@pytest.mark.slow
def test_nothing_is_served_that_is_not_the_visitors_and_the_page_stays_up() -> None:
    pytest.importorskip("gradio")
    from tests.fuzz.page import run

    found = run(uploads=24, at_once=6)
    assert found["failures"] == [], found["log"]
    assert found["counts"]["uploads"]["answered"] > 20 and found["counts"]["results"]["answered"] > 10
