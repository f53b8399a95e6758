"""Try a user's code in seconds: build it, train on one batch, compare data with its facts.

Each function yields lines to print. It raises an error with a message of one line where the
code is wrong.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tasks.data.batches import Batch, Data, load
from tasks.measures import layers
from tasks.networks.build import build, call, initial_weights, prunable
from tasks.networks.random_layers import drawing
from tasks.pruning.prune import prune
from tasks.values import catalog
from tasks.values.scores import Own
from tasks.values.training import Dataset, Init, Network

EXAMPLES = 64
"""Examples in the batch that a network is tried with."""


def dataset(chosen: Dataset) -> Iterator[str]:
    """Load a dataset twice; loading compares it with its facts."""
    facts = catalog.dataset_facts(chosen.name)
    data = load(chosen)
    shape = " x ".join(map(str, facts.input_shape))
    yield (
        f"{chosen.name}: {len(data.train)} + {len(data.test)} examples of {shape}, "
        f"{facts.classes} classes, as its facts say"
    )
    missing = facts.classes - len(set(data.train.labels.tolist()))
    if missing:
        yield f"{chosen.name}: {missing} of {facts.classes} classes have no training example"
    load.cache_clear()
    if not torch.equal(_few(data).images, _few(load(chosen)).images):
        raise ValueError(f"{chosen.name}: returns different images when it is called again")


def network(chosen: Network, data: Data | None) -> Iterator[str]:
    """Build a network, draw its weights twice, train it on one batch; report its prunable share."""
    module = build(chosen)
    weights, again = (initial_weights(chosen, Init(seed=0)) for _ in range(2))
    if not _same(weights, again):
        raise ValueError(f"{chosen.name}: draws different weights from the same seed")
    share = layers.share(chosen)
    yield (
        f"{chosen.name}: {share.parameters:,} parameters, {share.percent} of them prunable, "
        f"in {len(prunable(module))} tensors"
    )
    if share.others:
        yield f"{chosen.name}: not prunable: {share.without}"
    batch = _batch(chosen, data)
    losses = [_trained(chosen, weights, batch) for _ in range(2)]
    if not torch.equal(*losses):
        yield (
            f"{chosen.name}: the same batch twice gives different losses "
            "(random layers such as dropout)"
        )
    yield f"{chosen.name}: one batch forward and backward, loss {float(losses[0]):.3f}"
    try:
        _trained(chosen, weights, Batch(batch.images[:1], batch.labels[:1]))
    except ValueError as error:
        yield (
            f"{chosen.name}: cannot train on a batch of one example "
            f"({str(error).splitlines()[0]}): choose a batch_size that does not leave one "
            "example at the end of an epoch"
        )


def score(chosen: Own, shaped: Network, data: Data) -> Iterator[str]:
    """Score a network at initialization twice, and keep half of its weights."""
    weights = initial_weights(shaped, Init(seed=0))
    kept = [prune(shaped, chosen, weights, 0.5, data=data).kept for _ in range(2)]
    if not _same(*kept):
        raise ValueError(f"{chosen.name}: returns different scores when it is called again")
    size = sum(tensor.numel() for tensor in kept[0].values())
    yield f"{chosen.name}: scores {size:,} weights of {shaped.name}, the same in both calls"


def _few(data: Data) -> Batch:
    return data.train.batch(torch.arange(min(EXAMPLES, len(data.train))))


def _batch(chosen: Network, data: Data | None) -> Batch:
    """Return real examples, or noise if the dataset's files are missing."""
    if data is not None:
        return _few(data)
    noise = torch.Generator().manual_seed(0)
    images = torch.randn(EXAMPLES, *chosen.input_shape, generator=noise)
    return Batch(images, torch.arange(EXAMPLES) % chosen.classes)


def _trained(chosen: Network, weights: dict[str, Tensor], batch: Batch) -> Tensor:
    """Return the loss of a batch; check the shape of the logits and that gradients are finite."""
    module = build(chosen).train()
    parameters = {name for name, p in module.named_parameters() if p.requires_grad}
    used = {n: t.clone().requires_grad_(n in parameters) for n, t in weights.items()}
    with drawing(chosen, 0, "trying"):
        logits = call(module, used, batch.images)
    expected = (len(batch.labels), chosen.classes)
    if (shape := tuple(logits.shape)) != expected:
        raise ValueError(
            f"{chosen.name}: returns logits of shape {shape} for a batch; right: {expected}"
        )
    loss = cross_entropy(logits, batch.labels)
    live = [used[name] for name in used if name in parameters]
    gradients: Any = torch.autograd.grad(loss, live, allow_unused=True)
    if not all(g is None or g.isfinite().all() for g in [loss, *gradients]):
        raise ValueError(f"{chosen.name}: the loss or its gradient is not finite")
    return loss.detach()


def _same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)
