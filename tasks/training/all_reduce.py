"""Sums over all processes of a group: of gradients, and of batch norm's moments.

A run that is divided among processes therefore equals the undivided run, up to the order of
these additions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class MemberLost(RuntimeError):
    """A sum over all processes failed, because one of them is gone."""


@dataclass(frozen=True)
class ProcessGroup:
    """The place of this process among `size` that train one run (tasks.training.group.Group)."""

    rank: int
    size: int

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes; the tensors have one dtype."""
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        _add_up(flat)
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.detach().copy_(part.view_as(tensor))

    def prepare(self, module: nn.Module) -> None:
        """Make batch norm compute its moments over the whole batch."""
        for child in module.modules():
            if isinstance(child, _BatchNorm):
                child.forward = partial(_normalised, child)  # type: ignore[method-assign]


def _add_up(tensor: Tensor) -> None:
    try:
        dist.all_reduce(tensor)
    except RuntimeError as error:
        raise MemberLost(f"a member of the process group is gone: {error}") from error


class _Summed(torch.autograd.Function):
    """Sum over all processes: of values in the forward pass, of gradients in the backward pass."""

    @staticmethod
    def forward(_: Any, value: Tensor) -> Tensor:
        total = value.clone()
        _add_up(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        _add_up(total)
        return total


def _summed(value: Tensor) -> Tensor:
    total: Tensor = _Summed.apply(value)  # type: ignore[no-untyped-call]
    return total


def _normalised(norm: _BatchNorm, x: Tensor) -> Tensor:
    """Apply batch norm (Ioffe and Szegedy 2015) over the whole batch.

    In evaluation mode it is PyTorch's own.
    """
    if not norm.training:
        return type(norm).forward(norm, x)
    dims = [0, *range(2, x.dim())]
    shape = [1, -1, *[1] * (x.dim() - 2)]
    count = _summed(torch.tensor([float(x.numel() // x.shape[1])], device=x.device))
    mean = _summed(x.sum(dims)) / count
    centred = x - mean.view(shape)
    variance = _summed(centred.square().sum(dims)) / count
    if norm.running_mean is not None and norm.running_var is not None:
        with torch.no_grad():
            norm.num_batches_tracked.add_(1)  # type: ignore[union-attr]
            seen = float(norm.num_batches_tracked)  # type: ignore[arg-type]
            share = 1 / seen if norm.momentum is None else norm.momentum
            norm.running_mean.lerp_(mean, share)
            norm.running_var.lerp_(variance * count / (count - 1), share)
    scaled = centred * torch.rsqrt(variance + norm.eps).view(shape)
    if not norm.affine:
        return scaled
    return scaled * norm.weight.view(shape) + norm.bias.view(shape)
