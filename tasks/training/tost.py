"""Sparse-training tricks that act early and then vanish (Jaiswal et al. 2022, section 3).

They live in the module, not in its weights: nothing is added to what is counted or pruned.
"""

from typing import Any

import torch
from torch import Tensor, nn

from tasks.values.training import Recipe


class Ghosts:
    """Soft neurons and skips in a module, while training is younger than `ghost_steps`.

    Soft neurons are x · sigmoid(β x) in place of ReLU, with β rising from 1 until they are
    nearly ReLU. Skips add a convolution's input to its output where the shapes agree, with
    a weight that falls linearly to 0; the authors' own are 1 × 1 convolutions, which would
    be extra weights.
    """

    SHARPEST = 20.0

    def __init__(self, module: nn.Module, recipe: Recipe) -> None:
        self._steps, self._left = recipe.ghost_steps, 0.0
        for child in module.modules():
            if recipe.ghosts in {"neurons", "both"} and isinstance(child, nn.ReLU):
                child.register_forward_hook(self._soften)
            if recipe.ghosts in {"skips", "both"} and _keeps_shape(child):
                child.register_forward_hook(self._skip)

    def haunt(self, step: int | None) -> None:
        """Set how strong they are at a step; None is evaluation, where there are none."""
        young = self._steps and step is not None
        self._left = max(0.0, 1 - (step or 0) / self._steps) if young else 0.0

    def _soften(self, _: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        if not self._left:
            return output
        beta = self.SHARPEST ** (1 - self._left)
        x: Tensor = inputs[0]
        return torch.mul(x, torch.sigmoid(beta * x))

    def _skip(self, _: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        if not self._left or inputs[0].shape != output.shape:
            return output
        return torch.add(output, inputs[0], alpha=self._left)


def _keeps_shape(child: nn.Module) -> bool:
    if not isinstance(child, nn.Conv2d) or child.in_channels != child.out_channels:
        return False
    return set(child.stride) == {1}
