import pytest

from prune.data.sampling import evenly_spread


@pytest.mark.parametrize(
    ("count", "most", "chosen"),
    [(5, 9, [0, 1, 2, 3, 4]), (5, 5, [0, 1, 2, 3, 4]), (11, 3, [0, 5, 10]), (7, 1, [0]), (7, 0, []), (0, 3, [])],
)
def test_the_first_and_the_last_are_among_those_evenly_spread(count: int, most: int, chosen: list[int]) -> None:
    assert evenly_spread(count, most) == chosen


def test_none_is_taken_twice() -> None:
    for count in range(1, 40):
        for most in range(1, count + 1):
            found = evenly_spread(count, most)
            assert len(set(found)) == most and found == sorted(found) and found[-1] <= count - 1
