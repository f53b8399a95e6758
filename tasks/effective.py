"""Which kept weights can matter: those on a path of kept weights from input to output.

Vysogorets and Kempe 2023, "Connectivity Matters: Neural Network Pruning Through the Lens of
Effective Sparsity". Units die long before a layer empties, so that the effective density of
a very sparse mask can be far below the density that was asked for.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from tasks.masks import Kept
from tasks.networks.build import prunable


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
        total = functional_call(paths, live, (ones,), tie_weights=False).sum()
        gradients = torch.autograd.grad(total, list(live.values()))
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
        return torch.zeros(tensor.shape, dtype=tensor.dtype, device=device)
    one = name.endswith(("weight", "running_var"))
    return torch.full(tensor.shape, 1.0 if one else 0.0, dtype=torch.float64, device=device)


def connections(module: nn.Module, device: torch.device | str = "cpu") -> nn.Module:
    """Turn an architecture into one that passes 1 or 0 between layers, forth and back.

    Its activations must be 0 at 0 and rise, its poolings be modules: MaxPool2d or averages.
    Layer norms are left out. All its tensors but the prunable ones get neutral values.

    Raises
    ------
    ValueError
        When a max pooling is dilated.
    """
    module.eval()
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(parent, name, _averaging(child))
            elif isinstance(child, nn.LayerNorm):
                setattr(parent, name, nn.Identity())
            elif isinstance(child, nn.Conv2d | nn.Linear):
                child.register_forward_hook(_saturated)
    weights = set(prunable(module))
    others = {name: t for name, t in module.state_dict().items() if name not in weights}
    neutral = {name: _neutral(name, tensor, device) for name, tensor in others.items()}
    module.load_state_dict(neutral, strict=False, assign=True)
    return module.requires_grad_(False)


def _saturated(_module: nn.Module, _inputs: object, output: Tensor) -> Any:
    return _Saturate.apply(output)  # type: ignore[no-untyped-call]


def _averaging(pool: nn.MaxPool2d) -> nn.AvgPool2d:
    """Average pooling of the same windows: max pooling sends the gradient to one position."""
    if pool.dilation not in (1, (1, 1)):
        raise ValueError(f"max pooling with dilation {pool.dilation} has no average pooling")
    return nn.AvgPool2d(pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode)
