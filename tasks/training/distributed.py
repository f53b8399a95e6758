"""Train one run on several devices, on one machine or more: each batch is divided among them.

The result of a training depends on its key, and not on the number of devices. All processes
together therefore compute sums over the whole batch: of gradients, of batch norm's moments, of
losses and of evaluations (all_reduce.py). Only the order of these additions differs, which
shows in the last digits of a float.

The caller starts the other processes and notices when one of them dies (`Others`). All of
them connect through a key-value store of torch.distributed, which rank 0 opens. torch.distributed
does not authenticate its peers, so each process listens on the address it is given and on no
other.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

import psutil
import torch
import torch.distributed as dist

from tasks import process
from tasks.data.batches import load
from tasks.masks import Kept
from tasks.networks.build import Weights
from tasks.training.all_reduce import MemberLost, ProcessGroup
from tasks.training.train import Checkpoint, Checkpoints, Trained, train
from tasks.values.training import Dataset, Network, Recipe

if TYPE_CHECKING:  # where PyTorch declares them; below, where it documents them
    from torch._C._distributed_c10d import Store, TCPStore
else:
    from torch.distributed import Store, TCPStore


CONNECT_SECONDS = 60.0
"""Time limit for a process to reach rank 0, which listens before any other is started."""

_READY, _FAILED = "ready", "failed"
_POLL_SECONDS = 0.02


class Others(Protocol):
    """The other processes of the group that trains a run together with this one (rank 0)."""

    @property
    def size(self) -> int:
        """Number of processes in the group, this one included."""
        ...

    @property
    def address(self) -> str:
        """IP address at which the others reach this process."""
        ...

    def working(
        self, part: Callable[..., None], *arguments: Any
    ) -> AbstractContextManager[Callable[[], bool]]:
        """Run `part(rank, address, *arguments)` on each other process within the context.

        `address` is the IP address of the process that `part` runs on. The context yields a
        function that returns True once another process has failed. All of them have ended
        when the context ends. If it is left by a RuntimeError after another process failed,
        the failure of that process is raised from it. If a process is lost and the others
        would block for ever, this process exits.
        """
        ...


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
    **options: Any,
) -> Trained:
    """Divide `train.train` among this process and others, each on its own `device`.

    `weights`, `kept` and the tensors of checkpoints may lie on any device. The result lies on
    the device of this process. `options` are further arguments of `train.train`.

    Raises
    ------
    MemberLost
        When another process is gone and `others` does not say why. The failures that `others`
        reports and the errors of `train` are raised as they are.
    """
    last = checkpoints.last() if checkpoints else None
    run = network, recipe, dataset, _on_cpu(weights), _on_cpu(kept) if kept else None
    load(dataset, device)  # first: from here on this process only waits or trains
    store = _open_store(others.address, others.size)
    meeting = _Meeting(others.address, store.port, others.size, device)
    shared = _SharedCheckpoints(last, checkpoints)
    with others.working(_member, meeting, run, last, options) as lost:
        return _take_part(0, others.address, store, meeting, run, shared, options, lost)


@dataclass(frozen=True)
class _Meeting:
    """Address and port of rank 0, number of processes, and the device of each."""

    host: str
    port: int
    size: int
    device: str


_RunArguments = tuple[Network, Recipe, Dataset, Weights, Kept | None]


def _member(
    rank: int,
    address: str,
    meeting: _Meeting,
    run: _RunArguments,
    last: Checkpoint | None,
    options: dict[str, Any],
) -> None:
    """Take part as a rank above 0, which stores neither states nor checkpoints.

    When another process is lost, this one ends without an error: the caller of `train_on`
    knows which process was lost.

    Raises
    ------
    RuntimeError
        When this process cannot reach rank 0. Other errors of training are raised as they are.
    """
    process.prepare()
    try:
        timeout = timedelta(seconds=CONNECT_SECONDS)
        store = TCPStore(meeting.host, meeting.port, meeting.size, timeout=timeout)
    except dist.DistError as error:
        raise RuntimeError(
            f"{socket.gethostname()} cannot reach the first process of its group at "
            f"{meeting.host}:{meeting.port}; let TCP pass between the nodes on all "
            "unprivileged ports"
        ) from error
    with suppress(MemberLost, dist.DistNetworkError):
        shared = _SharedCheckpoints(last, None)
        _take_part(rank, address, store, meeting, run, shared, {**options, "save": ()})


def _take_part(
    rank: int,
    address: str,
    store: Store,
    meeting: _Meeting,
    run: _RunArguments,
    checkpoints: Checkpoints,
    options: dict[str, Any],
    lost: Callable[[], bool] = lambda: False,
) -> Trained:
    network, recipe, dataset, weights, kept = run
    with _reporting_readiness(store, rank):
        data = load(dataset, meeting.device)
        name = interface(address)
    os.environ.update(GLOO_SOCKET_IFNAME=name, NCCL_SOCKET_IFNAME=f"={name}")
    _connect(rank, store, meeting, lost)
    try:
        group = ProcessGroup(rank, meeting.size)
        return train(
            network, recipe, data, weights, kept, checkpoints=checkpoints, group=group, **options
        )
    finally:
        dist.destroy_process_group()


def _open_store(address: str, size: int) -> TCPStore:
    """Open a key-value store on one address.

    TCPStore listens on all addresses unless it is given a socket.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, 0), family=family)
    port = listener.getsockname()[1]
    return TCPStore(
        address,
        port,
        size,
        is_master=True,
        wait_for_workers=False,
        master_listen_fd=listener.detach(),
    )


@contextmanager
def _reporting_readiness(store: Store, rank: int) -> Iterator[None]:
    """Tell the other processes whether this one could start; without it they would wait."""
    status = _FAILED
    try:
        yield
        status = _READY
    finally:
        store.set(f"member {rank}", status)


def _connect(rank: int, store: Store, meeting: _Meeting, lost: Callable[[], bool]) -> None:
    """Connect all processes with each other once all are ready."""
    members = [f"member {rank}" for rank in range(meeting.size)]
    while not store.check(members):
        if lost():
            raise MemberLost("a member of the process group could not start")
        time.sleep(_POLL_SECONDS)
    if any(store.get(member).decode() != _READY for member in members):
        raise MemberLost("a member of the process group could not start")
    backend = "nccl" if torch.device(meeting.device).type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend, store=store, rank=rank, world_size=meeting.size)
    except RuntimeError as error:
        raise MemberLost(f"a process group of {meeting.size} could not connect: {error}") from error


def interface(address: str) -> str:
    """Return the name of the network interface that has an IP address.

    The name of a host may resolve to another interface.

    Raises
    ------
    ValueError
        When no interface has the address.
    """
    for name, addresses in psutil.net_if_addrs().items():
        if any(entry.address.partition("%")[0] == address for entry in addresses):
            return str(name)
    raise ValueError(
        f"no network interface of {socket.gethostname()} has the address {address}, by which Ray "
        "knows it: start its Ray with --node-ip-address"
    )


@dataclass(frozen=True)
class _SharedCheckpoints:
    """Checkpoints of a group: all continue from one; only rank 0 stores later ones."""

    begun: Checkpoint | None
    kept_by: Checkpoints | None

    def last(self) -> Checkpoint | None:
        return self.begun

    def due(self) -> bool:
        return self.kept_by is not None and self.kept_by.due()

    def keep(self, checkpoint: Checkpoint) -> None:
        if self.kept_by is not None:
            self.kept_by.keep(checkpoint)


def _on_cpu(tensors: Weights) -> Weights:
    return {name: tensor.detach().cpu() for name, tensor in tensors.items()}
