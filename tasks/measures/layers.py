"""Measures of the layers of a network under a mask: sizes, kept weights, multiply-adds."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite, sqrt
from typing import Any

import torch
from torch import Tensor, nn

from tasks.masks import Kept
from tasks.measures.effective_sparsity import connections, effective
from tasks.networks.build import Weights, build, example_weights, loaded, prunable
from tasks.networks.counts import Share
from tasks.networks.products import Products
from tasks.networks.random_layers import drawing
from tasks.values.training import Network


@dataclass(frozen=True)
class Layer:
    """One prunable tensor. `flops` are the multiply-adds of one example, all weights kept."""

    layer: str
    position: int
    size: int
    kept: int
    flops: int


@lru_cache(maxsize=256)
def dense_layers(network: Network) -> tuple[Layer, ...]:
    """List the prunable layers of the dense network, in the order of the forward pass.

    Multiply-adds are those of all matrix products and convolutions that read a tensor, whether
    a layer or a function of the network's code computes them. A tensor that none reads counts
    one for each of its weights.
    """
    weights = example_weights(network)
    module = loaded(network, weights).eval()
    names = prunable(module)
    sizes = {name: weights[name].numel() for name in names}
    # On the CPU: on the meta device, torch computes batch norm with its compiler, which takes
    # seconds to import. `Products` imports it as well, so networks made of layers only do
    # without it.
    example = torch.zeros(1, *network.input_shape)
    if network.semantics == 1:
        counts = _by_layers(module, names, example)
    else:
        products = Products({name: module.get_parameter(name) for name in names})
        with torch.no_grad(), drawing(network, 0, "shapes"), products:
            module(example)
        counts = products.counts
    flops = {**counts, **{n: sizes[n] for n in names if n not in counts}}
    return tuple(
        Layer(name, position, sizes[name], sizes[name], count)
        for position, (name, count) in enumerate(flops.items())
    )


def _by_layers(module: nn.Module, names: list[str], example: Tensor) -> dict[str, int]:
    """Return the multiply-adds of convolutions and linear layers, in the order of the pass."""
    counts: dict[str, int] = {}

    def record(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(child: nn.Module, _: Any, output: Tensor) -> None:
            weight = child.get_parameter("weight")
            counts[name] = weight.numel() * (output[0].numel() // weight.shape[0])

        return hook

    for name in names:
        owner = module.get_submodule(name.rpartition(".")[0])
        owner.register_forward_hook(record(name))
    with torch.no_grad():
        module(example)
    return counts


def layers(network: Network, kept: Kept | None) -> list[Layer]:
    """List the prunable layers in order, with the number of weights the mask keeps of each."""
    return [
        Layer(
            dense.layer,
            dense.position,
            dense.size,
            dense.size if kept is None else int(kept[dense.layer].sum()),
            dense.flops,
        )
        for dense in dense_layers(network)
    ]


@lru_cache(maxsize=256)
def parameters(network: Network) -> int:
    """Count the trainable parameters, including biases and norms."""
    return sum(p.numel() for p in build(network).parameters() if p.requires_grad)


@lru_cache(maxsize=256)
def share(network: Network) -> Share:
    """Return the prunable share of the parameters of any network, by building it."""
    module = build(network)
    names = set(prunable(module))
    sizes = {name: parameter.numel() for name, parameter in module.named_parameters()}
    others: dict[str, int] = {}
    for name in sizes.keys() - names:
        kind = _kind(module, name)
        others[kind] = others.get(kind, 0) + sizes[name]
    ordered = sorted(others, key=lambda k: (k in _KINDS, 0 if k in _KINDS else -others[k], k))
    return Share(sum(sizes[n] for n in names), sum(sizes.values()), tuple(ordered))


_KINDS = ("biases", "norms")


def _kind(module: nn.Module, name: str) -> str:
    """Return the kind of a parameter that is not prunable: "norms", "biases" or its name."""
    owner, _, leaf = name.rpartition(".")
    if "Norm" in type(module.get_submodule(owner)).__name__:
        return "norms"
    return "biases" if leaf.startswith("bias") or leaf.endswith("_bias") else name


def fitted(network: Network, kept: Kept) -> Kept:
    """Fit a mask from another dataset's shapes: layers whose shape differs become dense."""
    module = build(network)
    fit: Kept = {}
    for name in prunable(module):
        shape, mask = module.get_parameter(name).shape, kept.get(name)
        device = next(iter(kept.values())).device
        fits = mask is not None and mask.shape == shape
        fit[name] = kept[name] if fits else torch.ones(shape, dtype=torch.bool, device=device)
    return fit


def distance(network: Network, start: Weights, end: Weights, kept: Kept | None) -> float | None:
    """Return the L2 distance that the prunable, kept weights moved; None if the run diverged."""
    squares = 0.0
    for name in prunable(build(network)):
        moved = (end[name].double() - start[name].to(end[name].device).double()).square()
        squares += float((moved if kept is None else moved[kept[name]]).sum())
    return sqrt(squares) if isfinite(squares) else None


def moments(scores: Tensor) -> tuple[float, float]:
    """Return mean and standard deviation (ddof 0) of a layer's scores, computed in float64."""
    values = scores.double()
    return float(values.mean()), float(values.std(correction=0))


def effective_kept(network: Network, kept: Kept) -> dict[str, int | None]:
    """Count the kept weights of each layer that lie on a path from input to output.

    The counts are None for a user's network whose paths of single weights cannot be followed.
    """
    device = next(iter(kept.values())).device
    try:
        on_path = effective(_paths(network, device), kept, network.input_shape)
    except (RuntimeError, ValueError, TypeError):
        if network.semantics == 1:
            raise
        return dict.fromkeys(kept)
    return {name: int(tensor.sum()) for name, tensor in on_path.items()}


@lru_cache(maxsize=16)
def _paths(network: Network, device: torch.device) -> nn.Module:
    if network.semantics == 1:
        return connections(build(network), device)
    return connections(loaded(network, example_weights(network)), device)
