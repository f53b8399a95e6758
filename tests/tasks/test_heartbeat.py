"""Every long loop of a task reports heartbeats, and reports its end."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import inf

import pytest
import torch

from orchestrator.node.watchdog import Pulse
from tasks.data.batches import load, scoring_batches
from tasks.heartbeat import paced, resting, watched
from tasks.measures.barrier import barrier
from tasks.measures.latency import latencies
from tasks.networks.build import initial_weights
from tasks.pruning.prune import prune
from tasks.training.gradinit import rescale_weights
from tasks.training.train import train
from tasks.values import catalog
from tasks.values.scores import Examples, GemMiner, Grasp, Magnitude, Obd, Score, Snip, Synflow
from tasks.values.training import Init, Recipe

DIGITS = catalog.dataset("digits")
DATA = load(DIGITS)
LENET = catalog.network("lenet_300_100", "digits")
EXAMPLES = Examples(dataset=DIGITS, seed=0, per_class=4, batch_size=10)
RECIPE = Recipe(steps=5, batch_size=64, lr=0.1, evaluate_every=5)


class Recorder:
    """A watcher that counts turns; `depth` is the number of open loops."""

    def __init__(self) -> None:
        self.turns, self.depth, self.deepest, self.said = 0, 0, 0, ""

    def begin(self) -> None:
        self.depth += 1
        self.deepest = max(self.deepest, self.depth)
        self.said += "("

    def beat(self) -> None:
        self.turns += 1
        self.said += "."

    def rest(self) -> None:
        self.said += "z"

    def end(self) -> None:
        self.depth -= 1
        self.said += ")"


def weights() -> dict[str, torch.Tensor]:
    return initial_weights(LENET, Init(seed=0))


def pruned(score: Score) -> Callable[[], object]:
    return lambda: prune(LENET, score, weights(), 0.5, data=DATA)


def measured() -> object:
    kept = prune(LENET, Magnitude(), weights(), 0.5).kept
    return latencies(LENET, weights(), kept)


LOOPS: dict[str, tuple[Callable[[], object], int]] = {
    "training": (lambda: train(LENET, RECIPE, DATA, weights(), order_seed=0), 5),
    "rescaling": (
        lambda: rescale_weights(
            LENET, replace(RECIPE, rescale_steps=3), DATA, weights(), order_seed=0
        ),
        3,
    ),
    "reading examples": (lambda: scoring_batches(DATA, EXAMPLES), 4),
    "snip": (pruned(Snip(examples=EXAMPLES)), 8),
    "iterative snip": (pruned(Snip(examples=EXAMPLES, iterations=3)), 19),
    "grasp": (pruned(Grasp(examples=EXAMPLES)), 12),
    "obd": (pruned(Obd(examples=EXAMPLES)), 34),
    "synflow": (pruned(Synflow(iterations=7)), 7),
    "gem_miner": (
        pruned(GemMiner(dataset=DIGITS, seed=0, steps=6, period=3, batch_size=64, lr=0.1)),
        6,
    ),
    "a barrier": (lambda: barrier(LENET, weights(), weights(), DATA, points=3), 9),
    "a latency": (measured, 20),
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_long_loop_shows_signs_of_life_until_it_is_over(name: str) -> None:
    work, turns = LOOPS[name]
    watch = Recorder()
    with watched(watch):
        work()
    assert watch.turns >= turns
    assert watch.depth == 0


def test_loops_lie_within_loops_and_end_however_they_end() -> None:
    watch = Recorder()
    with watched(watch):
        for one in paced("ab"):
            for _ in paced(one):
                with resting():
                    pass
        for _ in paced("abc"):
            break
        with pytest.raises(ZeroDivisionError):
            _fails(paced([1]))
    assert watch.said == "((z..).(z..).)()()"
    list(paced("ab"))
    assert watch.depth == 0
    assert watch.said.endswith("()()")


def _fails(loop: Iterator[int]) -> None:
    for one in loop:
        del loop
        one / 0


def test_what_another_thread_goes_through_is_no_sign_of_life() -> None:
    watch = Recorder()
    with watched(watch):
        thread = threading.Thread(target=lambda: list(paced("abc")))
        thread.start()
        thread.join()
    assert watch.said == ""


def test_a_task_rests_between_loops_and_is_missed_within_the_outermost() -> None:
    pulse = Pulse(inf, 5.0)
    with watched(pulse):
        for _ in paced("ab"):
            list(paced("cd"))
            assert pulse._last < inf
        assert pulse._last == inf
