"""What is recorded of a mask: per layer, how much is kept and what it would cost."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from tasks.masks import Kept
from tasks.networks.build import build, prunable
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
            positions = output[0].numel() // output.shape[1]
            flops = weight.numel() * positions
            found.append(Layer(name, len(found), weight.numel(), weight.numel(), flops))

        return hook

    for name, child in module.named_modules():
        if f"{name}.weight" in wanted:
            child.register_forward_hook(record(f"{name}.weight"))
    module.eval()
    module(torch.empty(1, *network.input_shape, device="meta"))
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


def parameters(network: Network) -> int:
    """All trainable parameters, biases and batch norm included."""
    return sum(p.numel() for p in build(network).parameters())
