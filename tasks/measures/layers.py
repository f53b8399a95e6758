"""What is recorded of a mask: per layer, how much is kept and what it would cost."""

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
    """One prunable tensor. `flops` are multiply-adds of one dense example."""

    layer: str
    position: int
    size: int
    kept: int
    flops: int


@lru_cache(maxsize=256)
def dense_layers(network: Network) -> tuple[Layer, ...]:
    """The prunable layers in the order in which an example meets them, all weights kept.

    Multiply-adds are those of the matrix products and convolutions that read a tensor, however
    the network's code calls them; where it is read by none, one for each of its weights.
    """
    weights = example_weights(network)
    module = loaded(network, weights).eval()
    names = prunable(module)
    sizes = {name: weights[name].numel() for name in names}
    # On the CPU: torch works out batch norm on the meta device by its compiler, which takes
    # seconds to import; so does a mode that sees operations, where layers need not be looked for.
    example = torch.zeros(1, *network.input_shape)
    if network.semantics == 1:
        found = _by_layers(module, names, example)
    else:
        products = Products({name: module.get_parameter(name) for name in names})
        with torch.no_grad(), drawing(network, 0, "shapes"), products:
            module(example)
        found = products.found
    flops = {**found, **{n: sizes[n] for n in names if n not in found}}
    return tuple(
        Layer(name, position, sizes[name], sizes[name], count)
        for position, (name, count) in enumerate(flops.items())
    )


def _by_layers(module: nn.Module, names: list[str], example: Tensor) -> dict[str, int]:
    """Multiply-adds of convolutions and linear layers that are called as such, in order."""
    found: dict[str, int] = {}

    def record(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(child: nn.Module, _: Any, output: Tensor) -> None:
            weight = child.get_parameter("weight")
            found[name] = weight.numel() * (output[0].numel() // weight.shape[0])

        return hook

    for name in names:
        owner = module.get_submodule(name.rpartition(".")[0])
        owner.register_forward_hook(record(name))
    with torch.no_grad():
        module(example)
    return found


def layers(network: Network, kept: Kept | None) -> list[Layer]:
    """The prunable layers in order, with what the mask keeps of each."""
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
    """All trainable parameters, biases and batch norm included."""
    return sum(p.numel() for p in build(network).parameters() if p.requires_grad)


@lru_cache(maxsize=256)
def share(network: Network) -> Share:
    """What of all parameters can be pruned, of any network, by building it."""
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
    """What a parameter is that is not prunable: a kind, or its name."""
    owner, _, leaf = name.rpartition(".")
    if "Norm" in type(module.get_submodule(owner)).__name__:
        return "norms"
    return "biases" if leaf.startswith("bias") or leaf.endswith("_bias") else name


def fitted(network: Network, kept: Kept) -> Kept:
    """A mask found on another dataset's shapes: layers of another shape are dense here."""
    module = build(network)
    fit: Kept = {}
    for name in prunable(module):
        shape, found = module.get_parameter(name).shape, kept.get(name)
        device = next(iter(kept.values())).device
        fits = found is not None and found.shape == shape
        fit[name] = kept[name] if fits else torch.ones(shape, dtype=torch.bool, device=device)
    return fit


def distance(network: Network, start: Weights, end: Weights, kept: Kept | None) -> float | None:
    """L2 distance that the prunable, kept weights moved; None where the run diverged."""
    squares = 0.0
    for name in prunable(build(network)):
        moved = (end[name].double() - start[name].to(end[name].device).double()).square()
        squares += float((moved if kept is None else moved[kept[name]]).sum())
    return sqrt(squares) if isfinite(squares) else None


def moments(scores: Tensor) -> tuple[float, float]:
    """Mean and standard deviation (ddof 0) of a layer's scores, in double precision."""
    values = scores.double()
    return float(values.mean()), float(values.std(correction=0))


def effective_kept(network: Network, kept: Kept) -> dict[str, int | None]:
    """How many kept weights of each layer lie on a path from input to output.

    None of a network of somebody else's in which paths of single weights cannot be followed.
    """
    device = next(iter(kept.values())).device
    try:
        found = effective(_paths(network, device), kept, network.input_shape)
    except (RuntimeError, ValueError, TypeError):
        if network.semantics == 1:
            raise
        return dict.fromkeys(kept)
    return {name: int(tensor.sum()) for name, tensor in found.items()}


@lru_cache(maxsize=16)
def _paths(network: Network, device: torch.device) -> nn.Module:
    if network.semantics == 1:
        return connections(build(network), device)
    return connections(loaded(network, example_weights(network)), device)
