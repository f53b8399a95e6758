"""A run on two devices is the run on one, but for the order of its sums. On the CPU, by gloo."""

import multiprocessing
from dataclasses import replace

import pytest
import torch

from tasks import catalog
from tasks.data import load
from tasks.gang import train_on
from tasks.networks.build import initial_weights
from tasks.spec import Init, Recipe
from tasks.train import Trained, train
from tests.science.test_checkpoints import Cut, Kept

NETWORK, DIGITS = catalog.network("conv2_bn", "digits"), catalog.dataset("digits")
PLAIN = Recipe(steps=8, batch_size=65, lr=0.05, evaluate_every=4)
RECIPES = {
    "sgd": replace(PLAIN, weight_decay=1e-3, warmup=3, augment="crop_flip"),
    "adam": replace(PLAIN, optimizer="adam", lr=1e-3, label_smoothing=0.1),
}


def weights_and_mask() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    weights = initial_weights(NETWORK, Init(seed=0))
    draws = torch.Generator().manual_seed(1)
    kept = {
        n: torch.rand(t.shape, generator=draws) < 0.5 for n, t in weights.items() if t.dim() > 1
    }
    return weights, kept


def apart(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """The largest distance of a tensor from what it should be, as a fraction of its length."""
    pairs = [(found[n].double(), t.double()) for n, t in expected.items()]
    return max(float((one - other).norm() / (1e-3 + other.norm())) for one, other in pairs)


def assert_close(found: Trained, expected: Trained) -> None:
    """To a fraction of a per cent: one activation that falls on the other side of 0 shows."""
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
    both = train_on(["cpu", "cpu"], NETWORK, RECIPES[name], DIGITS, weights, kept, **asked)
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
    found = train_on(
        ["cpu"] * 2, NETWORK, PLAIN, DIGITS, weights, kept, order_seed=3, checkpoints=shelf
    )
    assert_close(found, whole)


def test_when_one_of_them_fails_so_does_the_run_and_nobody_is_left_behind() -> None:
    weights, kept = weights_and_mask()
    with pytest.raises(RuntimeError, match="a process for nosuch ended before it began"):
        train_on(["cpu", "nosuch"], NETWORK, PLAIN, DIGITS, weights, kept, order_seed=3)
    assert not multiprocessing.active_children()
