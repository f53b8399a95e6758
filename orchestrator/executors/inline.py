"""Run packs in this process, one after another, for debugging and notebooks."""

from collections import deque
from collections.abc import Callable, Mapping

from orchestrator.node.pack import Arrival, Pack, Returned, Seldom
from orchestrator.node.preemption import Notice


class InlineExecutor:
    """Runs the next pack within `wait`, so that pdb and Ctrl-C work as usual."""

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
        """Return the iteration of the running training, by key."""
        return self._trainings

    def on_report(self, look: Callable[[], None]) -> None:
        """Call `look` during a training, which runs in this process."""
        self._look = look

    @property
    def draining(self) -> bool:
        """Return whether the executor was asked to drain."""
        return self._notice.reason is not None

    def drain(self) -> None:
        """Stop at the next iteration; queued packs come back without outcomes."""
        self._notice.give("the launch is stopping")

    def fit(self, memory: float) -> None:
        """Do nothing: one pack at a time shares no GPU."""

    def avoid(self, nodes: frozenset[str]) -> bool:
        """Return whether `nodes` is empty, as there is no other node."""
        return not nodes

    def close(self) -> None:
        """Drop all queued packs."""
        self._waiting.clear()
