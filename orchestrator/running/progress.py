"""Measure the progress of a launch, and forecast the time that is left. Pure.

Work is counted in the seconds that the plan expects for each task (`cost`); a running training
counts by its iterations. The pace of work is measured during the launch, and there is no
forecast before enough of it was measured (see `Pace.left`).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from orchestrator.planning.planner import Task
from orchestrator.scheduling.graph import Graph
from tasks.values.records import Run

WATCHED_SECONDS = 10.0
"""Seconds of work to measure before the first forecast, at least."""

WATCHED_SHARE = 0.05
"""Share of all work to measure before the first forecast."""

ENOUGH_SECONDS = 120.0
"""Seconds after which any share is enough, for launches that take days."""

ALIKE = 1.25
"""Two forecasts within this factor are shown as one."""

_MOMENTS = 256


@dataclass(frozen=True)
class Snapshot:
    """The state of a launch at one moment, for the live view, plain lines and `status`.

    `running` counts tasks on workers, without those in a queue of the cluster. `steps` counts
    trained iterations, also of running trainings. Times are seconds: `planned` is the expected
    time of the whole launch; `least` to `most` is the time left, or None if not known yet.
    """

    settled: int
    total: int
    running: int
    steps: int
    all_steps: int
    elapsed: float
    planned: float
    least: float | None = None
    most: float | None = None
    failed: int = 0
    blocked: int = 0
    cancelled: int = 0
    paused: int = 0

    def numbers(self) -> dict[str, float | None]:
        """Return the fields by name, for JSON."""
        return asdict(self)

    @classmethod
    def of(cls, numbers: Mapping[str, Any]) -> "Snapshot":
        """Build a snapshot from its numbers; raise ValueError or TypeError if they are invalid."""
        known = {name.name: numbers[name.name] for name in fields(cls) if name.name in numbers}
        if not all(value is None or isinstance(value, int | float) for value in known.values()):
            raise ValueError("not numbers")
        return cls(**known)


def duration(seconds: float) -> str:
    """Return seconds as text: 0.4 s, 12 s, 3 min 05 s, 2 h 10 min, 3 d 4 h."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def sentence(now: Snapshot) -> str:
    """Describe a snapshot in one line."""
    parts = [f"{now.settled:,}/{now.total:,} tasks", f"{now.running:,} running"]
    if now.all_steps:
        parts.append(f"{now.steps:,}/{now.all_steps:,} iterations")
    parts.append(f"elapsed {duration(now.elapsed)}")
    parts.append(_left(now))
    if now.failed:
        parts.append(f"{now.failed:,} failed, {now.blocked:,} blocked")
    if now.cancelled:
        parts.append(f"{now.cancelled:,} cancelled")
    if now.paused:
        parts.append(f"{now.paused:,} paused")
    return "  ".join(part for part in parts if part)


def _left(now: Snapshot) -> str:
    if now.settled == now.total:
        return ""
    if now.least is None or now.most is None:
        return f"planned {duration(now.planned)}"
    if now.most <= ALIKE * now.least:
        return f"about {duration((now.least + now.most) / 2)} left"
    return f"{duration(now.least)} to {duration(now.most)} left"


class _Moment(NamedTuple):
    """A measurement at time `at`: work done (`paid`), and core seconds since the first work."""

    at: float
    paid: float
    busy: float


class Pace:
    """The pace of work, from measurements over time."""

    def __init__(self) -> None:
        self._moments: list[_Moment] = []
        self._now: _Moment | None = None
        self._running = 0

    def note(self, at: float, paid: float, running: int) -> None:
        """Add a measurement: work done at this time, and tasks that run from now on.

        Time before the first work is not counted, as it is the start-up of the cluster.
        """
        if self._now is None:
            if paid > 0:
                self._now = _Moment(at, paid, 0.0)
                self._moments.append(self._now)
        else:
            busy = self._now.busy + self._running * (at - self._now.at)
            self._now = _Moment(at, max(paid, self._now.paid), busy)
            self._moments.append(self._now)
            if len(self._moments) > _MOMENTS:
                del self._moments[1:-1:2]
        self._running = running

    def left(self, work: float, path: float) -> tuple[float, float] | None:
        """Return the least and most seconds left for `work`, or None before enough was measured.

        Enough is 10 s and 5 % of the work, or two minutes. `path` is the work that must be done
        one task after another. Forecasts use the pace of the whole time, of its last half and of
        its last quarter, as other users may share the machine.
        """
        if self._now is None or self._now.at == self._moments[0].at:
            return None
        first, now = self._moments[0], self._now
        watched, seen = now.at - first.at, now.paid - first.paid
        enough = watched >= WATCHED_SECONDS and seen >= WATCHED_SHARE * (now.paid + work)
        if not enough and watched < ENOUGH_SECONDS:
            return None
        starts = (
            next(moment for moment in self._moments if moment.at >= first.at + part * watched)
            for part in (0.0, 0.5, 0.75)
        )
        forecasts = [_seconds(start, now, work, path) for start in starts]
        known = [seconds for seconds in forecasts if seconds is not None]
        return (min(known), max(known)) if known else None


def _seconds(start: _Moment, now: _Moment, work: float, path: float) -> float | None:
    """Return the seconds that the work takes at the pace between two measurements."""
    paid, busy, watched = now.paid - start.paid, now.busy - start.busy, now.at - start.at
    if paid <= 0 or busy <= 0 or watched <= 0:
        return None
    return max(work * watched / paid, path * busy / paid)


class Tracker:
    """Takes snapshots of a launch, and counts its work between them."""

    def __init__(self, graph: Graph, tasks: Mapping[str, Task], at: float, slots: int) -> None:
        self._graph, self._tasks, self._began = graph, tasks, at
        self._work = graph.work
        self._steps = sum(task.steps for task in tasks.values())
        self._planned = max(self._work / slots, graph.critical_path)
        self._pace = Pace()
        self._counted = self._done_steps = 0
        self._paid = 0.0

    def look(
        self,
        done: Sequence[Task],
        given_up: Iterable[Task],
        in_flight: Collection[str],
        steps: Mapping[str, int],
        *,
        cores: int,
        ready: float,
        at: float,
        **counts: int,
    ) -> Snapshot:
        """Take a snapshot at time `at`.

        Parameters
        ----------
        done, given_up, in_flight
            Tasks with a result, tasks that get none, and keys of tasks that were sent.
        steps
            Iterations of running trainings, by key.
        cores
            Number of tasks on workers.
        ready
            Longest path of the tasks that are ready to be sent.
        counts
            Further fields of the snapshot.
        """
        for task in done[self._counted :]:
            self._paid += self._graph.nodes[task.key].seconds
            self._done_steps += task.steps
        self._counted = len(done)
        shares = {key: self._share(key, step) for key, step in steps.items() if key in in_flight}
        paid = self._paid + sum(self._graph.nodes[k].seconds * s for k, s in shares.items())
        running_steps = sum(round(self._tasks[k].steps * s) for k, s in shares.items())
        lost, lost_steps = 0.0, 0
        for task in given_up:
            lost += self._graph.nodes[task.key].seconds
            lost_steps += task.steps
        paths = (self._path(key, shares.get(key, 0.0)) for key in in_flight)
        self._pace.note(at, paid, cores)
        left = self._pace.left(self._work - lost - paid, max([ready, *paths]))
        return Snapshot(
            running=min(cores, len(in_flight)),
            steps=self._done_steps + running_steps,
            all_steps=self._steps - lost_steps,
            elapsed=at - self._began,
            planned=self._planned,
            least=left[0] if left else None,
            most=left[1] if left else None,
            **counts,
        )

    def _share(self, key: str, step: int) -> float:
        """Return the share of a training that is done at a step."""
        task = self._tasks[key]
        first = task.value.first_step if isinstance(task.value, Run) else 0
        return min(1.0, max(0.0, (step - first) / max(1, task.steps)))

    def _path(self, key: str, share: float) -> float:
        return self._graph.remaining[key] - share * self._graph.nodes[key].seconds
