"""SGD and Adam as PyTorch has them, as directions: what the learning rate multiplies.

A pruned weight's gradient is zero, so its buffers and its direction are.
"""

from math import sqrt

import torch
from torch import Tensor

from tasks.spec import Recipe


class Sgd:
    """Momentum, Nesterov's if asked (Sutskever et al. 2013, in PyTorch's form)."""

    def __init__(self, recipe: Recipe, tensors: list[Tensor]) -> None:
        self._recipe = recipe
        self.buffers = [torch.zeros_like(t) for t in tensors]

    def state(self) -> list[Tensor]:
        """All that the next direction depends on besides its gradient."""
        return self.buffers

    def restore(self, state: list[Tensor]) -> None:
        """Go on from a state that this optimizer gave."""
        self.buffers = state

    def direction(self, gradients: list[Tensor]) -> list[Tensor]:
        """The direction of the next update; may be written into `gradients`."""
        torch._foreach_mul_(self.buffers, self._recipe.momentum)
        torch._foreach_add_(self.buffers, gradients)
        if not self._recipe.nesterov:
            return self.buffers
        torch._foreach_add_(gradients, self.buffers, alpha=self._recipe.momentum)
        return gradients


class Adam:
    """Adam with its two moments (Kingma and Ba 2015, algorithm 1)."""

    BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8

    def __init__(self, tensors: list[Tensor]) -> None:
        self.buffers = [torch.zeros_like(t) for t in tensors]
        self._second = [torch.zeros_like(t) for t in tensors]
        self._count = 0

    def state(self) -> list[Tensor]:
        """All that the next direction depends on besides its gradient."""
        return [*self.buffers, *self._second, torch.tensor(self._count)]

    def restore(self, state: list[Tensor]) -> None:
        """Go on from a state that this optimizer gave."""
        half = len(self.buffers)
        self.buffers, self._second = state[:half], state[half : 2 * half]
        self._count = int(state[-1])

    def direction(self, gradients: list[Tensor]) -> list[Tensor]:
        """The direction of the next update."""
        self._count += 1
        torch._foreach_lerp_(self.buffers, gradients, 1 - self.BETA1)
        torch._foreach_mul_(self._second, self.BETA2)
        torch._foreach_addcmul_(self._second, gradients, gradients, value=1 - self.BETA2)
        scales = [second.sqrt() for second in self._second]
        torch._foreach_div_(scales, sqrt(1 - self.BETA2**self._count))
        torch._foreach_add_(scales, self.EPSILON)
        directions = [m / scale for m, scale in zip(self.buffers, scales, strict=True)]
        torch._foreach_div_(directions, 1 - self.BETA1**self._count)
        return directions


def optimizer(recipe: Recipe, tensors: list[Tensor]) -> Sgd | Adam:
    """The recipe's, with buffers at zero."""
    return Adam(tensors) if recipe.optimizer == "adam" else Sgd(recipe, tensors)
