"""Replace operations without a second derivative in torch by equivalent ones that have it.

Hardsigmoid occurs in MobileNetV3 and in many networks with squeeze and excitation, distances
(cdist) in radial basis functions. For any other such operation torch raises its own error.
"""

from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import relu6
from torch.overrides import TorchFunctionMode


class DifferentiableTwice(TorchFunctionMode):
    """Context in which these operations are composed of others: same values and gradients."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Compute an operation itself, or its replacement."""
        del types
        return _OTHERS.get(func, func)(*args, **(kwargs or {}))


def _hardsigmoid(x: Tensor, inplace: bool = False) -> Tensor:
    del inplace
    return relu6(x + 3) / 6


def _cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: Any = None) -> Tensor:
    if p < 1 or not isfinite(p):
        return torch.cdist(x1, x2, p)
    del compute_mode
    powers = (x1.unsqueeze(-2) - x2.unsqueeze(-3)).abs().pow(p).sum(-1)
    apart = powers > 0  # the root has no derivative at 0; torch's cdist uses 0
    return torch.where(apart, torch.where(apart, powers, 1.0).pow(1 / p), 0.0)


_OTHERS: dict[Any, Callable[..., Any]] = {
    nn.functional.hardsigmoid: _hardsigmoid,
    torch.cdist: _cdist,
}
