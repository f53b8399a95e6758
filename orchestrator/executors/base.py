"""The protocol of an executor: where packs run."""

from collections.abc import Callable, Mapping
from typing import Protocol

from orchestrator.node.pack import Arrival, Pack


class Executor(Protocol):
    """Where packs run. `slots` of them run side by side; the rest wait their turn."""

    @property
    def slots(self) -> int:
        """Workers side by side; on a cluster it changes as nodes come and go."""
        ...

    @property
    def draining(self) -> bool:
        """Whether an end was asked for."""
        ...

    @property
    def widest(self) -> int:
        """How many slots a whole device (without any: a whole node) has."""
        ...

    def submit(self, pack: Pack) -> None:
        """Take a pack; returns at once."""
        ...

    def wait(self, seconds: float) -> list[Arrival]:
        """What has arrived, after at most about `seconds` when nothing has."""
        ...

    def trainings(self) -> Mapping[str, int]:
        """At which iteration the trainings are that run, by key, as far as they told."""
        ...

    def on_report(self, look: Callable[[], None]) -> None:
        """Have it called where a training tells of itself while `wait` does not return."""
        ...

    def fit(self, memory: float) -> None:
        """Let packs that each take this fraction of a GPU's memory share one; 0: not known."""
        ...

    def avoid(self, nodes: frozenset[str]) -> bool:
        """Send packs to other nodes than these from now on; False where there is no other."""
        ...

    def drain(self) -> None:
        """Ask what runs to stop where it can go on from. Safe in a signal's handler.

        Each pack still comes back from `wait`: trainings as preempted, others when done.
        """
        ...

    def close(self) -> None:
        """Stop all work and release everything."""
        ...
