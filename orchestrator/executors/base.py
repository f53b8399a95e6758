"""The protocol of executors, which run packs."""

from collections.abc import Callable, Mapping
from typing import Protocol

from orchestrator.node.pack import Arrival, Pack


class Executor(Protocol):
    """Runs packs: `slots` of them at a time, the others wait in a queue."""

    @property
    def slots(self) -> int:
        """Number of packs that run at a time; on a cluster it changes with the nodes."""
        ...

    @property
    def draining(self) -> bool:
        """Return whether the executor was asked to drain."""
        ...

    @property
    def widest(self) -> int:
        """Number of slots of a whole GPU or, without GPUs, of a whole node."""
        ...

    def submit(self, pack: Pack) -> None:
        """Queue a pack and return at once."""
        ...

    def wait(self, seconds: float) -> list[Arrival]:
        """Return packs that came back or were lost; wait at most about `seconds` for one."""
        ...

    def trainings(self) -> Mapping[str, int]:
        """Return the last reported iteration of running trainings, by key."""
        ...

    def on_report(self, look: Callable[[], None]) -> None:
        """Call `look` when a training reports while `wait` does not return."""
        ...

    def fit(self, memory: float) -> None:
        """Let packs share a GPU, if each takes this fraction of its memory; 0: unknown."""
        ...

    def avoid(self, nodes: frozenset[str]) -> bool:
        """Send no more packs to these nodes; return False if there is no other node."""
        ...

    def drain(self) -> None:
        """Ask running packs to stop at a checkpoint. Safe in a signal handler.

        Each pack still comes back from `wait`: trainings as preempted, other tasks when done.
        """
        ...

    def close(self) -> None:
        """Stop all work and release everything."""
        ...
