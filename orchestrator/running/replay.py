"""Simulate the tasks of a recorded launch, to see what time the real launch lost."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from orchestrator.scheduling.graph import Graph, Node
from orchestrator.scheduling.simulate import Simulated, simulate
from tombola.errors import TombolaError

RECORDED = """
SELECT key, value, epoch(started_at) AS began, seconds FROM tasks
WHERE launch = ? ORDER BY began, key
"""


@dataclass(frozen=True)
class Replay:
    """A recorded launch and its simulation on the same number of workers; times in seconds."""

    tasks: int
    makespan: float
    simulated: Simulated

    @property
    def utilisation(self) -> float:
        """Share of the workers' time spent on tasks, from the first start to the last end."""
        return self.simulated.work / (self.simulated.workers * self.makespan)


def replay(rows: Iterable[tuple[str, str, float, float]], overhead: float = 0.0) -> Replay:
    """Simulate a launch from its rows: key, canonical value, start and duration in seconds.

    The number of workers is the most that were busy at once; each task takes its recorded time.
    A task needs the tasks of the launch that its value names.

    Raises
    ------
    TombolaError
        When there are no rows.
    """
    recorded = list(rows)
    if not recorded:
        raise TombolaError("that launch finished no task; `tombola sql` lists launches in `tasks`")
    keys = {key for key, *_ in recorded}
    nodes = [
        Node(key, seconds, tuple(sorted(keys.intersection(_texts(json.loads(value))) - {key})))
        for key, value, _, seconds in recorded
    ]
    spans = [(began, began + seconds) for _, _, began, seconds in recorded]
    makespan = max(end for _, end in spans) - min(began for began, _ in spans)
    simulated = simulate(Graph(nodes), _at_once(spans), overhead=overhead)
    return Replay(len(nodes), makespan, simulated)


def _at_once(spans: list[tuple[float, float]]) -> int:
    """Return the largest number of intervals that overlap."""
    changes = sorted([(end, -1) for _, end in spans] + [(began, 1) for began, _ in spans])
    running = most = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    return most


def _texts(value: Any) -> Iterator[str]:
    """Yield every string in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
