"""Gangs: several processes, of one node or several, that train one run.

The training itself is in `tasks.training.distributed`.

Ray keeps a place for them, a placement group with a bundle for each. The pack runs in the
first bundle, and starts the other members, as tasks of its own, for each of its trainings.
Nobody is left behind: Ray ends what a worker has started when that worker dies, and what runs
in a group when the driver takes the group away, or dies.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from orchestrator.executors.on_ray.connect import NODE_ID
from orchestrator.executors.resources import Share
from orchestrator.node.preemption import Notice, heeding
from orchestrator.scheduling.failures import Failure, WorkerGone

SETTLE_SECONDS = 30.0
"""How long Ray may take to learn what became of a member."""

LEAVE_SECONDS = 5.0
"""What members get to end by themselves once the first one has."""


@dataclass(frozen=True)
class GroupReservation:
    """The place that Ray keeps for the members of one pack's trainings."""

    placement: Any
    share: Share

    @classmethod
    def reserve(cls, share: Share, avoided: frozenset[str]) -> "GroupReservation":
        """Ask for a place, on one node or on as few as may be; those avoided are left out.

        What is sent there waits until there is one.
        """
        from ray.util import placement_group

        others = {NODE_ID: f"!in({','.join(sorted(avoided))})"}
        placement = placement_group(
            [share.bundle] * share.members,
            strategy="PACK" if share.across_nodes else "STRICT_PACK",
            bundle_label_selector=[others] * share.members if avoided else None,
        )
        return cls(placement, share)

    def options(self, rank: int) -> dict[str, Any]:
        """What makes a Ray task run in a member's bundle."""
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        return {
            "num_cpus": self.share.bundle.get("CPU", 0.0),
            "num_gpus": 1.0,
            "scheduling_strategy": PlacementGroupSchedulingStrategy(self.placement, rank),
        }

    def nodes(self) -> frozenset[str]:
        """The nodes that its members are on."""
        from ray.util import placement_group_table

        return frozenset(placement_group_table(self.placement)["bundles_to_node_id"].values())

    def has_lost(self, nodes: frozenset[str]) -> bool:
        """Whether one of these nodes of its members is dead; Ray finds them another in time."""
        import ray

        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]
        return not nodes <= alive

    def release(self) -> None:
        """Give the place back; whoever still runs there is ended."""
        from ray.util import remove_placement_group

        remove_placement_group(self.placement)


class Members:
    """The other members, as Ray tasks that this process starts (`distributed.Others`)."""

    def __init__(self, group: GroupReservation) -> None:
        self._group, self.nodes = group, group.nodes()
        self.size = group.share.members
        self.address = own_address(group.share)

    @contextmanager
    def working(self, part: Callable[..., None], *told: Any) -> Iterator[Callable[[], bool]]:
        """See tasks.training.distributed.Others."""
        import ray

        join, work = ray.remote(max_retries=0)(join_group), ray.put((part, told))
        begun = {
            join.options(**self._group.options(rank)).remote(rank, self._group.share, work): rank
            for rank in range(1, self.size)
        }
        fallen, over = threading.Event(), threading.Event()
        threading.Thread(target=self._watch, args=(begun, fallen, over), daemon=True).start()
        try:
            yield fallen.is_set
        except RuntimeError as error:
            over.set()
            gone = self._first_to_fail(begun, time.monotonic() + SETTLE_SECONDS)
            if gone is not None:
                raise gone from error
            raise
        finally:
            over.set()
            _, left = ray.wait(list(begun), num_returns=len(begun), timeout=LEAVE_SECONDS)
            for one in left:
                ray.cancel(one, force=True)

    def _watch(self, begun: dict[Any, int], fallen: threading.Event, over: threading.Event) -> None:
        """End this process where one is lost and the others would wait for it without end.

        Gloo notices a connection that was closed, and NCCL does not; neither notices that a
        node is silent.
        """
        gone = self._first_to_fail(begun, float("inf"), over)
        if gone is None:
            return
        fallen.set()
        if not over.wait(SETTLE_SECONDS):
            print(f"{gone}; this worker waited for it, and ends", file=sys.stderr, flush=True)  # noqa: T201
            os._exit(1)

    def _first_to_fail(
        self, begun: dict[Any, int], until: float, over: threading.Event | None = None
    ) -> Exception | None:
        """What the first member that failed came to; None where none did, or not in time.

        Ray tells that a node is silent, but for minutes not that a task there is lost.
        """
        import ray

        left = list(begun)
        while left and time.monotonic() < until and not (over and over.is_set()):
            ended, left = ray.wait(left, num_returns=1, timeout=1.0)
            for one in ended:
                if error := self._failure(one, begun[one]):
                    return error
            if not ended and self._group.has_lost(self.nodes):
                said = f"a node of a process group of {self.size} is gone"
                return WorkerGone(said, Failure.NODE_LOST)
        return None

    def _failure(self, reference: Any, rank: int) -> Exception | None:
        import ray

        try:
            ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause if isinstance(error.cause, Exception) else error
            cause.add_note(f"It was rank {rank} of a process group of {self.size}:\n{error}")
            return cause
        except ray.exceptions.RayError as error:
            said = str(error).strip().splitlines()[0]
            message = f"rank {rank} of a process group of {self.size} is gone: {said}"
            return WorkerGone(message, why_gone(error))
        return None


def why_gone(error: Exception) -> Failure:
    """What befell a worker, by Ray's error."""
    from ray import exceptions

    match error:
        case exceptions.OutOfMemoryError():
            return Failure.OUT_OF_MEMORY
        case exceptions.NodeDiedError():
            return Failure.NODE_LOST
        case _:
            return Failure.WORKER_LOST


def join_group(rank: int, share: Share, work: tuple[Callable[..., None], tuple[Any, ...]]) -> None:
    """Be a member. When its node is to be drained, the first member is who stops."""
    part, told = work
    with heeding(Notice(), {signal.SIGTERM: "SIGTERM", signal.SIGINT: "SIGINT"}):
        part(rank, own_address(share), *told)


def own_address(share: Share) -> str:
    """Where a member listens: on loopback, unless a launch's gangs may go across nodes.

    Then it is so for all of them: a process keeps the interface that NCCL took at first.
    """
    import ray

    return str(ray.util.get_node_ip_address()) if share.across_nodes else "127.0.0.1"  # type: ignore[no-untyped-call]
