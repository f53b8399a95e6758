"""The first steps of a task on a few examples: does its code, recipe and data work at all?

Nothing that comes out is a result.
"""

from dataclasses import replace

import torch

from tasks.data import Data, Split, load
from tasks.networks.build import initial_weights
from tasks.prune import prune
from tasks.spec import GemMiner, Grasp, Init, Mask, OnExamples, Run, Score, Snip, Synflow
from tasks.train import train

STEPS = 2
EXAMPLES = 256


def rehearse(value: Run | Mask, device: str = "cpu") -> None:
    """Train two iterations from fresh weights, or find the mask of fresh weights.

    Raises
    ------
    Exception
        Whatever the task itself would raise.
    """
    weights = initial_weights(value.network, Init(seed=0))
    if isinstance(value, Mask):
        _rehearse_mask(value, {n: t.to(device) for n, t in weights.items()}, device)
        return
    steps = min(STEPS, value.recipe.steps)
    recipe = replace(value.recipe, rescale_steps=min(value.recipe.rescale_steps, 1))
    data = load(value.dataset, device)
    few = Data(_few(data.train), _few(data.test), _few(data.val) if data.val else None)
    train(value.network, recipe, few, weights, order_seed=0, last_step=steps)


def _rehearse_mask(mask: Mask, weights: dict[str, torch.Tensor], device: str) -> None:
    score, data = _shorter(mask.score), None
    if isinstance(score, OnExamples):
        data = load(score.examples.dataset, device)
    elif isinstance(score, GemMiner):
        data = load(score.dataset, device)
    prune(
        mask.network,
        score,
        weights,
        mask.density,
        data=data,
        scope=mask.scope,
        keep_dense=mask.keep_dense,
        pattern=mask.pattern,
        rates=mask.rates,
    )


def _shorter(score: Score) -> Score:
    if isinstance(score, Snip | Grasp | Synflow):
        return replace(score, iterations=min(score.iterations, STEPS))
    return replace(score, steps=STEPS, period=1) if isinstance(score, GemMiner) else score


def _few(split: Split) -> Split:
    return split.part(torch.arange(min(EXAMPLES, len(split)), device=split.labels.device))
