import numpy as np

from prune.web.evidence import Evidence
from prune.web.limits import Upload
from prune.web.session import KEPT_NETWORKS, Sessions
from tests.conftest import refused


def photograph(side: int = 4) -> Upload:
    return Upload(np.zeros((side, side, 3), np.uint8))


def evidence(side: int = 4) -> Evidence:
    return Evidence(*(np.zeros((side, side), np.uint8),) * 2, np.zeros((2, side, side), np.uint8))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_visit_is_found_by_its_token_only() -> None:
    sessions = Sessions()
    first, second = sessions.start(photograph(), "a"), sessions.start(photograph(), "b")
    assert first != second and len(first) >= 43  # 32 random bytes
    assert sessions.get(first).name == "a" and sessions.get(second).name == "b"
    for wrong in ("", first[:-1], "a"):
        with refused("^expected a photograph: choose one, or take an example$"):
            sessions.get(wrong)


def test_what_is_forgotten_leaves_no_files() -> None:
    sessions = Sessions()
    token = sessions.start(photograph(), "a")
    folder = sessions.get(token).folder
    (folder / "overlay.jpg").touch()
    assert folder.stat().st_mode & 0o077 == 0  # nobody else on this machine reads it
    sessions.forget(token)
    sessions.forget(token)
    assert len(sessions) == 0 and not folder.exists()


def test_the_visit_that_was_not_used_for_longest_is_forgotten() -> None:
    sessions = Sessions(visits=2)
    first, second = sessions.start(photograph(), "a"), sessions.start(photograph(), "b")
    sessions.get(first)
    sessions.start(photograph(), "c")
    assert sessions.get(first).name == "a"
    with refused("^expected a photograph"):
        sessions.get(second)


def test_old_visits_are_forgotten() -> None:
    clock = Clock()
    sessions = Sessions(age=10, clock=clock)
    token = sessions.start(photograph(), "a")
    clock.now = 10
    sessions.get(token)  # which makes it young again
    clock.now = 20
    assert sessions.get(token)
    clock.now = 30.5
    with refused("^expected a photograph"):
        sessions.get(token)
    assert not len(sessions)


def test_memory_is_bounded_but_the_latest_visit_stays() -> None:
    sessions = Sessions(size=100)
    first = sessions.start(photograph(4), "a")  # 48 bytes
    second = sessions.start(photograph(4), "b")
    sessions.get(second).keep("net", evidence())  # 64 bytes more
    assert sessions.get(second).bytes == 112 and len(sessions) == 1
    with refused("^expected a photograph"):
        sessions.get(first)


def test_the_evidence_of_two_networks_is_kept() -> None:
    sessions = Sessions()
    visit = sessions.get(sessions.start(photograph(), "a"))
    for name in ("x", "y", "x", "z"):
        visit.keep(name, evidence())
    assert list(visit.seen) == ["x", "z"] and len(visit.seen) == KEPT_NETWORKS
