"""Packs in this very process, one after another: for debugging and notebooks."""

from collections import deque

from orchestrator.executors.base import Arrival, Pack, Returned


class InlineExecutor:
    """Runs a pack when it is waited for, so that pdb and Ctrl-C work as usual."""

    slots = widest = 1

    def __init__(self) -> None:
        self._waiting: deque[Pack] = deque()

    def submit(self, pack: Pack) -> None:
        """Queue the pack."""
        self._waiting.append(pack)

    def wait(self, seconds: float) -> list[Arrival]:  # noqa: ARG002 - it never waits
        """Run the next pack."""
        from orchestrator.worker import run_pack

        if not self._waiting:
            return []
        pack = self._waiting.popleft()
        return [Returned(pack, tuple(run_pack(pack)))]

    def avoid(self, nodes: frozenset[str]) -> bool:
        """There is no other node."""
        return not nodes

    def close(self) -> None:
        """Forget what is queued."""
        self._waiting.clear()
