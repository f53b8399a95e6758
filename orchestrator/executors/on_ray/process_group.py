"""Process groups: several processes, on one node or several, that train one run.

The training itself is in `tasks.training.distributed`. Ray reserves a placement group with a
bundle for each process. The pack runs in the first bundle as rank 0, and starts the other ranks
as Ray tasks for each of its trainings. No process is left behind: Ray ends the tasks that a
worker has started when the worker dies, and all tasks of a placement group when the driver
removes the group or dies.
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

from orchestrator.executors.gpu_share import Share
from orchestrator.executors.on_ray.connect import NODE_ID
from orchestrator.node.preemption import Notice, heeding
from orchestrator.scheduling.failures import Failure, WorkerGone

SETTLE_SECONDS = 30.0
"""Seconds that Ray may take to learn why a process was lost."""

LEAVE_SECONDS = 5.0
"""Seconds that the other processes get to end by themselves after rank 0."""


@dataclass(frozen=True)
class GroupReservation:
    """The placement group that Ray reserves for the trainings of one pack."""

    placement: Any
    share: Share

    @classmethod
    def reserve(cls, share: Share, avoided: frozenset[str]) -> "GroupReservation":
        """Reserve a placement group, on one node or as few as possible, not on nodes to avoid.

        Tasks that are sent to it wait until the resources are free.
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
        """Return the options that run a Ray task in the bundle of a rank."""
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        return {
            "num_cpus": self.share.bundle.get("CPU", 0.0),
            "num_gpus": 1.0,
            "scheduling_strategy": PlacementGroupSchedulingStrategy(self.placement, rank),
        }

    def nodes(self) -> frozenset[str]:
        """Return the nodes of its processes."""
        from ray.util import placement_group_table

        return frozenset(placement_group_table(self.placement)["bundles_to_node_id"].values())

    def has_lost(self, nodes: frozenset[str]) -> bool:
        """Return whether one of these nodes is dead. Ray replaces it later."""
        import ray

        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]
        return not nodes <= alive

    def release(self) -> None:
        """Remove the placement group; tasks that still run there are ended."""
        from ray.util import remove_placement_group

        remove_placement_group(self.placement)


class Members:
    """The other ranks, as Ray tasks that this process starts (`distributed.Others`)."""

    def __init__(self, group: GroupReservation) -> None:
        self._group, self.nodes = group, group.nodes()
        self.size = group.share.members
        self.address = own_address(group.share)

    @contextmanager
    def working(self, part: Callable[..., None], *arguments: Any) -> Iterator[Callable[[], bool]]:
        """Run `part` on the other ranks; see tasks.training.distributed.Others."""
        import ray

        join, work = ray.remote(max_retries=0)(join_group), ray.put((part, arguments))
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
            for reference in left:
                ray.cancel(reference, force=True)

    def _watch(self, begun: dict[Any, int], fallen: threading.Event, over: threading.Event) -> None:
        """Exit if another process is lost and this one would block for ever.

        Gloo reports a closed connection and NCCL does not. Neither detects a silent node.
        """
        gone = self._first_to_fail(begun, float("inf"), over)
        if gone is None:
            return
        fallen.set()
        if not over.wait(SETTLE_SECONDS):
            print(f"{gone}; this worker waited for it, and exits", file=sys.stderr, flush=True)  # noqa: T201
            os._exit(1)

    def _first_to_fail(
        self, begun: dict[Any, int], until: float, over: threading.Event | None = None
    ) -> Exception | None:
        """Wait for the first process that fails and return its error; None if none fails in time.

        Ray reports a silent node early, but the loss of its tasks only after minutes.
        """
        import ray

        left = list(begun)
        while left and time.monotonic() < until and not (over and over.is_set()):
            ended, left = ray.wait(left, num_returns=1, timeout=1.0)
            for reference in ended:
                if error := self._failure(reference, begun[reference]):
                    return error
            if not ended and self._group.has_lost(self.nodes):
                message = f"a node of a process group of {self.size} is gone"
                return WorkerGone(message, Failure.NODE_LOST)
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
            reason = str(error).strip().splitlines()[0]
            message = f"rank {rank} of a process group of {self.size} is gone: {reason}"
            return WorkerGone(message, why_gone(error))
        return None


def why_gone(error: Exception) -> Failure:
    """Return why a worker was lost, from Ray's error."""
    from ray import exceptions

    match error:
        case exceptions.OutOfMemoryError():
            return Failure.OUT_OF_MEMORY
        case exceptions.NodeDiedError():
            return Failure.NODE_LOST
        case _:
            return Failure.WORKER_LOST


def join_group(rank: int, share: Share, work: tuple[Callable[..., None], tuple[Any, ...]]) -> None:
    """Run a rank of a process group. When its node is to be drained, rank 0 stops the run."""
    part, arguments = work
    with heeding(Notice(), {signal.SIGTERM: "SIGTERM", signal.SIGINT: "SIGINT"}):
        part(rank, own_address(share), *arguments)


def own_address(share: Share) -> str:
    """Return the address on which a process listens: loopback, unless across nodes.

    It is the same for all groups of a launch, as a process keeps the first interface of NCCL.
    """
    import ray

    return str(ray.util.get_node_ip_address()) if share.across_nodes else "127.0.0.1"  # type: ignore[no-untyped-call]
