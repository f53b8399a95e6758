"""A run on two devices equals the run on one, up to the order of sums. On the CPU, by gloo."""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import psutil
import pytest
import torch

from tasks.data.batches import load
from tasks.networks.build import initial_weights
from tasks.training import distributed
from tasks.training.all_reduce import MemberLost
from tasks.training.distributed import interface, train_on
from tasks.training.train import Checkpoint, Trained, train
from tasks.values import catalog
from tasks.values.training import Init, Recipe
from tests.tasks.training.test_checkpoints import Cut, Kept

NETWORK, DIGITS = catalog.network("conv2_bn", "digits"), catalog.dataset("digits")
PLAIN = Recipe(steps=8, batch_size=65, lr=0.05, evaluate_every=4)
RECIPES = {
    "sgd": replace(PLAIN, weight_decay=1e-3, warmup=3, augment="crop_flip"),
    "adam": replace(PLAIN, optimizer="adam", lr=1e-3, label_smoothing=0.1),
}


class Processes:
    """The others as processes of this machine (tasks.training.distributed.Others)."""

    size, address = 2, "127.0.0.1"

    @contextmanager
    def working(self, part: Callable[..., None], *told: Any) -> Iterator[Callable[[], bool]]:
        spawn = multiprocessing.get_context("spawn").Process
        self.other = spawn(target=part, args=(1, self.address, *told), daemon=True)
        self.other.start()
        try:
            yield lambda: bool(self.other.exitcode)
            self.other.join()
        finally:
            self.other.kill()
            self.other.join()


def weights_and_mask() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    weights = initial_weights(NETWORK, Init(seed=0))
    draws = torch.Generator().manual_seed(1)
    kept = {
        n: torch.rand(t.shape, generator=draws) < 0.5 for n, t in weights.items() if t.dim() > 1
    }
    return weights, kept


def apart(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """Return the largest relative distance of a tensor from its expected value."""
    pairs = [(found[n].double(), t.double()) for n, t in expected.items()]
    return max(float((one - other).norm() / (1e-3 + other.norm())) for one, other in pairs)


def assert_close(found: Trained, expected: Trained) -> None:
    """Compare to a fraction of a per cent: one activation on the other side of 0 is visible."""
    assert apart(found.weights, expected.weights) < 5e-3
    for one, other in zip(found.evals, expected.evals, strict=True):
        assert (one.step, one.split) == (other.step, other.split)
        assert one.loss == pytest.approx(other.loss, rel=1e-2)
        assert one.accuracy == pytest.approx(other.accuracy, abs=0.01)


@pytest.mark.parametrize("name", RECIPES)
def test_two_devices_train_the_same_run(name: str) -> None:
    """33 and 32 of 65 images each, batch norm over all of them, augmented alike."""
    weights, kept = weights_and_mask()
    asked = {"order_seed": 3, "save": (1, 2)}
    alone = train(NETWORK, RECIPES[name], load(DIGITS), weights, kept, **asked)
    both = train_on(Processes(), "cpu", NETWORK, RECIPES[name], DIGITS, weights, kept, **asked)
    assert both.states.keys() == {1, 2}
    for step in (1, 2):
        assert apart(both.states[step], alone.states[step]) < 1e-5
    assert_close(both, alone)
    for tensor, mask in ((both.weights[n], kept[n]) for n in kept):
        assert not tensor[~mask].any()


def test_what_was_cut_goes_on_on_two_devices() -> None:
    weights, kept = weights_and_mask()
    shelf = Kept(5)
    with pytest.raises(Cut):
        train(NETWORK, PLAIN, load(DIGITS), weights, kept, order_seed=3, checkpoints=shelf)
    whole = train(NETWORK, PLAIN, load(DIGITS), weights, kept, order_seed=3)
    given = NETWORK, PLAIN, DIGITS, weights, kept
    found = train_on(Processes(), "cpu", *given, order_seed=3, checkpoints=shelf)
    assert_close(found, whole)


class Kill(Kept):
    """Kill the other process in place of storing a first checkpoint."""

    def __init__(self, others: Processes) -> None:
        super().__init__(at=1)
        self.others = others
        self.heard_at: set[str] = set()

    def keep(self, one: Checkpoint) -> None:
        connections = psutil.Process().net_connections("tcp")
        self.heard_at = {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}
        self.others.other.kill()


def test_when_one_of_them_is_killed_the_run_ends_and_says_so() -> None:
    weights, kept = weights_and_mask()
    others = Processes()
    given, shelf = (NETWORK, PLAIN, DIGITS, weights, kept), Kill(others)
    with pytest.raises(MemberLost, match="a member of the process group is gone"):
        train_on(others, "cpu", *given, order_seed=3, checkpoints=shelf)
    assert not multiprocessing.active_children()
    assert not torch.distributed.is_initialized()
    assert shelf.heard_at == {"127.0.0.1"}, "they listen on the address that they are told"


class OfAnotherMind(Processes):
    """Tell the other process of a dataset that does not exist."""

    def working(
        self, part: Callable[..., None], *told: Any
    ) -> AbstractContextManager[Callable[[], bool]]:
        place, (network, recipe, _, *rest), *more = told
        given = (network, recipe, replace(DIGITS, name="nosuch"), *rest)
        return super().working(part, place, given, *more)


def test_nobody_waits_for_one_that_could_not_begin() -> None:
    weights, kept = weights_and_mask()
    given = (NETWORK, PLAIN, DIGITS, weights, kept)
    with pytest.raises(MemberLost, match="could not start"):
        train_on(OfAnotherMind(), "cpu", *given, order_seed=3)
    assert not multiprocessing.active_children()


class OutOfReach(Processes):
    """Run the other in a thread, and send it to a port on which nobody listens."""

    @contextmanager
    def working(self, part: Callable[..., None], *told: Any) -> Iterator[Callable[[], bool]]:
        place, *more = told
        with ThreadPoolExecutor(1) as other:
            ended = other.submit(part, 1, self.address, replace(place, port=1), *more)
            try:
                yield lambda: ended.done() and ended.exception() is not None
            except MemberLost as error:
                raise ended.exception() or error from error


def test_nobody_waits_for_one_that_cannot_reach_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, kept = weights_and_mask()
    monkeypatch.setattr(distributed, "CONNECT_SECONDS", 0.5)
    with pytest.raises(
        RuntimeError, match=r"cannot reach the first process of its group at 127\.0\.0\.1:1;"
    ):
        train_on(OutOfReach(), "cpu", NETWORK, PLAIN, DIGITS, weights, kept, order_seed=3)


def test_an_address_is_found_among_the_interfaces_or_refused() -> None:
    assert interface("127.0.0.1") == "lo"
    with pytest.raises(
        ValueError, match=r"no network interface of .* has the address 192\.0\.2\.1"
    ):
        interface("192.0.2.1")
