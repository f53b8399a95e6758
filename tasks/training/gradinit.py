"""Layer-wise rescaled initialization: learn a scale for each tensor before training.

Jaiswal et al. 2022 (ToST), section 3, by the algorithm of Zhu et al. 2021 ("GradInit",
algorithm 1). The scales minimise the loss after one step of the optimizer, while the norm of
the gradient stays bounded. Within a tensor the ratios of weights, and the mask, do not change.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from tasks.data.batches import Batch, Data, training_batches
from tasks.heartbeat import paced
from tasks.masks import Kept
from tasks.networks.build import Weights, build, call
from tasks.networks.random_layers import drawing
from tasks.values.training import Network, Recipe

RATE = 0.01
STEP = 0.1
LARGEST_NORM = 1.0
SMALLEST_SCALE = 0.01
"""Defaults of ToST's command line.

Learning rate of the scales; η, the size of the optimizer's step; γ, the bound of the gradient's
norm; and the smallest scale.
"""


def rescale_weights(
    network: Network,
    recipe: Recipe,
    data: Data,
    weights: Weights,
    kept: Kept | None = None,
    *,
    order_seed: int,
) -> Weights:
    """Return the masked weights, each parameter tensor multiplied by its learned scale.

    Adam updates the scales for `recipe.rescale_steps` iterations over the first batches of
    training. Each iteration takes the optimizer's step on one batch and the loss after it on
    another batch, which shares half of the first one's examples.
    """
    module = build(network).train()
    base = {n: t.detach() * kept[n] if kept and n in kept else t for n, t in weights.items()}
    names = [name for name, p in module.named_parameters() if p.requires_grad]
    scales = {n: torch.ones((), device=base[n].device, requires_grad=True) for n in names}
    optimizer = torch.optim.Adam(list(scales.values()), lr=RATE)
    device = data.train.labels.device
    for step, (batch, other) in paced(enumerate(_pairs(data, recipe, order_seed))):
        scaled = {name: base[name] * scale for name, scale in scales.items()}
        buffers = {n: t.clone() for n, t in base.items() if n not in scaled}
        with drawing(network, order_seed, "rescaling", step, device), sdpa_kernel(SDPBackend.MATH):
            loss = _loss(module, {**buffers, **scaled}, batch)
        gradients = torch.autograd.grad(
            loss, list(scaled.values()), create_graph=True, materialize_grads=True
        )
        norm = torch.stack([g.square().sum() for g in gradients]).sum().sqrt()
        if norm > LARGEST_NORM:
            objective = norm
        else:
            stepped = _stepped(recipe, scaled, gradients)
            with drawing(network, order_seed, "rescaling, other batch", step, device):
                objective = _loss(module, {**buffers, **stepped}, other)
        optimizer.zero_grad()
        objective.backward(inputs=list(scales.values()))  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(list(scales.values()), 1.0)
        optimizer.step()
        with torch.no_grad():
            for scale in scales.values():
                scale.clamp_(min=SMALLEST_SCALE)
    with torch.no_grad():
        return {**base, **{name: base[name] * scale for name, scale in scales.items()}}


def _stepped(recipe: Recipe, scaled: Weights, gradients: tuple[Tensor, ...]) -> Weights:
    """Return the weights after one step of the optimizer: along the gradient, for Adam its sign."""
    signs = recipe.optimizer == "adam"
    return {
        name: tensor - STEP * (gradient.sign() if signs else gradient)
        for (name, tensor), gradient in zip(scaled.items(), gradients, strict=True)
    }


def _pairs(data: Data, recipe: Recipe, order_seed: int) -> Iterator[tuple[Batch, Batch]]:
    """Yield each batch with another one, made of half of it and half of the next batch."""
    batches = training_batches(data.train, recipe, order_seed, 0, recipe.rescale_steps + 1)
    last = next(batches)
    for batch in batches:
        half, rest = len(last.labels) // 2, len(batch.labels) // 2
        images = torch.cat([last.images[:half], batch.images[:rest]])
        yield last, Batch(images, torch.cat([last.labels[:half], batch.labels[:rest]]))
        last = batch


def _loss(module: torch.nn.Module, weights: Weights, batch: Batch) -> Tensor:
    return cross_entropy(call(module, weights, batch.images), batch.labels)
