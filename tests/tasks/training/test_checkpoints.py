"""An interrupted run that continues gives the bits of the uninterrupted run."""

from dataclasses import replace

import pytest
import torch

from tasks.data.batches import load
from tasks.networks.build import initial_weights
from tasks.training.train import Checkpoint, train
from tasks.values import catalog
from tasks.values.training import Cosine, Init, Recipe

NETWORK = catalog.network("conv2_bn", "digits")
DATA = load(catalog.dataset("digits"))
PLAIN = Recipe(steps=40, batch_size=64, lr=0.1, evaluate_every=10, schedule=Cosine(), warmup=5)
RECIPES = {
    "sgd": PLAIN,
    "nesterov": replace(PLAIN, nesterov=True, weight_decay=1e-3),
    "adam": replace(PLAIN, optimizer="adam", lr=1e-3, augment="crop_flip"),
    "rescaled": replace(PLAIN, rescale_steps=5, ghosts="neurons", ghost_steps=30),
}


class Cut(Exception):
    pass


class Kept:
    """Store a copy at the steps that are due, and then stop the run."""

    def __init__(self, at: int) -> None:
        self.left, self.kept = at, None

    def last(self) -> Checkpoint | None:
        return self.kept

    def due(self) -> bool:
        self.left -= 1
        return self.left == 0

    def keep(self, one: Checkpoint) -> None:
        def copied(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {name: tensor.clone() for name, tensor in tensors.items()}

        self.kept = Checkpoint(
            one.step,
            copied(one.weights),
            [tensor.clone() for tensor in one.optimizer],
            one.losses.clone(),
            list(one.evals),
            {step: copied(weights) for step, weights in one.states.items()},
        )
        raise Cut


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("at", [1, 10, 25, 39])
def test_a_run_that_goes_on_is_the_run(name: str, at: int) -> None:
    recipe = RECIPES[name]
    weights = initial_weights(NETWORK, Init(seed=0))
    draws = torch.Generator().manual_seed(1)
    kept = {
        n: torch.rand(t.shape, generator=draws) < 0.5 for n, t in weights.items() if t.dim() > 1
    }
    asked = {"order_seed": 3, "save": (4, 20, 40)}
    whole = train(NETWORK, recipe, DATA, weights, kept, **asked)
    checkpoints = Kept(at)
    with pytest.raises(Cut):
        train(NETWORK, recipe, DATA, weights, kept, **asked, checkpoints=checkpoints)
    assert checkpoints.kept is not None
    assert checkpoints.kept.step == at
    again = train(NETWORK, recipe, DATA, weights, kept, **asked, checkpoints=checkpoints)
    assert again.evals == whole.evals
    assert again.states.keys() == whole.states.keys()
    for step, state in whole.states.items():
        assert all(torch.equal(tensor, again.states[step][n]) for n, tensor in state.items())
    assert all(torch.equal(tensor, again.weights[n]) for n, tensor in whole.weights.items())
