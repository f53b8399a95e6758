"""One run on several devices, on one machine or more: each batch is divided, the run is the same.

A training is a function of its key, not of how many devices did it. So gradients, batch
norm's moments, losses and evaluations are sums over the whole batch, whoever computed which
part; what is left is the order of those sums, which shows in the last digits of a float.

Who starts the other processes, and notices when one is gone, is told by `Others`; nothing of
that is known here. They meet in a store of torch.distributed that the first one keeps, and
listen on the addresses that they are told, and on no other: nobody is asked there who they are.
"""

import os
import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import psutil
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tasks.data import load
from tasks.masks import Kept
from tasks.networks.build import Weights
from tasks.spec import Dataset, Network, Recipe
from tasks.train import Checkpoint, Checkpoints, Trained, train

if TYPE_CHECKING:  # as PyTorch documents them, and where it declares them
    from torch._C._distributed_c10d import Store, TCPStore
else:
    from torch.distributed import Store, TCPStore


class MemberLost(RuntimeError):
    """What all members add up came to nothing: one of them is gone."""


class Others(Protocol):
    """The processes that train a run together with this one; somebody else looks after them."""

    @property
    def size(self) -> int:
        """How many train together, this one included."""
        ...

    @property
    def address(self) -> str:
        """The IP address at which the others reach this process."""
        ...

    def working(self, part: Callable[..., None], *told: Any) -> AbstractContextManager[None]:
        """Within it each of the others runs part(rank, address, *told), `address` being its own.

        All have ended after it. Where it is left by a RuntimeError while one of the others came
        to grief, that is raised from it; where nobody else could end a wait for one that is
        gone, this process is ended.
        """
        ...


@dataclass(frozen=True)
class Gang:
    """The place of this process among `size` that train one run (tasks.train.Group)."""

    rank: int
    size: int

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all members; they have one dtype."""
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        _add_up(flat)
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.detach().copy_(part.view_as(tensor))

    def prepare(self, module: nn.Module) -> None:
        """Let batch norm see the whole batch."""
        for child in module.modules():
            if isinstance(child, _BatchNorm):
                child.forward = partial(_normalised, child)  # type: ignore[method-assign]


def train_on(
    others: Others,
    device: str,
    network: Network,
    recipe: Recipe,
    dataset: Dataset,
    weights: Weights,
    kept: Kept | None = None,
    *,
    checkpoints: Checkpoints | None = None,
    **how: Any,
) -> Trained:
    """`tasks.train.train`, divided among this process and others; `device` is each one's own.

    `weights`, `kept` and what the checkpoints hold may lie anywhere; what is returned lies on
    this process's device.

    Raises
    ------
    MemberLost
        When another process is gone, and `others` does not say why; besides what they say, and
        what `train` raises.
    """
    last = checkpoints.last() if checkpoints else None
    given = network, recipe, dataset, _home(weights), _home(kept) if kept else None
    store = _listening(others.address, others.size)
    place = _Place(others.address, store.port, others.size, device)
    with others.working(_member, place, given, last, how):
        return _take_part(0, others.address, store, place, given, _Going(last, checkpoints), how)


@dataclass(frozen=True)
class _Place:
    """Where members meet: the first one's address and port, how many they are, on which device."""

    host: str
    port: int
    size: int
    device: str


_Given = tuple[Network, Recipe, Dataset, Weights, Kept | None]


def _member(
    rank: int,
    address: str,
    place: _Place,
    given: _Given,
    last: Checkpoint | None,
    how: dict[str, Any],
) -> None:
    """What another process does: as the first, but nothing is saved or kept there.

    When one is lost the others merely end; whoever looks after them knows which it was.
    """
    torch.set_num_threads(1)
    try:
        store = TCPStore(place.host, place.port, place.size)
        going = _Going(last, None)
        _take_part(rank, address, store, place, given, going, {**how, "save": ()})
    except (MemberLost, dist.DistNetworkError):
        pass


def _take_part(
    rank: int,
    address: str,
    store: Store,
    place: _Place,
    given: _Given,
    checkpoints: Checkpoints,
    how: dict[str, Any],
) -> Trained:
    network, recipe, dataset, weights, kept = given
    data = load(dataset, place.device)
    _join(rank, address, store, place)
    try:
        group = Gang(rank, place.size)
        return train(
            network, recipe, data, weights, kept, checkpoints=checkpoints, group=group, **how
        )
    finally:
        dist.destroy_process_group()


def _listening(address: str, size: int) -> TCPStore:
    """A store for members to meet in; one made without a socket would listen on all addresses."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.create_server((address, 0), family=family)
    port = listening.getsockname()[1]
    return TCPStore(
        address,
        port,
        size,
        is_master=True,
        wait_for_workers=False,
        master_listen_fd=listening.detach(),
    )


def _join(rank: int, address: str, store: Store, place: _Place) -> None:
    """Connect all members with each other, by the interface that has this one's address."""
    name = interface(address)
    os.environ.update(GLOO_SOCKET_IFNAME=name, NCCL_SOCKET_IFNAME=f"={name}")
    backend = "nccl" if torch.device(place.device).type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend, store=store, rank=rank, world_size=place.size)
    except RuntimeError as error:
        raise MemberLost(f"a gang of {place.size} never met: {error}") from error


def interface(address: str) -> str:
    """The network interface that has an IP address; a host's name may lead elsewhere.

    Raises
    ------
    ValueError
        When none has it.
    """
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address.partition("%")[0] == address for one in addresses):
            return str(name)
    raise ValueError(
        f"no network interface of {socket.gethostname()} has the address {address}, by which Ray "
        "knows it: start its Ray with --node-ip-address"
    )


def _add_up(tensor: Tensor) -> None:
    try:
        dist.all_reduce(tensor)
    except RuntimeError as error:
        raise MemberLost(f"a member of the gang is gone: {error}") from error


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

    def beat(self) -> None:
        if self.kept_by is not None:
            self.kept_by.beat()


class _Summed(torch.autograd.Function):
    """The sum over all members, forwards of values and backwards of gradients."""

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
