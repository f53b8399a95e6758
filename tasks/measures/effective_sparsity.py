"""Which kept weights can matter: those on a path of kept weights from input to output.

Vysogorets and Kempe 2023, "Connectivity Matters: Neural Network Pruning Through the Lens of
Effective Sparsity". Units die long before a layer empties, so that the effective density of
a very sparse mask can be far below the density that was asked for.
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
    """1 where positive, forwards of activations and backwards of gradients.

    A product of hundreds of fan-ins, or of their inverses, leaves float64's range; whether
    it is zero is all that is asked.
    """

    @staticmethod
    def forward(_: Any, activation: Tensor) -> Tensor:
        return (activation > 0).to(activation)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return (gradient > 0).to(gradient)


def effective(paths: nn.Module, kept: Kept, input_shape: tuple[int, ...]) -> Kept:
    """The kept weights on some path of kept weights from an input pixel to an output.

    SynFlow's pass in float64 over the mask itself (Vysogorets and Kempe 2023): every kept
    weight is 1, batch norm neutral, biases 0 and the input, (channels, height, width), ones.
    All values are then non-negative, so none cancel, and a weight is on a path just where
    its gradient is not 0. Paths are those of single pixels: a kernel entry that meets
    nothing but padding is on none. A unit that emits only its bias counts as dead.

    `paths` is the architecture as `connections` made it, for the device that the mask is on.
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
    """Without cuDNN, which may choose transforms that leave 1e-17 where products sum to 0."""
    return torch.backends.cudnn.flags(enabled=False) if device.type == "cuda" else nullcontext()


def dead_units(kept: Kept) -> dict[str, int]:
    """How many output units (rows, or filters) of each layer keep no input weight."""
    return {name: int((~k.flatten(1).any(dim=1)).sum()) for name, k in kept.items()}


def _neutral(name: str, tensor: Tensor, device: torch.device | str) -> Tensor:
    """Biases, running means and positions 0; batch norm's scale and running variance 1."""
    if not tensor.is_floating_point():
        return torch.zeros_like(tensor, device=device) if tensor.is_meta else tensor.to(device)
    one = name.endswith(("weight", "running_var"))
    return torch.full(tensor.shape, 1.0 if one else 0.0, dtype=torch.float64, device=device)


def connections(module: nn.Module, device: torch.device | str = "cpu") -> nn.Module:
    """Turn an architecture into one that passes 1 or 0 between layers, forth and back.

    Its activations must be 0 at 0 and rise, its poolings be modules: MaxPool2d or averages.
    Layer norms are left out. All its tensors but the prunable ones get neutral values; whole
    numbers, which may be places in a table, are kept where there are any.

    Raises
    ------
    ValueError
        When a max pooling is dilated, or a layer is gated (recurrent) or weighs by softmax
        (attention): its gradients may cancel.
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
    """Average pooling of the same windows: max pooling sends the gradient to one position."""
    if pool.dilation not in (1, (1, 1)):
        raise ValueError(f"max pooling with dilation {pool.dilation} has no average pooling")
    return nn.AvgPool2d(pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode)
