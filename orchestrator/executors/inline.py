"""Packs in this very process, one after another: for debugging and notebooks."""

from collections import deque
from collections.abc import Callable, Mapping

from orchestrator.executors.base import Arrival, Pack, Returned, Seldom
from orchestrator.node.preemption import Notice


class InlineExecutor:
    """Runs a pack when it is waited for, so that pdb and Ctrl-C work as usual."""

    slots = widest = 1

    def __init__(self) -> None:
        self._waiting: deque[Pack] = deque()
        self._notice = Notice()
        self._trainings: dict[str, int] = {}
        self._look: Callable[[], None] = lambda: None

    def submit(self, pack: Pack) -> None:
        """Queue the pack."""
        self._waiting.append(pack)

    def wait(self, seconds: float) -> list[Arrival]:  # noqa: ARG002 - it never waits
        """Run the next pack."""
        from orchestrator.node.worker import run_pack

        if not self._waiting:
            return []
        pack = self._waiting.popleft()
        self._trainings.clear()
        report = Seldom(self._reported)
        return [Returned(pack, tuple(run_pack(pack, notice=self._notice, report=report)))]

    def _reported(self, key: str, step: int) -> None:
        self._trainings = {key: step}
        self._look()

    def trainings(self) -> Mapping[str, int]:
        """The one that runs."""
        return self._trainings

    def on_report(self, look: Callable[[], None]) -> None:
        """Call it in the middle of a training, which runs in this very process."""
        self._look = look

    @property
    def draining(self) -> bool:
        """Whether an end was asked for."""
        return self._notice.reason is not None

    def drain(self) -> None:
        """Stop at the next iteration; what is queued comes back undone."""
        self._notice.give("the launch is stopping")

    def fit(self, memory: float) -> None:
        """One pack at a time shares with none."""

    def avoid(self, nodes: frozenset[str]) -> bool:
        """There is no other node."""
        return not nodes

    def close(self) -> None:
        """Forget what is queued."""
        self._waiting.clear()
