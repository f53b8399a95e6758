"""Layer-wise re-scaled initialization (Zhu et al. 2021; Jaiswal et al. 2022)."""

import itertools

import torch
from torch.nn.functional import cross_entropy

from tasks.data.batches import load, training_batches
from tasks.networks.build import build, initial_weights
from tasks.training.gradinit import SMALLEST_SCALE, rescale_weights
from tasks.training.train import train
from tasks.values import catalog
from tasks.values.training import Init, Recipe

NETWORK = catalog.network("lenet_300_100", "digits")
DATA = load(catalog.dataset("digits"))
RECIPE = Recipe(steps=20, batch_size=64, lr=0.1, evaluate_every=20, rescale_steps=30)


def _loss_after_a_step(weights: dict[str, torch.Tensor]) -> float:
    """Return the loss over ten batches, each after one step of 0.1 on the batch before."""
    module = build(NETWORK).train()
    batches = list(training_batches(DATA.train, RECIPE, 0, 0, 11))
    total = 0.0
    for batch, following in itertools.pairwise(batches):
        params = {name: weights[name].clone().requires_grad_() for name in weights}
        logits = torch.func.functional_call(module, params, (batch.images,))
        gradients = torch.autograd.grad(cross_entropy(logits, batch.labels), params.values())
        stepped = {n: p - 0.1 * g for (n, p), g in zip(params.items(), gradients, strict=True)}
        logits = torch.func.functional_call(module, stepped, (following.images,))
        total += float(cross_entropy(logits, following.labels).detach())
    return total / 10


def test_the_learned_scales_lower_the_loss_after_a_step_and_change_no_layers_shape() -> None:
    badly = {n: 4 * t for n, t in initial_weights(NETWORK, Init(seed=0)).items()}
    better = rescale_weights(NETWORK, RECIPE, DATA, badly, order_seed=0)
    assert _loss_after_a_step(better) < 0.9 * _loss_after_a_step(badly)
    for name, tensor in badly.items():
        live = tensor != 0
        ratios = better[name][live] / tensor[live]
        if live.any():
            torch.testing.assert_close(ratios, ratios.mean().expand_as(ratios))
            assert ratios.mean() >= SMALLEST_SCALE


def test_pruned_weights_stay_pruned_and_training_begins_from_the_rescaled_weights() -> None:
    weights = initial_weights(NETWORK, Init(seed=1))
    draws = torch.Generator().manual_seed(1)
    kept = {
        n: torch.rand(t.shape, generator=draws) < 0.3 for n, t in weights.items() if t.dim() > 1
    }
    start = rescale_weights(NETWORK, RECIPE, DATA, weights, kept, order_seed=3)
    assert all(bool((start[name][~mask] == 0).all()) for name, mask in kept.items())
    plain = RECIPE.__class__(steps=20, batch_size=64, lr=0.1, evaluate_every=20)
    within = train(NETWORK, RECIPE, DATA, weights, kept, order_seed=3)
    by_hand = train(NETWORK, plain, DATA, start, kept, order_seed=3)
    assert within.evals == by_hand.evals


def test_it_is_deterministic_and_acts_from_step_0_alone() -> None:
    weights = initial_weights(NETWORK, Init(seed=1))
    plain = RECIPE.__class__(steps=20, batch_size=64, lr=0.1, evaluate_every=20)
    runs = [train(NETWORK, RECIPE, DATA, weights, order_seed=0).evals for _ in range(2)]
    assert runs[0] == runs[1]
    later = [
        train(NETWORK, recipe, DATA, weights, order_seed=0, first_step=5).evals
        for recipe in (RECIPE, plain)
    ]
    assert later[0] == later[1]
