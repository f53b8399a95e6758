"""The scheduler: a pure state machine. Events come in, commands go out, nothing else happens.

A task has one of eight states: waiting (for its needs), ready, running, done, failed, blocked (a
need failed), and on a user's request paused (ready, but held back) or cancelled. Ready tasks
leave one heap, longest remaining path first. Short tasks leave together, as a pack that one
worker runs in order. A pack may hold a task together with tasks that need it.
"""

import heapq
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import TypeAlias

from orchestrator.scheduling.failures import Failure
from orchestrator.scheduling.graph import Graph

PACK_SECONDS = 1.0
"""Seconds of tasks that a pack holds; a longer task runs alone."""

PACK_TASKS = 64
"""Most tasks in a pack."""

AHEAD_SECONDS = 10.0
"""Packs shorter than this are queued before a worker is free, to hide the time of transfer.

A longer pack in the queue would delay more urgent tasks that become ready meanwhile."""

ALIKE = 0.95
"""Ready tasks whose remaining paths differ by less than this factor count as equally urgent."""

_LOOKED_AT = 64
"""Most ready tasks that are searched for one whose inputs lie on the free node."""


class Status(Enum):
    """State of a task."""

    WAITING = "waiting"
    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    BLOCKED = "blocked"
    PAUSED = "paused"
    CANCELLED = "cancelled"


FALLEN = frozenset({Status.FAILED, Status.BLOCKED, Status.CANCELLED})
"""States that a task leaves only when a user asks for it again."""


# ---------------------------------------------------------------- events and commands


@dataclass(frozen=True)
class Finished:
    """The result of a task is committed. `node` holds its files, or "" if that does not matter."""

    key: str
    node: str = ""


@dataclass(frozen=True)
class Failed:
    """A task failed, and its worker is alive."""

    key: str
    why: Failure = Failure.RAISED


@dataclass(frozen=True)
class Ended:
    """A worker returned; tasks of its pack without an event were skipped and are ready again.

    `node` has a free slot, or is "" if that does not matter.
    """

    keys: tuple[str, ...]
    node: str = ""


@dataclass(frozen=True)
class Lost:
    """A worker died with this pack; its tasks that are not committed must run again."""

    keys: tuple[str, ...]
    why: Failure = Failure.WORKER_LOST


@dataclass(frozen=True)
class Cancelled:
    """These tasks and their descendants are no longer wanted. Running tasks finish."""

    keys: frozenset[str]


@dataclass(frozen=True)
class Paused:
    """These tasks are held back for now."""

    keys: frozenset[str]


@dataclass(frozen=True)
class Resumed:
    """These tasks are no longer held back."""

    keys: frozenset[str]


@dataclass(frozen=True)
class Retried:
    """The failed and cancelled tasks among these get all their tries again."""

    keys: frozenset[str]


@dataclass(frozen=True)
class Resized:
    """From now on `slots` packs run side by side, `widest` of them on one device."""

    slots: int
    widest: int = 1


Event: TypeAlias = (
    Finished | Failed | Ended | Lost | Resized | Cancelled | Paused | Resumed | Retried
)


@dataclass(frozen=True)
class Start:
    """Run these tasks in order on one worker with `width` times the usual share of a device.

    The inputs of the first task lie on the node `near`, which is preferred if it is free.
    """

    keys: tuple[str, ...]
    width: int = 1
    near: str = ""


@dataclass(frozen=True)
class GiveUp:
    """A task will not run: it has no tries left, or it needs the task `because`, which failed."""

    key: str
    because: str | None = None


Command: TypeAlias = Start | GiveUp


class Scheduler:
    """The state of all tasks. Only `handle` changes it.

    Parameters
    ----------
    graph
        The tasks.
    slots
        Number of packs that run side by side. A few more short packs are queued.
    widest
        Number of slots of a whole device or node.
    """

    def __init__(self, graph: Graph, slots: int, widest: int = 1) -> None:
        self.nodes = graph.nodes
        self.status: dict[str, Status] = {}
        self.attempts = dict.fromkeys(self.nodes, 0)
        self._failed: Counter[tuple[str, Failure]] = Counter()
        self._slots, self._widest = slots, widest
        self._packs = 0
        self._unmet = {key: len(node.needs) for key, node in self.nodes.items()}
        self._children, self._remaining = graph.children, graph.remaining
        self._place = {key: place for place, key in enumerate(self.nodes)}
        self._ready: list[tuple[float, str, int, str]] = []
        self._ready_seconds = 0.0
        self._held: set[str] = set()
        self._near: dict[str, str] = {}
        for key, unmet in self._unmet.items():
            self.status[key] = Status.WAITING
            if not unmet:
                self._make_ready(key)

    @property
    def finished(self) -> bool:
        """True if no task is running, ready or paused."""
        return not self._packs and not self._ready and not self._paused()

    @property
    def ready_path(self) -> float:
        """Seconds of the longest path that begins with a ready task; 0 if no task is ready."""
        return -self._ready[0][0] if self._ready else 0.0

    def handle(self, *events: Event) -> list[Command]:
        """Take in events; return the commands that follow, among them the packs to start next."""
        commands: list[Command] = []
        free = ""
        for event in events:
            match event:
                case Finished(key, node):
                    self._finish(key, node)
                case Failed(key, why):
                    commands += self._fail(key, why)
                case Ended(keys, free):
                    self._packs -= 1
                    self._return_unsettled(keys)
                case Lost(keys, why):
                    self._packs -= 1
                    for key in keys:
                        commands += self._fail(key, why)
                    self._return_unsettled(keys)
                case Resized(slots, widest):
                    self._slots, self._widest = slots, widest
                case Cancelled(keys):
                    self._cancel(keys)
                case Paused(keys):
                    self._hold(keys)
                case Resumed(keys):
                    self._release(keys)
                case Retried(keys):
                    self._retry(keys)
        commands += self._start_packs(free)
        return commands

    # ------------------------------------------------------------ transitions

    def _finish(self, key: str, node: str) -> None:
        if self.status[key] in (Status.DONE, Status.FAILED, Status.BLOCKED):
            return
        self._settle(key, Status.DONE)
        for child in self._children[key]:
            self._unmet[child] -= 1
            if not self._unmet[child] and self.status[child] is Status.WAITING:
                if node:
                    self._near[child] = node
                self._make_ready(child)

    def _settle(self, key: str, status: Status) -> None:
        self.status[key] = status

    def _make_ready(self, key: str) -> None:
        if key in self._held:
            self.status[key] = Status.PAUSED
            return
        self.status[key] = Status.READY
        self._ready_seconds += self.nodes[key].seconds
        heapq.heappush(self._ready, self._rank(key))

    def _rank(self, key: str) -> tuple[float, str, int, str]:
        return (-self._remaining[key], self.nodes[key].group, self._place[key], key)

    def _block_descendants(self, key: str) -> list[Command]:
        commands: list[Command] = []
        unvisited = list(self._children[key])
        while unvisited:
            child = unvisited.pop()
            if self.status[child] not in (Status.FAILED, Status.BLOCKED, Status.DONE):
                self._settle(child, Status.BLOCKED)
                commands.append(GiveUp(child, because=key))
                unvisited += self._children[child]
        return commands

    def _fail(self, key: str, why: Failure) -> list[Command]:
        """Give up on a running task without tries left; else it is ready when its pack ends."""
        if self.status[key] is not Status.RUNNING:
            return []
        self._failed[key, why] += 1
        if self._failed[key, why] < self._tries(why):
            return []
        self._settle(key, Status.FAILED)
        return [GiveUp(key), *self._block_descendants(key)]

    def _return_unsettled(self, keys: tuple[str, ...]) -> None:
        for key in keys:
            if self.status[key] is Status.RUNNING:
                self.status[key] = Status.WAITING
                if not self._unmet[key]:
                    self._make_ready(key)

    # ------------------------------------------------------------ requests of users

    def _cancel(self, keys: frozenset[str]) -> None:
        self._withdraw(keys)
        for key in keys:
            if self.status[key] in (Status.WAITING, Status.PAUSED):
                self._settle(key, Status.CANCELLED)

    def _hold(self, keys: frozenset[str]) -> None:
        self._held |= keys
        self._withdraw(keys)

    def _release(self, keys: frozenset[str]) -> None:
        waiting = keys & self._paused()
        self._held -= keys
        for key in waiting:
            self._make_ready(key)

    def _retry(self, keys: frozenset[str]) -> None:
        """Make failed and cancelled tasks run again, and the tasks that only these blocked."""
        freed = [key for key in keys if self.status[key] in FALLEN - {Status.BLOCKED}]
        for key in freed:
            self.status[key] = Status.WAITING
            for why in Failure:
                self._failed.pop((key, why), None)
        while freed:
            key = freed.pop()
            if not self._unmet[key]:
                self._make_ready(key)
            for child in self._children[key]:
                needs = self.nodes[child].needs
                if self.status[child] is Status.BLOCKED and not any(
                    self.status[need] in FALLEN for need in needs
                ):
                    self.status[child] = Status.WAITING
                    freed.append(child)

    def _withdraw(self, keys: frozenset[str]) -> None:
        """Remove ready tasks from the heap."""
        ready = {key for key in keys if self.status[key] is Status.READY}
        if not ready:
            return
        self._ready = [entry for entry in self._ready if entry[-1] not in ready]
        heapq.heapify(self._ready)
        for key in ready:
            self.status[key] = Status.PAUSED
            self._ready_seconds -= self.nodes[key].seconds

    def _paused(self) -> set[str]:
        return {key for key in self._held if self.status[key] is Status.PAUSED}

    # ------------------------------------------------------------ packs

    def _start_packs(self, free: str) -> list[Command]:
        commands: list[Command] = []
        while self._ready and self._packs < self._room():
            if free and self._packs < self._slots:
                self._put_first_what_is_near(free)
            free = ""
            pack = self._next_pack()
            near = self._near.get(pack[0], "")
            for key in pack:
                self.status[key] = Status.RUNNING
                self.attempts[key] += 1
                self._near.pop(key, None)
            self._packs += 1
            commands.append(Start(tuple(pack), self._width(pack[0]), near))
        return commands

    def _put_first_what_is_near(self, node: str) -> None:
        """Move to the top the first of the most urgent tasks whose inputs lie on that node."""
        if not self._near:
            return
        urgent = self._ready[0][0] * ALIKE
        passed: list[tuple[float, str, int, str]] = []
        while self._ready and self._ready[0][0] <= urgent and len(passed) < _LOOKED_AT:
            passed.append(heapq.heappop(self._ready))
            if self._near.get(passed[-1][-1]) == node:
                passed[-1] = (-inf, *passed[-1][1:])
                break
        for entry in passed:
            heapq.heappush(self._ready, entry)

    def _room(self) -> int:
        """Return the number of packs that may be in flight when the next task starts.

        A task whose inputs lie on some node is not queued ahead: it waits for a free slot, and
        the choice then considers the node of that slot.
        """
        key = self._ready[0][3]
        ahead = self.nodes[key].seconds < AHEAD_SECONDS and key not in self._near
        return self._window if ahead else self._slots

    def _width(self, key: str) -> int:
        """Return the width of a task: doubled each time that it ran out of memory."""
        width: int = 2 ** self._failed[key, Failure.OUT_OF_MEMORY]
        return min(width, self._widest)

    def _tries(self, why: Failure) -> int:
        doublings = (self._widest - 1).bit_length()
        return why.tries + (doublings if why is Failure.OUT_OF_MEMORY else 0)

    @property
    def _window(self) -> int:
        return self._slots + max(1, self._slots // 2)

    def _next_pack(self) -> list[str]:
        """Take the most urgent ready task, and more until the pack lasts about PACK_SECONDS.

        Tasks that become ready inside the pack, because their needs are in it, compete with the
        heap. A longer task runs alone, since results are reported when a pack ends. A task that
        failed before also runs alone: if it kills its worker, no other task is lost. A task whose
        inputs lie on another node than those of the first task is not added. Near the end of
        the launch packs become smaller, to divide the work among workers.
        """
        enough = min(PACK_SECONDS, self._ready_seconds / (2 * self._slots))
        pack: list[str] = []
        inside: list[tuple[float, str, int, str]] = []
        unmet: dict[str, int] = {}
        seconds, near = 0.0, ""
        while (self._ready or inside) and len(pack) < PACK_TASKS and (not pack or seconds < enough):
            from_heap = bool(self._ready) and (not inside or self._ready[0] < inside[0])
            key = (self._ready if from_heap else inside)[0][3]
            if pack and (self.attempts[key] or self.nodes[key].seconds >= PACK_SECONDS):
                break
            if pack and self._near.get(key, near) != near:
                break
            near = near if pack else self._near.get(key, "")
            heapq.heappop(self._ready if from_heap else inside)
            if from_heap:
                self._ready_seconds -= self.nodes[key].seconds
            pack.append(key)
            seconds += self.nodes[key].seconds
            if self.attempts[key]:
                break
            for child in self._children[key]:
                unmet[child] = unmet.get(child, self._unmet[child]) - 1
                waits = self.status[child] is Status.WAITING and child not in self._held
                if not unmet[child] and waits:
                    heapq.heappush(inside, self._rank(child))
        return pack
