"""Gem-Miner: learn a mask on data while the weights keep their initial values.

Sreenivasan et al. 2022, "Rare Gems: Finding Lottery Tickets at Initialization", algorithm 1,
with the choices of the authors' released code.
"""

from dataclasses import dataclass
from math import cos, pi

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tasks import random_streams
from tasks.data.batches import Data, training_batches
from tasks.heartbeat import paced
from tasks.masks import Kept, select
from tasks.networks.build import Weights, build, call, prunable
from tasks.networks.random_layers import drawing
from tasks.training.precision import arithmetic
from tasks.values.scores import GemMiner
from tasks.values.training import Network, Recipe


@dataclass(frozen=True)
class Mined:
    """A learned mask, and its history: step, kept weights and training loss of each freezing."""

    kept: Kept
    history: tuple[tuple[int, int, float], ...]


@arithmetic("float32")
def mine(
    network: Network, weights: Weights, data: Data, density: float, settings: GemMiner
) -> Mined:
    """Learn a mask that keeps exactly round(density × size) weights.

    Each prunable weight has a score p in [0, 1], at first drawn uniformly. The network computes
    with θ ⊙ 1[p > 0.5] ⊙ flag, whose gradient passes to p unchanged. λ‖p‖² is added to the
    loss. Every `period` steps the lowest flagged scores are frozen: their flags become 0, the
    same share each time. The flags at the end are the mask. As in the released code, this
    includes weights with p ≤ 0.5 that were never frozen.

    Raises
    ------
    ValueError
        When a score is not finite: the search diverged.
    """
    module, names = build(network), prunable(build(network))
    frozen = {n: t.detach().clone() for n, t in weights.items()}
    device = data.train.labels.device
    scores = {
        name: torch.from_numpy(
            random_streams.uniform(weights[name].numel(), settings.seed, "gem miner", name)
        )
        .float()
        .reshape(weights[name].shape)
        .to(device)
        .requires_grad_()
        for name in names
    }
    flags: Kept = {n: torch.ones_like(s, dtype=torch.bool) for n, s in scores.items()}
    momenta = {n: torch.zeros_like(s) for n, s in scores.items()}
    recipe = Recipe(
        steps=settings.steps,
        batch_size=settings.batch_size,
        lr=settings.lr,
        evaluate_every=settings.steps,
    )
    batches = training_batches(data.train, recipe, settings.seed, 0, settings.steps)
    freezings = settings.steps // settings.period
    history: list[tuple[int, int, float]] = []
    module.train()
    for step, batch in paced(enumerate(batches, 1)):
        live = {n: frozen[n] * _rounded(scores[n]) * flags[n] for n in names}
        with drawing(network, settings.seed, "gem miner", step, device):
            logits = call(module, {**frozen, **live}, batch.images)
        loss = cross_entropy(logits, batch.labels)
        penalty = torch.stack([(s * flags[n]).square().sum() for n, s in scores.items()]).sum()
        total = loss + settings.regularization * penalty
        gradients = torch.autograd.grad(total, list(scores.values()), materialize_grads=True)
        rate = settings.lr * (1 + cos(pi * (step - 1) / settings.steps)) / 2
        _update(scores, momenta, gradients, rate, settings.momentum)
        if step % settings.period == 0:
            done = len(history) + 1
            share = density ** (done / freezings)
            flags = select({n: s.detach() for n, s in scores.items()}, share, within=flags).kept
            left = sum(int(flag.sum()) for flag in flags.values())
            history.append((step, left, float(loss.detach())))
    return Mined(flags, tuple(history))


def _rounded(score: Tensor) -> Tensor:
    """Return 1 if the score is above 0.5, else 0; the gradient is the score's (Bengio 2013)."""
    return score + ((score > 0.5).to(score) - score).detach()


@torch.no_grad()
def _update(
    scores: dict[str, Tensor],
    momenta: dict[str, Tensor],
    gradients: tuple[Tensor, ...],
    rate: float,
    momentum: float,
) -> None:
    for (name, score), gradient in zip(scores.items(), gradients, strict=True):
        momenta[name].mul_(momentum).add_(gradient)
        score.sub_(rate * momenta[name]).clamp_(0, 1)
