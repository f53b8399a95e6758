"""One run on several devices, on one machine or more: each batch is divided, the run is the same.

A training is a function of its key, not of how many devices did it. So gradients, batch
norm's moments, losses and evaluations are sums over the whole batch, whoever computed which
part (all_reduce.py); what is left is the order of those sums, which shows in the last digits
of a float.

Who starts the other processes, and notices when one is gone, is told by `Others`; nothing of
that is known here. They meet in a store of torch.distributed that the first one keeps, and
listen on the addresses that they are told, and on no other: nobody is asked there who they are.
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
from tasks.training.all_reduce import Gang, MemberLost
from tasks.training.train import Checkpoint, Checkpoints, Trained, train
from tasks.values.training import Dataset, Network, Recipe

if TYPE_CHECKING:  # as PyTorch documents them, and where it declares them
    from torch._C._distributed_c10d import Store, TCPStore
else:
    from torch.distributed import Store, TCPStore


CONNECT_SECONDS = 60.0
"""What a member gets to reach the first one, which listens before any other is started."""

_READY, _FAILED = "ready", "failed"
_LOOK_SECONDS = 0.02


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

    def working(
        self, part: Callable[..., None], *told: Any
    ) -> AbstractContextManager[Callable[[], bool]]:
        """Within it each of the others runs part(rank, address, *told), `address` being its own.

        It gives what tells whether one of them came to grief. All have ended after it. Where it
        is left by a RuntimeError while one came to grief, that is raised from it; where nobody
        else could end a wait for one that is gone, this process is ended.
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
    **how: Any,
) -> Trained:
    """`train.train`, divided among this process and others; `device` is each one's own.

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
    load(dataset, device)  # first, so that from here on this process waits or trains
    store = _listening(others.address, others.size)
    place = _Place(others.address, store.port, others.size, device)
    going = _Going(last, checkpoints)
    with others.working(_member, place, given, last, how) as fallen:
        return _take_part(0, others.address, store, place, given, going, how, fallen)


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

    Raises
    ------
    RuntimeError
        When this one cannot reach the first; besides what it comes to otherwise.
    """
    process.prepare()
    try:
        patience = timedelta(seconds=CONNECT_SECONDS)
        store = TCPStore(place.host, place.port, place.size, timeout=patience)
    except dist.DistError as error:
        raise RuntimeError(
            f"{socket.gethostname()} cannot reach the first of a gang at {place.host}:"
            f"{place.port}; let TCP pass between the nodes on all unprivileged ports"
        ) from error
    with suppress(MemberLost, dist.DistNetworkError):
        going = _Going(last, None)
        _take_part(rank, address, store, place, given, going, {**how, "save": ()})


def _take_part(
    rank: int,
    address: str,
    store: Store,
    place: _Place,
    given: _Given,
    checkpoints: Checkpoints,
    how: dict[str, Any],
    fallen: Callable[[], bool] = lambda: False,
) -> Trained:
    network, recipe, dataset, weights, kept = given
    with _telling(store, rank):
        data = load(dataset, place.device)
        name = interface(address)
    os.environ.update(GLOO_SOCKET_IFNAME=name, NCCL_SOCKET_IFNAME=f"={name}")
    _meet(rank, store, place, fallen)
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


@contextmanager
def _telling(store: Store, rank: int) -> Iterator[None]:
    """Tell all whether this member is ready: they would wait for one that could not begin."""
    said = _FAILED
    try:
        yield
        said = _READY
    finally:
        store.set(f"member {rank}", said)


def _meet(rank: int, store: Store, place: _Place, fallen: Callable[[], bool]) -> None:
    """Connect all members with each other once they are ready."""
    members = [f"member {rank}" for rank in range(place.size)]
    while not store.check(members):
        if fallen():
            raise MemberLost("a member of the gang could not begin")
        time.sleep(_LOOK_SECONDS)
    if any(store.get(member).decode() != _READY for member in members):
        raise MemberLost("a member of the gang could not begin")
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


def _home(tensors: Weights) -> Weights:
    return {name: tensor.detach().cpu() for name, tensor in tensors.items()}
