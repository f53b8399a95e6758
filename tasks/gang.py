"""One run on several devices of one machine: each batch is divided, the run is the same.

A training is a function of its key, not of how many devices did it. So gradients, batch
norm's moments, losses and evaluations are sums over the whole batch, whoever computed which
part; what is left is the order of those sums, which shows in the last digits of a float.

Processes find each other through a file and talk over loopback alone.
"""

import multiprocessing
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tasks.data import load
from tasks.masks import Kept
from tasks.networks.build import Weights
from tasks.spec import Dataset, Network, Recipe
from tasks.train import Checkpoint, Checkpoints, Trained, train

_LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}


@dataclass(frozen=True)
class Gang:
    """The place of this process among `size` that train one run (tasks.train.Group)."""

    rank: int
    size: int

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all members; they have one dtype."""
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        dist.all_reduce(flat)
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.detach().copy_(part.view_as(tensor))

    def prepare(self, module: nn.Module) -> None:
        """Let batch norm see the whole batch."""
        for child in module.modules():
            if isinstance(child, _BatchNorm):
                child.forward = partial(_normalised, child)  # type: ignore[method-assign]


def train_on(
    devices: Sequence[str],
    network: Network,
    recipe: Recipe,
    dataset: Dataset,
    weights: Weights,
    kept: Kept | None = None,
    *,
    checkpoints: Checkpoints | None = None,
    **how: Any,
) -> Trained:
    """`tasks.train.train` on several devices, one process for each; this is the first.

    `weights`, `kept` and what the checkpoints hold may lie anywhere; what is returned lies on
    the first device.

    Raises
    ------
    RuntimeError
        When one of the others ends before its time; besides what `train` raises.
    """
    last = checkpoints.last() if checkpoints else None
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        place = _Place(tuple(devices), f"file://{Path(folder) / 'meeting'}")
        given = network, recipe, dataset, _home(weights), _home(kept) if kept else None
        others: list[Any] = []
        try:
            for rank in range(1, len(devices)):
                ready, says_ready = context.Pipe(duplex=False)
                told = rank, place, given, last, how, says_ready
                others.append(context.Process(target=_member, args=told, daemon=True))
                others[-1].start()
                wait([ready, others[-1].sentinel])
                if not ready.poll():
                    raise RuntimeError(f"a process for {devices[rank]} ended before it began")
            found = _take_part(0, place, given, _Going(last, checkpoints), how)
            for other in others:
                other.join()
        finally:
            for other in others:
                other.kill()
                other.join()
    return found


@dataclass(frozen=True)
class _Place:
    """Who trains where, and the file through which they meet."""

    devices: tuple[str, ...]
    meeting: str


_Given = tuple[Network, Recipe, Dataset, Weights, Kept | None]


def _member(
    rank: int,
    place: _Place,
    given: _Given,
    last: Checkpoint | None,
    how: dict[str, Any],
    says_ready: Connection,
) -> None:
    """What another process does: as the first, but nothing is saved or kept there."""
    torch.set_num_threads(1)
    load(given[2], place.devices[rank])
    says_ready.send(rank)
    _take_part(rank, place, given, _Going(last, None), {**how, "save": ()})


def _take_part(
    rank: int, place: _Place, given: _Given, checkpoints: Checkpoints, how: dict[str, Any]
) -> Trained:
    network, recipe, dataset, weights, kept = given
    os.environ.update(_LOOPBACK)
    device, size = torch.device(place.devices[rank]), len(place.devices)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=place.meeting, rank=rank, world_size=size)
    try:
        data, group = load(dataset, place.devices[rank]), Gang(rank, size)
        return train(
            network, recipe, data, weights, kept, checkpoints=checkpoints, group=group, **how
        )
    finally:
        dist.destroy_process_group()


@dataclass(frozen=True)
class _Going:
    """All members go on from one checkpoint; the first keeps later ones."""

    begun: Checkpoint | None
    kept_by: Checkpoints | None

    def last(self) -> Checkpoint | None:
        return self.begun

    def due(self) -> bool:
        return self.kept_by is not None and self.kept_by.due()

    def keep(self, checkpoint: Checkpoint) -> None:
        if self.kept_by is not None:
            self.kept_by.keep(checkpoint)


class _Summed(torch.autograd.Function):
    """The sum over all members, forwards of values and backwards of gradients."""

    @staticmethod
    def forward(_: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total


def _summed(value: Tensor) -> Tensor:
    total: Tensor = _Summed.apply(value)  # type: ignore[no-untyped-call]
    return total


def _normalised(norm: _BatchNorm, x: Tensor) -> Tensor:
    """Batch norm (Ioffe and Szegedy 2015) over the whole batch; as PyTorch's in evaluation."""
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


def _home(tensors: Weights) -> Weights:
    return {name: tensor.detach().cpu() for name, tensor in tensors.items()}
