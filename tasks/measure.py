"""What is recorded of a mask: per layer, how much is kept and what it would cost."""

from dataclasses import dataclass
from functools import lru_cache
from math import isfinite, sqrt
from typing import Any

import torch
from torch import Tensor, nn

from tasks.effective import connections, effective
from tasks.masks import Kept
from tasks.networks.build import Weights, build, prunable
from tasks.spec import Network


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
    """The prunable layers in the order in which an example meets them, all weights kept."""
    module = build(network)
    wanted = set(prunable(module))
    found: list[Layer] = []

    def record(name: str) -> Any:
        def hook(child: nn.Module, _: object, output: Tensor) -> None:
            weight = child.get_parameter("weight")
            positions = output[0].numel() // weight.shape[0]
            flops = weight.numel() * positions
            found.append(Layer(name, len(found), weight.numel(), weight.numel(), flops))

        return hook

    for name, child in module.named_modules():
        if f"{name}.weight" in wanted:
            child.register_forward_hook(record(f"{name}.weight"))
    module.eval()
    # On the CPU: torch works out batch norm on the meta device by its compiler, which takes
    # seconds to import.
    zeros = {n: torch.zeros(t.shape, dtype=t.dtype) for n, t in module.state_dict().items()}
    module.load_state_dict(zeros, assign=True)
    with torch.no_grad():
        module(torch.zeros(1, *network.input_shape))
    return tuple(found)


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
    return sum(p.numel() for p in build(network).parameters())


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


def effective_kept(network: Network, kept: Kept) -> dict[str, int]:
    """How many kept weights of each layer lie on a path from input to output."""
    device = next(iter(kept.values())).device
    found = effective(_paths(network, device), kept, network.input_shape)
    return {name: int(tensor.sum()) for name, tensor in found.items()}


@lru_cache(maxsize=16)
def _paths(network: Network, device: torch.device) -> nn.Module:
    return connections(build(network), device)
