"""SGD and Adam as in PyTorch, as directions that the learning rate multiplies.

The gradient of a pruned weight is zero, so its buffers and its direction are zero as well.
"""

from math import sqrt
from typing import TypeAlias

import torch
from torch import Tensor

from tasks.values.training import Recipe

Number: TypeAlias = float | Tensor
"""A number, or a 0-dim tensor that a recorded update reads each time it is replayed."""

Corrections: TypeAlias = tuple[Number, Number]
"""Adam's divisors of the first moment and of the root of the second moment."""


class Sgd:
    """SGD with momentum, or Nesterov's (Sutskever et al. 2013, in PyTorch's form)."""

    def __init__(self, recipe: Recipe, tensors: list[Tensor]) -> None:
        self._recipe = recipe
        self.buffers = [torch.zeros_like(t) for t in tensors]
        self.count = 0

    def state(self) -> list[Tensor]:
        """Return all tensors that the next direction depends on besides its gradient."""
        return self.buffers

    def restore(self, state: list[Tensor]) -> None:
        """Continue from a state that `state` returned."""
        self.buffers = state

    def put(self, state: list[Tensor]) -> None:
        """Copy a state that `state` returned into the existing tensors."""
        torch._foreach_copy_(self.buffers, state)

    def direction(self, gradients: list[Tensor], _: Corrections | None = None) -> list[Tensor]:
        """Return the direction of the next update; it may overwrite `gradients`."""
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
        self.count = 0

    def state(self) -> list[Tensor]:
        """Return all tensors that the next direction depends on besides its gradient."""
        return [*self.buffers, *self._second, torch.tensor(self.count)]

    def restore(self, state: list[Tensor]) -> None:
        """Continue from a state that `state` returned."""
        half = len(self.buffers)
        self.buffers, self._second = state[:half], state[half : 2 * half]
        self.count = int(state[-1])

    def put(self, state: list[Tensor]) -> None:
        """Copy a state that `state` returned into the existing tensors."""
        torch._foreach_copy_([*self.buffers, *self._second], state[:-1])
        self.count = int(state[-1])

    def direction(
        self, gradients: list[Tensor], corrections: Corrections | None = None
    ) -> list[Tensor]:
        """Return the direction of the next update.

        `corrections` are by default those of update number `count` + 1.
        """
        self.count += 1
        first, second = corrections or self.corrections(self.count)
        torch._foreach_lerp_(self.buffers, gradients, 1 - self.BETA1)
        torch._foreach_mul_(self._second, self.BETA2)
        torch._foreach_addcmul_(self._second, gradients, gradients, value=1 - self.BETA2)
        scales = [second.sqrt() for second in self._second]
        torch._foreach_div_(scales, second)
        torch._foreach_add_(scales, self.EPSILON)
        directions = [m / scale for m, scale in zip(self.buffers, scales, strict=True)]
        torch._foreach_div_(directions, first)
        return directions

    @classmethod
    def corrections(cls, count: int) -> tuple[float, float]:
        """Return the corrections of update number `count`, from 1."""
        return 1 - cls.BETA1**count, sqrt(1 - cls.BETA2**count)


def optimizer(recipe: Recipe, tensors: list[Tensor]) -> Sgd | Adam:
    """Build the recipe's optimizer, with buffers at zero."""
    return Adam(tensors) if recipe.optimizer == "adam" else Sgd(recipe, tensors)


@torch.no_grad()
def update(
    recipe: Recipe,
    updates: Sgd | Adam,
    tensors: list[Tensor],
    gradients: list[Tensor],
    masked: list[tuple[int, Tensor]],
    rate: Number,
    corrections: Corrections | None = None,
) -> None:
    """Update the tensors by one iteration, in place.

    Each of `masked` is the position of a tensor and its mask. A rate that is a tensor is read
    when the update runs, which may be in a replay.
    """
    if recipe.weight_decay:
        torch._foreach_add_(gradients, tensors, alpha=recipe.weight_decay)
    if masked:
        torch._foreach_mul_([gradients[i] for i, _ in masked], [mask for _, mask in masked])
    directions = updates.direction(gradients, corrections)
    if isinstance(rate, Tensor):  # the same bits as with alpha
        _subtract(tensors, directions, rate)
    else:
        torch._foreach_add_(tensors, directions, alpha=-rate)


def _subtract(tensors: list[Tensor], directions: list[Tensor], rate: Tensor) -> None:
    """Subtract `rate` × direction from each tensor.

    Only the fused SGD of PyTorch updates many tensors at once by a rate that is a tensor.
    """
    torch._fused_sgd_(
        tensors,
        directions,
        [],
        lr=rate,
        weight_decay=0.0,
        momentum=0.0,
        dampening=0.0,
        nesterov=False,
        maximize=False,
        is_first_step=False,
    )
