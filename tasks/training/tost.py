"""Ghost neurons and ghost skips of ToST (Jaiswal et al. 2022, section 3).

They change how the network computes early in training and then disappear. They live in the
module and add no weight, so nothing is added to the weights that are counted or pruned.
"""

from typing import Any

import torch
from torch import Tensor, nn

from tasks.values.training import Recipe


class Ghosts:
    """Soft neurons and skip connections in a module during the first `ghost_steps` steps.

    A soft neuron computes x · sigmoid(β x) in place of ReLU. β rises from 1 to SHARPEST, where
    it is nearly ReLU. A skip adds a convolution's input to its output where the shapes agree,
    with a weight that falls linearly from 1 to 0. The authors' skips are 1 × 1 convolutions,
    which would add weights.
    """

    SHARPEST = 20.0

    def __init__(self, module: nn.Module, recipe: Recipe) -> None:
        self._steps, self._strength = recipe.ghost_steps, 0.0
        for child in module.modules():
            if recipe.ghosts in {"neurons", "both"} and isinstance(child, nn.ReLU):
                child.register_forward_hook(self._soften)
            if recipe.ghosts in {"skips", "both"} and _keeps_shape(child):
                child.register_forward_hook(self._skip)

    def set_step(self, step: int | None) -> None:
        """Set the strength for a training step; None is evaluation, where it is 0."""
        active = self._steps and step is not None
        self._strength = max(0.0, 1 - (step or 0) / self._steps) if active else 0.0

    def _soften(self, _: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        if not self._strength:
            return output
        beta = self.SHARPEST ** (1 - self._strength)
        x: Tensor = inputs[0]
        return torch.mul(x, torch.sigmoid(beta * x))

    def _skip(self, _: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        if not self._strength or inputs[0].shape != output.shape:
            return output
        return torch.add(output, inputs[0], alpha=self._strength)


def _keeps_shape(child: nn.Module) -> bool:
    if not isinstance(child, nn.Conv2d) or child.in_channels != child.out_channels:
        return False
    return set(child.stride) == {1}
