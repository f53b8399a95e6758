"""Operations made differentiable twice: same values and gradients, and a second derivative."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import hardsigmoid, relu

from tasks.pruning.second_derivatives import DifferentiableTwice

OPERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "hardsigmoid": nn.Hardsigmoid(),
    "hardsigmoid in place": lambda x: hardsigmoid(x * 1, True),
    "distances to itself": lambda x: torch.cdist(x, x),
    "few distances": lambda x: torch.cdist(x, x[:2] + 1),
    "distances by p": lambda x: torch.cdist(x, x[:2] + 1, p=3.0),
    "city blocks": lambda x: torch.cdist(x, x[:2] + 1, 1),
    "what has one": lambda x: nn.functional.silu(x) + relu(x),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_values_and_gradients_are_those_of_the_operation(name: str) -> None:
    operation = OPERATIONS[name]
    x = (6 * torch.rand(5, 4, dtype=torch.float64, generator=_seed()) - 3).requires_grad_()
    plain = operation(x)
    direction = torch.rand(plain.shape, dtype=torch.float64, generator=_seed())
    with DifferentiableTwice():
        found = operation(x)
    assert torch.allclose(found, plain, atol=1e-12)
    [wanted] = torch.autograd.grad((plain * direction).sum(), x)
    [slope] = torch.autograd.grad((found * direction).sum(), x, create_graph=True)
    assert torch.allclose(slope, wanted, atol=1e-12)
    [bent] = torch.autograd.grad(slope.square().sum(), x, allow_unused=True)
    assert bent is None or bent.isfinite().all()


@pytest.mark.parametrize("name", ["few distances", "distances by p", "what has one"])
def test_the_second_derivative_is_right(name: str) -> None:
    x = (6 * torch.rand(5, 4, dtype=torch.float64, generator=_seed()) - 3).requires_grad_()

    def within(x: Tensor) -> Any:
        with DifferentiableTwice():
            return OPERATIONS[name](x)

    assert torch.autograd.gradgradcheck(within, (x,))


def _seed() -> torch.Generator:
    return torch.Generator().manual_seed(0)
