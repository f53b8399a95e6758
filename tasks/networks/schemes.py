"""How a tensor is drawn at step 0, by the schemes that an `Init` names.

Each tensor has a stream of its own, so that a draw does not depend on the other tensors.
"""

from math import sqrt

import torch
from torch import Tensor
from torch.special import ndtr, ndtri

from tasks import random_streams
from tasks.values.training import Init

_SPREAD = 0.87962566103423978
"""Standard deviation of N(0, 1) cut off at two of its own."""


def weight(name: str, shape: torch.Size, init: Init, fans: tuple[int, int] | None = None) -> Tensor:
    """Draw the weight of a convolution (outputs, inputs, ...) or linear layer (outputs, inputs).

    `fans` are its fan-in and fan-out where its dimensions have another order.

    He et al. 2015 and Glorot and Bengio 2010 are normal. `lecun_truncated_normal` has the
    variance 1 / fan-in, cut off at two standard deviations (TensorFlow's variance scaling).
    Linear layers go by `init.linear` where it names a scheme.
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
            raise ValueError("what a network's own code draws has no scheme")


def scale(name: str, shape: torch.Size, init: Init) -> Tensor:
    """Draw a batch norm's scale, U(0, 1)."""
    draws = random_streams.uniform(shape.numel(), init.seed, "batch norm", name)
    return torch.from_numpy(draws).float().reshape(shape)


def bias(name: str, shape: torch.Size, fan_in: int, init: Init) -> Tensor:
    """Draw the bias of a layer whose outputs look at `fan_in` inputs: 0 but in PyTorch's scheme."""
    scheme = init.weights if init.linear == "as_weights" else init.linear
    if scheme != "pytorch":
        return torch.zeros(shape)
    return _uniform(name, shape, 1 / sqrt(fan_in), init)


def _normal(name: str, shape: torch.Size, std: float, init: Init) -> Tensor:
    draws = random_streams.normal(shape.numel(), init.seed, "weights", name)
    return torch.from_numpy(std * draws).float().reshape(shape)


def _uniform(name: str, shape: torch.Size, bound: float, init: Init) -> Tensor:
    """U(-bound, bound); PyTorch's kaiming_uniform_ with a = √5 has the bound 1/√fan-in."""
    draws = random_streams.uniform(shape.numel(), init.seed, "weights", name)
    return torch.from_numpy(bound * (2 * draws - 1)).float().reshape(shape)


def _truncated(name: str, shape: torch.Size, std: float, init: Init) -> Tensor:
    draws = torch.from_numpy(random_streams.uniform(shape.numel(), init.seed, "weights", name))
    low, high = ndtr(torch.tensor([-2.0, 2.0], dtype=torch.float64))
    within: Tensor = ndtri(low + draws * (high - low))
    return (std / _SPREAD * within).float().reshape(shape)
