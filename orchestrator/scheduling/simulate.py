"""Simulate a launch under a virtual clock on any number of workers. Pure.

The state machine that drives a launch makes the decisions; only time and workers are virtual.
One core can therefore simulate a thousand GPUs before anyone pays for them.
"""

import heapq
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from orchestrator.scheduling.graph import Graph
from orchestrator.scheduling.scheduler import Ended, Event, Finished, Scheduler, Start


class Interval(NamedTuple):
    """One task on one worker, in seconds from the start of the launch."""

    key: str
    worker: int
    start: float
    end: float


@dataclass(frozen=True)
class Simulated:
    """A simulated launch on `workers`.

    Attributes
    ----------
    makespan : float
        Seconds from the start to the last result.
    work : float
        Seconds of all tasks together.
    critical_path : float
        Seconds of the longest chain of tasks that need one another.
    """

    workers: int
    makespan: float
    work: float
    critical_path: float
    intervals: tuple[Interval, ...]

    @property
    def lower_bound(self) -> float:
        """Seconds that any schedule on this number of workers needs at least."""
        return max(self.work / self.workers, self.critical_path)

    @property
    def utilisation(self) -> float:
        """Share of the workers' time spent on tasks, 0 to 1."""
        return self.work / (self.workers * self.makespan) if self.makespan else 1.0

    @property
    def beyond_bound(self) -> float:
        """Excess of the makespan over the lower bound, as a fraction of the bound."""
        return max(0.0, self.makespan / self.lower_bound - 1) if self.lower_bound else 0.0

    def busy(self, bins: int) -> list[float]:
        """Return the utilisation, 0 to 1, in each of `bins` equal parts of the makespan."""
        width = self.makespan / bins
        if not width:
            return [0.0] * bins
        spent = [0.0] * bins
        for interval in self.intervals:
            first = int(interval.start / width)
            for index in range(first, min(bins, int(interval.end / width) + 1)):
                begin, end = index * width, (index + 1) * width
                spent[index] += max(0.0, min(end, interval.end) - max(begin, interval.start))
        return [min(1.0, seconds / (width * self.workers)) for seconds in spent]


def simulate(graph: Graph, workers: int, *, overhead: float = 0.0) -> Simulated:
    """Simulate the tasks on a number of workers; each pack costs `overhead` seconds in addition."""
    scheduler = Scheduler(graph, workers)
    free = list(range(workers))
    waiting: deque[tuple[str, ...]] = deque()
    flying: list[tuple[float, int, int, tuple[str, ...]]] = []
    intervals: list[Interval] = []
    clock, started = 0.0, 0

    def obey(*events: Event) -> None:
        for command in scheduler.handle(*events):
            if isinstance(command, Start):
                waiting.append(command.keys)

    obey()
    while waiting or flying:
        while waiting and free:
            keys, worker, at = waiting.popleft(), heapq.heappop(free), clock + overhead
            for key in keys:
                began, at = at, at + graph.nodes[key].seconds
                intervals.append(Interval(key, worker, began, at))
            started += 1
            heapq.heappush(flying, (at, started, worker, keys))
        clock, _, worker, keys = heapq.heappop(flying)
        heapq.heappush(free, worker)
        obey(*(Finished(key) for key in keys), Ended(keys))
    return Simulated(
        workers=workers,
        makespan=clock,
        work=graph.work,
        critical_path=graph.critical_path,
        intervals=tuple(intervals),
    )
