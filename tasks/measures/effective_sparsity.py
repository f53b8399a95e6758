"""Effective sparsity: kept weights count only on a path of kept weights from input to output.

Vysogorets and Kempe 2023, "Connectivity Matters: Neural Network Pruning Through the Lens of
Effective Sparsity". Units die long before a layer is empty. The effective density of a very
sparse mask can therefore be far below its density.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from tasks.masks import Kept
from tasks.networks import tensors
from tasks.networks.build import call, prunable


class _Saturate(torch.autograd.Function):
    """Replace positive values by 1: activations in the forward pass, gradients in the backward.

    Only whether a value is zero matters. Products of hundreds of fan-ins, or of their
    inverses, would leave the range of float64.
    """

    @staticmethod
    def forward(_: Any, activation: Tensor) -> Tensor:
        return (activation > 0).to(activation)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return (gradient > 0).to(gradient)


def effective(paths: nn.Module, kept: Kept, input_shape: tuple[int, ...]) -> Kept:
    """Return the mask of kept weights on a path of kept weights from input pixel to output.

    It is SynFlow's pass in float64 over the mask itself (Vysogorets and Kempe 2023): each kept
    weight is 1, batch norm is neutral, biases are 0, and the input (channels, height, width) is
    all ones. No value is negative, so none cancel, and a weight is on a path exactly if its
    gradient is not 0. Paths are those of single pixels: a kernel entry that only meets padding
    is on no path. A unit that emits only its bias counts as dead.

    `paths` is the architecture that `connections` built, on the device of the mask.
    """
    live = {name: mask.to(torch.float64).requires_grad_() for name, mask in kept.items()}
    device = next(iter(live.values())).device
    ones = torch.ones(1, *input_shape, dtype=torch.float64, device=device)
    with _exact_convolutions(device):
        total = call(paths, live, ones).sum()
        gradients = torch.autograd.grad(total, list(live.values()), materialize_grads=True)
    return {
        name: (gradient != 0) & kept[name] for name, gradient in zip(live, gradients, strict=True)
    }


def _exact_convolutions(device: torch.device) -> AbstractContextManager[None]:
    """Switch cuDNN off, whose transforms may leave 1e-17 where products sum to 0."""
    return torch.backends.cudnn.flags(enabled=False) if device.type == "cuda" else nullcontext()


def dead_units(kept: Kept) -> dict[str, int]:
    """Count the output units (rows or filters) of each layer that keep no input weight."""
    return {name: int((~k.flatten(1).any(dim=1)).sum()) for name, k in kept.items()}


def _neutral(name: str, tensor: Tensor, device: torch.device | str) -> Tensor:
    """Return 1 for batch norm's scale and running variance, 0 for other floating-point tensors."""
    if not tensor.is_floating_point():
        return torch.zeros_like(tensor, device=device) if tensor.is_meta else tensor.to(device)
    value = 1.0 if name.endswith(("weight", "running_var")) else 0.0
    return torch.full(tensor.shape, value, dtype=torch.float64, device=device)


def connections(module: nn.Module, device: torch.device | str = "cpu") -> nn.Module:
    """Turn an architecture into one whose layers pass only 0 or 1, forward and backward.

    Its activations must be 0 at 0 and increasing, and its poolings modules: MaxPool2d or
    averages. Layer norms are removed. All tensors that are not prunable get neutral values;
    integer tensors, which may be indices, keep theirs if they have any.

    Raises
    ------
    ValueError
        When a max pooling is dilated, or a layer is recurrent or attention: its gradients may
        cancel.
    """
    module.eval()
    for parent in list(module.modules()):
        if isinstance(parent, nn.RNNBase | nn.RNNCellBase | nn.MultiheadAttention):
            raise ValueError(f"paths through {type(parent).__name__} cannot be followed")
        for name, child in parent.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(parent, name, _averaging(child))
            elif isinstance(child, nn.LayerNorm):
                setattr(parent, name, nn.Identity())
            elif isinstance(child, _ConvNd | nn.Linear):
                child.register_forward_hook(_saturated)
    weights = set(prunable(module))
    tensors.replace(
        module, lambda n, tensor: tensor if n in weights else _neutral(n, tensor, device)
    )
    return module.requires_grad_(False)


def _saturated(_module: nn.Module, _inputs: object, output: Tensor) -> Any:
    return _Saturate.apply(output)  # type: ignore[no-untyped-call]


def _averaging(pool: nn.MaxPool2d) -> nn.AvgPool2d:
    """Build average pooling over the same windows.

    Max pooling would send the gradient to one position of each window.
    """
    if pool.dilation not in (1, (1, 1)):
        raise ValueError(f"max pooling with dilation {pool.dilation} has no average pooling")
    return nn.AvgPool2d(pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode)
