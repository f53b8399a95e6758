"""How far a launch is, and how long it may still take. Pure: what happened in, numbers out.

Work is counted in the seconds that the plan expects of each task (`cost`), a running training's
by the iterations that it has done. How fast such seconds pass is observed; nothing is
foretold before enough was seen (see `Pace.left`).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from orchestrator.planning.planner import Task
from orchestrator.scheduling.graph import Graph
from tasks.values.records import Run

WATCHED_SECONDS = 10.0
"""How long the work must have been watched before anything is said of its end, at the least."""

WATCHED_SHARE = 0.05
"""How much of all work must have been seen by then."""

ENOUGH_SECONDS = 120.0
"""After so long any share will do: of a launch of days it is what its first minutes show."""

ALIKE = 1.25
"""Two forecasts that differ by no more than this factor are told as one."""

_MOMENTS = 256


@dataclass(frozen=True)
class Snapshot:
    """A launch at a moment: what the live view, its plain lines and `status` say of it.

    `running` are tasks that a worker is at; what waits in a queue of the cluster is not. `steps`
    are iterations trained, those of running trainings included. Times are seconds; `planned` is
    what the plan expects in all, and `least` to `most` what is left, where that can be told.
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
        """The fields by name, for JSON."""
        return asdict(self)

    @classmethod
    def of(cls, numbers: Mapping[str, Any]) -> "Snapshot":
        """The snapshot that has these numbers; a ValueError or TypeError where it has others."""
        known = {name.name: numbers[name.name] for name in fields(cls) if name.name in numbers}
        if not all(value is None or isinstance(value, int | float) for value in known.values()):
            raise ValueError("no numbers")
        return cls(**known)


def duration(seconds: float) -> str:
    """Seconds in words: 0.4 s, 12 s, 3 min 05 s, 2 h 10 min, 3 d 4 h."""
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
    """A snapshot in a line."""
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
    """At a time: work done so far, and the core seconds that went by since work began."""

    at: float
    paid: float
    busy: float


class Pace:
    """How fast work was done, from what was noted of it."""

    def __init__(self) -> None:
        self._moments: list[_Moment] = []
        self._now: _Moment | None = None
        self._running = 0

    def note(self, at: float, paid: float, running: int) -> None:
        """At this time so much work was done, and so many tasks run from now on.

        Nothing is counted before the first work: what a cluster takes to start is no pace.
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
        """Least and most seconds that are left of so much work; None before that means something.

        It does once 10 s of work and 5 % of it were seen, or two minutes. `path` is the work
        that must be done one after another. There is a forecast by the pace since the beginning
        and by that of the last half and quarter of the time: a machine may be shared.
        """
        if self._now is None or self._now.at == self._moments[0].at:
            return None
        first, now = self._moments[0], self._now
        watched, seen = now.at - first.at, now.paid - first.paid
        enough = watched >= WATCHED_SECONDS and seen >= WATCHED_SHARE * (now.paid + work)
        if not enough and watched < ENOUGH_SECONDS:
            return None
        starts = (
            next(one for one in self._moments if one.at >= first.at + part * watched)
            for part in (0.0, 0.5, 0.75)
        )
        told = [_seconds(start, now, work, path) for start in starts]
        known = [seconds for seconds in told if seconds is not None]
        return (min(known), max(known)) if known else None


def _seconds(start: _Moment, now: _Moment, work: float, path: float) -> float | None:
    """How long the work takes at the pace between two moments."""
    paid, busy, watched = now.paid - start.paid, now.busy - start.busy, now.at - start.at
    if paid <= 0 or busy <= 0 or watched <= 0:
        return None
    return max(work * watched / paid, path * busy / paid)


class Tracker:
    """Snapshots of a launch of these tasks, which keep count from one to the next."""

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
        """The launch at a time.

        Parameters
        ----------
        done, given_up, in_flight
            Tasks with a result, those that get none, and keys of those that were sent.
        steps
            Where running trainings are, by key.
        cores
            How many tasks are being worked at.
        ready
            The longest path of what could be sent.
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
        """How much of a training is done at a step."""
        task = self._tasks[key]
        first = task.value.first_step if isinstance(task.value, Run) else 0
        return min(1.0, max(0.0, (step - first) / max(1, task.steps)))

    def _path(self, key: str, share: float) -> float:
        return self._graph.remaining[key] - share * self._graph.nodes[key].seconds
