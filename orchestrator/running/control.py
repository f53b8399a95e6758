"""Turn requests to a running launch into events for its scheduler. Pure.

A request names trials. It cancels or pauses only tasks that no other trial needs.
"""

from collections import Counter
from collections.abc import Mapping

from orchestrator.planning.planner import Plan, all_for, only_for
from orchestrator.scheduling.scheduler import (
    FALLEN,
    Cancelled,
    Event,
    Paused,
    Resumed,
    Retried,
    Status,
)
from tombola.store.requests import Request

Statuses = Mapping[str, Status]


class Steering:
    """The trials that are cancelled or paused so far."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._unwanted: set[int] = set()
        self._held: set[int] = set()

    def events(self, request: Request) -> list[Event]:
        """Return the events for the scheduler."""
        match request.verb:
            case "cancel":
                self._unwanted |= request.trials
                return [Cancelled(only_for(self._plan, self._unwanted))]
            case "retry":
                self._unwanted -= request.trials
                return [Retried(all_for(self._plan, request.trials))]
            case "pause":
                self._held |= request.trials
            case "resume":
                self._held -= request.trials
        held = self.held()
        return [Resumed(frozenset(self._plan.tasks) - held), Paused(held)]

    def held(self) -> frozenset[str]:
        """Return the keys of all tasks of paused trials, waiting and running ones too."""
        return only_for(self._plan, self._held) if self._held else frozenset()


def paused(held: frozenset[str], now: Statuses) -> int:
    """Count the tasks that do not start before they are resumed."""
    return sum(now[key] in (Status.PAUSED, Status.WAITING) for key in held)


def describe(request: Request, steering: Steering, before: Statuses, now: Statuses) -> str:
    """Describe the effect of a request."""
    changed = Counter(
        (before[key], status) for key, status in now.items() if status is not before[key]
    )
    if request.verb == "retry":
        freed = sum(n for (old, new), n in changed.items() if old in FALLEN and new not in FALLEN)
        return f"{freed:,} tasks are tried again"
    if request.verb == "cancel":
        count = sum(n for (_, new), n in changed.items() if new is Status.CANCELLED)
        return f"{count:,} tasks are cancelled{_running(steering.events(request)[0], now)}"
    held = steering.held()
    return f"{paused(held, now):,} tasks are paused{_running(Paused(held), now)}"


def _running(event: Event, now: Statuses) -> str:
    keys = event.keys if isinstance(event, Cancelled | Paused) else ()
    running = sum(now[key] is Status.RUNNING for key in keys)
    return f"; {running:,} running tasks finish" if running else ""
