"""Show the progress of a running launch: a live panel in a terminal, else plain lines."""

import time
from collections import Counter
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from orchestrator.planning.planner import Plan, Task
from orchestrator.running.launch import Progress as LaunchProgress
from orchestrator.running.progress import sentence
from tasks.values.measurements import MEASUREMENTS
from tasks.values.records import Mask, Run

PLAIN_SECONDS = 10.0
_VERBS = {
    "run": "train",
    "mask": "prune",
    **{kind: cls.verb for kind, cls in MEASUREMENTS.items()},
}


class Display:
    """Context that shows the progress of a launch; `observe` is the observer of the launch."""

    def __init__(self, console: Console, plan: Plan) -> None:
        self._console = console
        self._shown = time.monotonic()
        totals = Counter(task.kind for task in plan.tasks.values())
        self._levels = _levels(plan)
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console
        )
        self._bars = {kind: self._bar.add_task(kind, total=n) for kind, n in totals.items()}
        self._live = Live(self._bar, console=console, transient=True, refresh_per_second=4)
        self._counted = 0
        self._counts: Counter[str] = Counter()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def observe(self, progress: LaunchProgress) -> None:
        """Show the progress; plain lines are printed every few seconds."""
        for task in progress.done[self._counted :]:
            self._counts[task.kind] += 1
        self._counted = len(progress.done)
        if self._console.is_terminal:
            for kind, bar in self._bars.items():
                name = _VERBS[kind]
                self._bar.update(bar, completed=self._counts[kind], description=name)
            self._live.update(Group(self._bar, self._details(progress)))
            return
        now = time.monotonic()
        if progress.now and now - self._shown >= PLAIN_SECONDS:
            self._shown = now
            self._console.print(sentence(progress.now))

    def _details(self, progress: LaunchProgress) -> Table:
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_row(sentence(progress.now) if progress.now else "trying one task of each kind")
        levels = Counter(
            level for task in progress.running.values() if (level := self._levels.get(task.key))
        )
        if levels:
            running = ", ".join(f"{level} ({n})" for level, n in sorted(levels.items()))
            table.add_row(f"IMP levels running: {running}")
        return table


def _levels(plan: Plan) -> dict[str, int]:
    """Return the IMP level of each task: the number of masks within one another."""
    levels: dict[str, int] = {}
    masks: dict[str, int] = {}
    for key, task in plan.tasks.items():
        if (mask := _mask(task)) is not None and mask.within is not None:
            levels[key] = _depth(mask, masks)
    return levels


def _mask(task: Task) -> Mask | None:
    match task.value:
        case Run():
            return task.value.mask
        case Mask():
            return task.value
    return None


def _depth(mask: Mask, known: dict[str, int]) -> int:
    chain: list[Mask] = []
    current: Mask | None = mask
    while current is not None and current.key not in known:
        chain.append(current)
        current = current.within
    depth = known[current.key] if current else 0
    for link in reversed(chain):
        depth += 1
        known[link.key] = depth
    return depth
