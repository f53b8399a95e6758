"""SGD and Adam as PyTorch has them, as directions: what the learning rate multiplies.

A pruned weight's gradient is zero, so its buffers and its direction are.
"""

from math import sqrt
from typing import TypeAlias

import torch
from torch import Tensor

from tasks.values.training import Recipe

Number: TypeAlias = float | Tensor
"""A number; or where an update is recorded, a 0-dim tensor that holds it when it is replayed."""

Corrections: TypeAlias = tuple[Number, Number]
"""What Adam divides its first moment and the root of its second by."""


class Sgd:
    """Momentum, Nesterov's if asked (Sutskever et al. 2013, in PyTorch's form)."""

    def __init__(self, recipe: Recipe, tensors: list[Tensor]) -> None:
        self._recipe = recipe
        self.buffers = [torch.zeros_like(t) for t in tensors]
        self.count = 0

    def state(self) -> list[Tensor]:
        """All that the next direction depends on besides its gradient."""
        return self.buffers

    def restore(self, state: list[Tensor]) -> None:
        """Go on from a state that this optimizer gave."""
        self.buffers = state

    def put(self, state: list[Tensor]) -> None:
        """Go on from such a state in the tensors that are there."""
        torch._foreach_copy_(self.buffers, state)

    def direction(self, gradients: list[Tensor], _: Corrections | None = None) -> list[Tensor]:
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
        self.count = 0

    def state(self) -> list[Tensor]:
        """All that the next direction depends on besides its gradient."""
        return [*self.buffers, *self._second, torch.tensor(self.count)]

    def restore(self, state: list[Tensor]) -> None:
        """Go on from a state that this optimizer gave."""
        half = len(self.buffers)
        self.buffers, self._second = state[:half], state[half : 2 * half]
        self.count = int(state[-1])

    def put(self, state: list[Tensor]) -> None:
        """Go on from such a state in the tensors that are there."""
        torch._foreach_copy_([*self.buffers, *self._second], state[:-1])
        self.count = int(state[-1])

    def direction(
        self, gradients: list[Tensor], corrections: Corrections | None = None
    ) -> list[Tensor]:
        """The direction of the next update; `corrections` are those of `count` + 1 if not given."""
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
        """The corrections of the `count`-th update."""
        return 1 - cls.BETA1**count, sqrt(1 - cls.BETA2**count)


def optimizer(recipe: Recipe, tensors: list[Tensor]) -> Sgd | Adam:
    """The recipe's, with buffers at zero."""
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
    """Move the tensors by one iteration; `masked` are masks, each with its tensor's position.

    A rate that is a tensor is read when the update happens, which may be a replay.
    """
    if recipe.weight_decay:
        torch._foreach_add_(gradients, tensors, alpha=recipe.weight_decay)
    if masked:
        torch._foreach_mul_([gradients[i] for i, _ in masked], [mask for _, mask in masked])
    directions = updates.direction(gradients, corrections)
    if isinstance(rate, Tensor):  # to the bit what it is with alpha
        _subtract(tensors, directions, rate)
    else:
        torch._foreach_add_(tensors, directions, alpha=-rate)


def _subtract(tensors: list[Tensor], directions: list[Tensor], rate: Tensor) -> None:
    """Plain SGD without momentum: the one update of many tensors whose rate may be a tensor."""
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
