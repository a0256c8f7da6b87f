import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest

from prune.data.labels import CRACK, ClassSet
from prune.data.preprocessing import Preprocessing
from prune.errors import UserError
from prune.inference import replicas
from prune.inference.pipeline import Gate, Limits, Pipeline, Stage
from prune.inference.predictor import Card, Predictor, class_ids
from prune.inference.replicas import fastest
from tests.conftest import refused


class Ramp(Predictor):
    """Says crack where a photograph is bright; takes ``seconds`` a pass."""

    def __init__(self, seconds: float = 0.0, classes: ClassSet = CRACK) -> None:
        self.seconds = seconds
        self.passes = 0
        self.card = Card("ramp", Path("ramp.onnx"), classes, runtime="onnx")

    def run(self, batch: np.ndarray) -> np.ndarray:
        self.passes += 1
        time.sleep(self.seconds)
        return np.stack([np.zeros_like(batch[:, 0]), batch[:, 0]], axis=1)


def test_results_come_in_order_however_long_each_takes() -> None:
    def work(number: int) -> int:
        time.sleep(0.003 * (number % 3 == 0))
        return number * number

    with Pipeline([Stage(work, 4), Stage(lambda n: n + 1, 2)], Limits(items=6)) as pipeline:
        assert list(pipeline(range(40))) == [n * n + 1 for n in range(40)]


def test_no_more_is_under_way_than_the_limits_say() -> None:
    weights, started, used = [3, 3, 9, 1, 1, 1, 1], [], []
    most: list[tuple[int, int]] = []

    def work(weight: int) -> int:
        started.append(weight)
        return weight

    with Pipeline([Stage(work, 4)], Limits(items=3, weight=6, weigh=lambda weight: weight)) as pipeline:
        for weight in pipeline(iter(weights)):
            used.append(weight)
            ahead = started[len(used) :]
            most.append((len(ahead), sum(ahead)))
    assert used == weights
    assert all(count <= 3 and (total <= 6 or count == 1) for count, total in most)


def test_an_exception_comes_in_its_place_and_ends_the_threads() -> None:
    before = threading.active_count()

    def work(number: int) -> int:
        if number == 3:
            raise UserError("the disk is full")
        return number

    seen: list[int] = []
    with refused("the disk is full"), Pipeline([Stage(work, 2)] * 2, Limits()) as pipeline:
        seen.extend(iter(pipeline(range(100))))
    assert not seen or seen == [0, 1, 2]
    assert threading.active_count() == before


def test_ctrl_c_starts_nothing_new_and_ends_the_threads() -> None:
    before, done = threading.active_count(), []

    def work(number: int) -> int:
        time.sleep(0.01)
        done.append(number)
        return number

    with pytest.raises(KeyboardInterrupt), Pipeline([Stage(work, 2), Stage(work, 2)], Limits()) as pipeline:
        for number in pipeline(range(1000)):
            if number == 2:
                raise KeyboardInterrupt
    assert threading.active_count() == before and len(done) < 40


def test_a_large_photograph_is_given_up_between_tiles() -> None:
    predictor = Ramp()
    predictor.card = Card("ramp", Path("ramp.onnx"), CRACK, size=(32, 32))
    predictor.stopped = lambda: predictor.passes == 2
    with pytest.raises(CancelledError):
        predictor.class_map(np.zeros((200, 200, 3), np.uint8))
    assert predictor.passes == 2


def test_a_gate_lends_each_thing_once_and_keeps_to_its_weight() -> None:
    gate = Gate(("a", "b", "c"), 10)
    under_way: list[int] = []
    worst: list[int] = []
    lock = threading.Lock()

    def work(weight: int) -> str:
        with gate.lent(weight) as thing:
            with lock:
                under_way.append(weight)
                worst.append(sum(under_way) if len(under_way) > 1 else 0)
            time.sleep(0.002)
            with lock:
                under_way.remove(weight)
        return thing

    with Pipeline([Stage(work, 6)], Limits(items=12)) as pipeline:
        lent = list(pipeline([4, 4, 4, 25, 1, 1, 1, 1, 12, 6, 6]))
    assert max(worst) <= 10 and set(lent) <= {"a", "b", "c"} and len(gate._free) == 3


@pytest.mark.parametrize("classes", [1, 2, 3, 7])
def test_class_ids_are_argmax_and_of_equal_logits_the_lower(classes: int) -> None:
    rng = np.random.default_rng(0)
    logits = rng.integers(-2, 3, (classes, 40, 57)).astype(np.float32)
    found = class_ids(logits)
    assert found.dtype == np.uint8 and np.array_equal(found, logits.argmax(0))


def test_normalizing_is_the_formula_bit_for_bit() -> None:
    image = np.random.default_rng(0).integers(0, 256, (150, 33, 3), dtype=np.uint8)
    recipe = Preprocessing()
    scale = (1 / (255 * np.array(recipe.std))).astype(np.float32)
    shift = (np.array(recipe.mean) / np.array(recipe.std)).astype(np.float32)
    expected = (image.astype(np.float32) * scale - shift).transpose(2, 0, 1)[None]
    assert np.array_equal(recipe.normalize(image), expected)


@pytest.mark.parametrize(("rates", "count"), [((10.0, 20.0), 3), ((10.0, 10.1), 1), ((10.0, 8.0), 1)])
def test_one_network_per_thread_only_where_it_is_clearly_faster(
    rates: tuple[float, float], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicas, "_rate", lambda predictors, image, pool: rates[len(predictors) > 1])
    image = np.zeros((8, 8, 3), np.uint8)
    found = fastest(Ramp(), lambda threads: Ramp(), 3, image)
    assert len(found.predictors) == count and found.threads == (1 if count == 3 else 3)
    start = "3 networks of 1 thread, measured 2.00x" if count == 3 else "1 network of 3 threads, measured "
    assert str(found).startswith(start)


def test_slow_networks_huge_photographs_and_single_threads_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    def reopen(threads: int) -> Predictor:
        raise AssertionError("opened a copy")

    image = np.zeros((8, 8, 3), np.uint8)
    assert len(fastest(Ramp(), reopen, 1, image).predictors) == 1
    monkeypatch.setattr(replicas, "SMALL_SECONDS", 0.001)
    assert len(fastest(Ramp(0.005), reopen, 2, image).predictors) == 1
    monkeypatch.setattr(replicas, "WHOLE_SIDE", 7)
    assert str(fastest(Ramp(), reopen, 2, image)) == "1 network of 2 threads"
