"""Gem-Miner: a mask learnt on data while the weights stay at their initial values.

Sreenivasan et al. 2022, "Rare Gems: Finding Lottery Tickets at Initialization", algorithm 1,
with the choices of their released code.
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
    """The mask, and after each freezing the step, weights left and the training loss."""

    kept: Kept
    history: tuple[tuple[int, int, float], ...]


@arithmetic("float32")
def mine(
    network: Network, weights: Weights, data: Data, density: float, settings: GemMiner
) -> Mined:
    """Learn which weights to keep; exactly round(density × size) are.

    Each prunable weight has a score p in [0, 1], drawn uniformly. The network computes with
    θ ⊙ 1[p > 0.5] ⊙ flag, whose gradient passes straight to p; the loss has λ‖p‖² beside it.
    Every `period` steps the lowest scores among the flagged are frozen out, the same share
    each time; what is flagged at the end is the mask (in the released code, too, weights
    that the penalty rounded off but did not freeze come back).

    Raises
    ------
    ValueError
        When the scores are not finite any more: the search diverged.
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
    """1 where the score is above a half, with the gradient of the score itself (Bengio 2013)."""
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
