"""What people ask of a launch that runs, as events for its scheduler. Pure.

A trial's tasks are those that it needs; where others need them too, they are not cancelled or
held back for it.
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
    """The trials that nobody wants any more, and those that are held back, so far."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._unwanted: set[int] = set()
        self._held: set[int] = set()

    def events(self, request: Request) -> list[Event]:
        """What the scheduler is to do about a request."""
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
        """Keys of the tasks that are held back, those included that wait or run."""
        return only_for(self._plan, self._held) if self._held else frozenset()


def paused(held: frozenset[str], now: Statuses) -> int:
    """Tasks that will not start before they are resumed."""
    return sum(now[key] in (Status.PAUSED, Status.WAITING) for key in held)


def told(request: Request, steering: Steering, before: Statuses, now: Statuses) -> str:
    """What a request came to, in words."""
    changed = Counter((before[key], one) for key, one in now.items() if one is not before[key])
    if request.verb == "retry":
        freed = sum(n for (was, one), n in changed.items() if was in FALLEN and one not in FALLEN)
        return f"{freed:,} tasks are tried again"
    if request.verb == "cancel":
        count = sum(n for (_, one), n in changed.items() if one is Status.CANCELLED)
        return f"{count:,} tasks are cancelled{_running(steering.events(request)[0], now)}"
    held = steering.held()
    return f"{paused(held, now):,} tasks are paused{_running(Paused(held), now)}"


def _running(event: Event, now: Statuses) -> str:
    keys = event.keys if isinstance(event, Cancelled | Paused) else ()
    running = sum(now[key] is Status.RUNNING for key in keys)
    return f"; {running:,} that run go on to their end" if running else ""
