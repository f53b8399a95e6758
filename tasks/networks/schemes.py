"""Initialization schemes: draw a tensor at step 0 by the scheme that an `Init` names.

Each tensor has its own random stream, so a draw does not depend on the other tensors.
"""

from math import sqrt

import torch
from torch import Tensor
from torch.special import ndtr, ndtri

from tasks import random_streams
from tasks.values.training import Init

_SPREAD = 0.87962566103423978
"""Standard deviation of N(0, 1) truncated at ±2."""


def weight(name: str, shape: torch.Size, init: Init, fans: tuple[int, int] | None = None) -> Tensor:
    """Draw the weight of a convolution (outputs, inputs, ...) or linear layer (outputs, inputs).

    `fans` are fan-in and fan-out, given if the dimensions have another order.

    The schemes of He et al. 2015 and of Glorot and Bengio 2010 draw from a normal distribution.
    `lecun_truncated_normal` has the variance 1 / fan-in and is truncated at two standard
    deviations (TensorFlow's variance scaling). Linear layers use `init.linear` if it names a
    scheme.

    Raises
    ------
    ValueError
        When the scheme is "own": then the network's code draws its weights itself.
    """
    receptive = shape[2:].numel()
    fan_in, fan_out = fans or (shape[1] * receptive, shape[0] * receptive)
    linear = init.linear if len(shape) == 2 else "as_weights"
    match linear:
        case "pytorch":
            return _uniform(name, shape, 1 / sqrt(fan_in), init)
        case "normal_001":
            return _normal(name, shape, 0.01, init)
    match init.weights:
        case "kaiming_normal":
            return _normal(name, shape, sqrt(2 / fan_in), init)
        case "kaiming_normal_fan_out":
            return _normal(name, shape, sqrt(2 / fan_out), init)
        case "glorot_normal":
            return _normal(name, shape, sqrt(2 / (fan_in + fan_out)), init)
        case "lecun_truncated_normal":
            return _truncated(name, shape, 1 / sqrt(fan_in), init)
        case "pytorch":
            return _uniform(name, shape, 1 / sqrt(fan_in), init)
        case "own":
            raise ValueError("weights that a network's own code draws have no scheme")


def scale(name: str, shape: torch.Size, init: Init) -> Tensor:
    """Draw the scale of a batch norm from U(0, 1)."""
    draws = random_streams.uniform(shape.numel(), init.seed, "batch norm", name)
    return torch.from_numpy(draws).float().reshape(shape)


def bias(name: str, shape: torch.Size, fan_in: int, init: Init) -> Tensor:
    """Draw the bias of a layer with `fan_in` inputs: 0, except in PyTorch's scheme."""
    scheme = init.weights if init.linear == "as_weights" else init.linear
    if scheme != "pytorch":
        return torch.zeros(shape)
    return _uniform(name, shape, 1 / sqrt(fan_in), init)


def _normal(name: str, shape: torch.Size, std: float, init: Init) -> Tensor:
    draws = random_streams.normal(shape.numel(), init.seed, "weights", name)
    return torch.from_numpy(std * draws).float().reshape(shape)


def _uniform(name: str, shape: torch.Size, bound: float, init: Init) -> Tensor:
    """Draw from U(-bound, bound).

    PyTorch's kaiming_uniform_ with a = √5 has the bound 1/√fan-in.
    """
    draws = random_streams.uniform(shape.numel(), init.seed, "weights", name)
    return torch.from_numpy(bound * (2 * draws - 1)).float().reshape(shape)


def _truncated(name: str, shape: torch.Size, std: float, init: Init) -> Tensor:
    draws = torch.from_numpy(random_streams.uniform(shape.numel(), init.seed, "weights", name))
    low, high = ndtr(torch.tensor([-2.0, 2.0], dtype=torch.float64))
    within: Tensor = ndtri(low + draws * (high - low))
    return (std / _SPREAD * within).float().reshape(shape)
