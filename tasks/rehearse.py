"""Run the first steps of a task on a few examples, to see whether its code and data work.

Nothing that comes out is a result.
"""

from dataclasses import replace

import torch

from tasks.data.batches import Data, Split, load
from tasks.networks.build import initial_weights
from tasks.pruning.prune import prune
from tasks.training.train import train
from tasks.values.records import Mask, Run
from tasks.values.training import Init

STEPS = 2
EXAMPLES = 256

CONTEXT_BYTES = 600 * 2**20
"""Of a GPU's memory, what CUDA itself takes in each process, about."""


def rehearse(value: Run | Mask, device: str = "cpu") -> float:
    """Train two iterations from fresh weights, or find the mask of fresh weights.

    Returns the fraction of a GPU's memory that a process for it takes; 0 on a CPU.

    Raises
    ------
    Exception
        Whatever the task itself would raise.
    """
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    _go_through(value, device)
    return _fraction() if device == "cuda" else 0.0


def _fraction() -> float:
    total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    return min(1.0, (CONTEXT_BYTES + torch.cuda.max_memory_reserved()) / total)


def _go_through(value: Run | Mask, device: str) -> None:
    weights = initial_weights(value.network, Init(seed=0))
    if isinstance(value, Mask):
        _rehearse_mask(value, {n: t.to(device) for n, t in weights.items()}, device)
        return
    steps = min(STEPS, value.recipe.steps)
    recipe = replace(value.recipe, rescale_steps=min(value.recipe.rescale_steps, 1))
    data = load(value.dataset, device)
    count = max(EXAMPLES, value.recipe.batch_size)  # whole batches: their memory counts
    few = Data(
        _few(data.train, count), _few(data.test, count), _few(data.val, count) if data.val else None
    )
    train(value.network, recipe, few, weights, order_seed=0, last_step=steps)


def _rehearse_mask(mask: Mask, weights: dict[str, torch.Tensor], device: str) -> None:
    score = mask.score.shortened(STEPS)
    data = load(score.reads, device) if score.reads else None
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


def _few(split: Split, count: int) -> Split:
    return split.part(torch.arange(min(count, len(split)), device=split.labels.device))
