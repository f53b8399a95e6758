"""From a `Network` to a module without weights, and from an `Init` to its weights.

A module here is architecture only: it lives on the meta device and is called with
`torch.func.functional_call`, so no weights hide in it and runs cannot touch each other.
"""

from collections.abc import Callable
from math import sqrt

import torch
from torch import Tensor, nn

from tasks import streams
from tasks.networks.conv import conv2_bn
from tasks.networks.lenet import lenet_300_100
from tasks.spec import Init, Network

Weights = dict[str, Tensor]
"""A network's parameters and buffers by name, as in a state dict."""

_BUILDERS: dict[str, Callable[[Network], nn.Module]] = {
    "lenet_300_100": lenet_300_100,
    "conv2_bn": conv2_bn,
}


def build(network: Network) -> nn.Module:
    """The architecture, on the meta device.

    Raises
    ------
    ValueError
        When no architecture has that name.
    """
    if network.name not in _BUILDERS:
        raise ValueError(f"no network {network.name!r}; there are {', '.join(_BUILDERS)}")
    with torch.device("meta"):
        return _BUILDERS[network.name](network)


def prunable(module: nn.Module) -> list[str]:
    """Names of the prunable tensors in sorted order: weights of Conv2d and Linear."""
    return sorted(
        f"{name}.weight"
        for name, child in module.named_modules()
        if isinstance(child, nn.Conv2d | nn.Linear)
    )


def initial_weights(network: Network, init: Init) -> Weights:
    """Float32 weights and buffers at step 0, drawn on the CPU tensor by tensor."""
    module = build(network)
    drawn = set(prunable(module))
    weights: Weights = {}
    for name, tensor in module.state_dict().items():
        if name in drawn:
            weights[name] = _draw(name, tensor.shape, init)
        elif name.endswith(("bias", "running_mean")):
            weights[name] = torch.zeros(tensor.shape)
        elif name.endswith("num_batches_tracked"):
            weights[name] = torch.zeros((), dtype=torch.int64)
        elif name.endswith("running_var") or init.batch_norm == "ones":
            weights[name] = torch.ones(tensor.shape)
        else:
            scale = streams.uniform(tensor.numel(), init.seed, "batch norm", name)
            weights[name] = torch.from_numpy(scale).float().reshape(tensor.shape)
    return weights


def _draw(name: str, shape: torch.Size, init: Init) -> Tensor:
    """He et al. 2015 (fan in) or Glorot and Bengio 2010, normal."""
    receptive = shape[2:].numel()
    fan_in, fan_out = shape[1] * receptive, shape[0] * receptive
    fans = fan_in if init.weights == "kaiming_normal" else fan_in + fan_out
    std = sqrt(2 / fans)
    draws = streams.normal(shape.numel(), init.seed, "weights", name)
    return torch.from_numpy(std * draws).float().reshape(shape)
