"""Run a plan: the only loop. It turns scheduler commands into packs, and arrivals into events."""

import secrets
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator.executors.base import Executor
from orchestrator.node.pack import Job, Outcome, Pack, Returned, WorkerLost
from orchestrator.planning.cost import Costs, graph
from orchestrator.planning.no_collection import without_collection
from orchestrator.planning.planner import Plan, Task
from orchestrator.running.canary import WORTH_SECONDS, canaries
from orchestrator.running.control import Steering, describe, paused
from orchestrator.running.progress import Snapshot, Tracker
from orchestrator.scheduling import scheduler
from orchestrator.scheduling.failures import Failure
from orchestrator.scheduling.node_health import CircuitBreakers, Cleared, Fenced, Suspected
from orchestrator.scheduling.scheduler import (
    FALLEN,
    Ended,
    Event,
    Finished,
    GiveUp,
    Lost,
    Resized,
    Retried,
    Scheduler,
    Start,
    Status,
)
from tasks.values.records import Mask, Run
from tombola.store import layout, results
from tombola.store.beacon import Beacon
from tombola.store.clock import LaunchClock
from tombola.store.compact import Background
from tombola.store.journal import Journal
from tombola.store.location import remote
from tombola.store.publish import check_writable
from tombola.store.requests import Inbox

WAIT_SECONDS = 0.5

TIMEOUT_FACTOR = 20.0
"""A task gets at least this many times its expected seconds before it counts as hung."""


NODE_CACHE_BYTES = 4 << 30
"""Default size of the node cache for a store in object storage."""


@dataclass(frozen=True)
class Limits:
    """The limits of a launch, in seconds except `node_cache`.

    A task is stopped and tried once more if it takes longer than `timeout` and 20 times its
    expected time, or makes no progress (a batch, a turn of a loop) for `stall`. A training
    writes a checkpoint every `checkpoint` seconds. When a launch is asked to stop, running tasks
    have `grace` to write a checkpoint or finish. A node caches `node_cache` bytes of weights
    and masks on its own disk: by default NODE_CACHE_BYTES for object storage, else nothing.
    """

    timeout: float = 3600.0
    stall: float = 600.0
    checkpoint: float = 300.0
    grace: float = 30.0
    node_cache: int | None = None


@dataclass(frozen=True)
class Failed:
    """A task that failed, and why."""

    task: Task
    why: Failure
    message: str
    traceback: str = ""


@dataclass
class Progress:
    """The progress of a launch; passed to its observer after each change.

    `launch` is its name in the store's tables. `running` are tasks that were sent to workers.
    `now` is a snapshot, from the first task on. `stopped` tells that the launch was asked to
    stop early; `kept` is the number of trainings that stopped at checkpoints.
    """

    total: int
    launch: str = ""
    done: list[Task] = field(default_factory=list)
    failures: list[Failed] = field(default_factory=list)
    blocked: list[Task] = field(default_factory=list)
    cancelled: list[Task] = field(default_factory=list)
    paused: int = 0
    fenced: list[str] = field(default_factory=list)
    running: dict[str, Task] = field(default_factory=dict)
    now: Snapshot | None = None
    stopped: bool = False
    kept: int = 0

    @property
    def settled(self) -> int:
        """Number of tasks that are done, failed, blocked or cancelled."""
        given_up = len(self.failures) + len(self.blocked) + len(self.cancelled)
        return len(self.done) + given_up


Observer = Callable[[Progress], None]

DEFAULTS = Limits()


def launch(
    plan: Plan,
    store: Path,
    executor: Executor,
    *,
    costs: Costs | None = None,
    observe: Observer = lambda _: None,
    limits: Limits = DEFAULTS,
    canary: bool = True,
    inbox: Inbox | None = None,
) -> Progress:
    """Run the tasks of a plan on an executor until each is done, failed or blocked.

    However this process ends, the next launch of the sweep continues from the store. With
    `canary`, a long launch first tries each kind of task on a few examples; if one fails, no
    task starts. Requests in the `inbox` are carried out during the launch. When the executor
    drains, no more tasks start.
    """
    with without_collection():
        launched = _Launch(plan, store, executor, costs or Costs(), observe, limits, inbox)
    if canary and launched.expected >= WORTH_SECONDS and (failed := launched.rehearse()):
        return failed
    return launched.run()


class _Launch:
    def __init__(
        self,
        plan: Plan,
        store: Path,
        executor: Executor,
        costs: Costs,
        observe: Observer,
        limits: Limits,
        inbox: Inbox | None,
    ) -> None:
        clock = LaunchClock(store)
        self._identity = f"{clock.began:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        self._plan, self._store, self._executor, self._observe = plan, store, executor, observe
        self._journal = Journal(store, self._identity, clock)
        self._compaction = Background(store)
        self._size = executor.slots, executor.widest
        tasks = graph(plan, costs)
        self._scheduler, self._work = Scheduler(tasks, *self._size), tasks.work
        self._tracker = Tracker(tasks, plan.tasks, time.monotonic(), executor.slots)
        self._beacon = Beacon(store, self._identity)
        executor.on_report(self._show)
        self._progress = Progress(len(plan.tasks), self._identity)
        self._packs = self._in_flight = 0
        self._costs, self._limits = costs, limits
        by_default = NODE_CACHE_BYTES if remote(store) else 0
        self._node_cache = by_default if limits.node_cache is None else limits.node_cache
        self._stop_by: float | None = None
        self._last: dict[str, Failed] = {}
        self._breakers = CircuitBreakers()
        self._inbox, self._steering = inbox, Steering(plan)
        self._code = code_version()

    @property
    def expected(self) -> float:
        """Expected seconds of all tasks on the executor's slots."""
        return self._work / self._size[0]

    def run(self) -> Progress:
        try:
            self._handle()
            while not self._scheduler.finished and not self._stopped():
                for arrival in self._executor.wait(WAIT_SECONDS):
                    match arrival:
                        case Returned(pack, outcomes, node):
                            self._returned(pack, outcomes, node)
                            self._watch(node, outcomes)
                        case WorkerLost(pack, reason, why):
                            self._lost(pack, reason, why)
                self._handle_requests()
                self._resize()
                self._journal.flush()
                self._compaction.tend(len(self._progress.done))
                self._show()
                if not self._progress.running and not self._scheduler.finished:
                    time.sleep(WAIT_SECONDS)  # all other tasks are paused
            self._journal.flush(force=True)
            self._compaction.finish(len(self._progress.done))
        finally:
            self._journal.flush(force=True)
            self._beacon.out()
            self._compaction.close()
        return self._progress

    def _show(self) -> None:
        """Publish the progress to the observer, and to other machines."""
        progress = self._progress
        failed = [failure.task for failure in progress.failures]
        progress.now = self._tracker.look(
            progress.done,
            [*failed, *progress.blocked, *progress.cancelled],
            progress.running.keys(),
            self._executor.trainings(),
            cores=min(self._in_flight, self._executor.slots),
            ready=self._scheduler.ready_path,
            at=time.monotonic(),
            settled=progress.settled,
            total=progress.total,
            failed=len(failed),
            blocked=len(progress.blocked),
            cancelled=len(progress.cancelled),
            paused=progress.paused,
        )
        self._beacon.tell(progress.now.numbers())
        self._observe(progress)

    def _stopped(self) -> bool:
        """Return whether the launch must stop: all packs came back, or the grace is over."""
        if not self._executor.draining:
            return False
        self._progress.stopped = True
        now = time.monotonic()
        self._stop_by = now + self._limits.grace if self._stop_by is None else self._stop_by
        return not self._in_flight or now >= self._stop_by

    def _resize(self) -> None:
        """Tell the scheduler when the number of slots has changed."""
        size = self._executor.slots, self._executor.widest
        if size != self._size:
            self._size = size
            self._handle(Resized(*size))

    def rehearse(self) -> Progress | None:
        """Try a canary of each kind of task; return the progress of the launch if one failed.

        Afterwards, as many packs share a GPU as the memory of the largest canary allows.
        """
        memory = 0.0
        tasks = {task.key: task for task in canaries(self._plan)}
        for task in tasks.values():
            job = replace(_job(task, 1, self._limits.timeout), kind="rehearsal", needs=())
            self._executor.submit(self._pack(f"canary {task.key[:12]}", (job,)))
        waiting = len(tasks)
        while waiting and not self._executor.draining:
            for arrival in self._executor.wait(WAIT_SECONDS):
                waiting -= 1
                if isinstance(arrival, WorkerLost):
                    task = tasks[arrival.pack.keys[0]]
                    self._fail(Failed(task, arrival.why, arrival.reason))
                    continue
                for outcome in arrival.outcomes:
                    memory = max(memory, outcome.memory)
                    if outcome.failure is not None:
                        details = outcome.message, outcome.traceback
                        self._fail(Failed(tasks[outcome.key], outcome.failure, *details))
            self._observe(self._progress)
        self._journal.flush(force=True)
        self._executor.fit(memory)
        self._resize()
        return self._progress if self._progress.failures else None

    def _fail(self, failed: Failed) -> None:
        """Record the failure of a canary."""
        failed = replace(failed, message=f"canary: {failed.message}")
        self._progress.failures.append(failed)
        details = {"message": failed.message, "traceback": failed.traceback}
        self._note("failed", failed.task, failure=failed.why.word, **details)

    # ------------------------------------------------------------ commands

    def _handle(self, *events: Event) -> None:
        for command in self._scheduler.handle(*events):
            match command:
                case Start(keys, width, near):
                    if not self._executor.draining:
                        self._start(keys, width, near)
                case GiveUp(key, because):
                    self._give_up(key, because)

    def _start(self, keys: tuple[str, ...], width: int, near: str) -> None:
        self._packs += 1
        tasks = [self._plan.tasks[key] for key in keys]
        jobs = tuple(
            _job(task, self._scheduler.attempts[task.key], self._timeout(task)) for task in tasks
        )
        pack = self._pack(str(self._packs), jobs, width, near)
        for job, task in zip(jobs, tasks, strict=True):
            self._progress.running[task.key] = task
            self._note("dispatched", task, attempt=job.attempt, pack=pack.identity)
        self._executor.submit(pack)
        self._in_flight += 1

    def _pack(self, name: str, jobs: tuple[Job, ...], width: int = 1, near: str = "") -> Pack:
        return Pack(
            identity=f"{self._identity}/{name}",
            jobs=jobs,
            store=str(self._store.resolve()),
            launch=self._identity,
            code=self._code,
            checkpoint_seconds=self._limits.checkpoint,
            stall_seconds=self._limits.stall,
            width=width,
            near=near,
            node_cache=self._node_cache,
        )

    def _give_up(self, key: str, because: str | None) -> None:
        task = self._plan.tasks[key]
        self._progress.running.pop(key, None)
        if because is None:
            failed = self._last[key]
            times = self._scheduler.attempts[key]
            message = failed.message if times == 1 else f"{failed.message} (after {times} tries)"
            failed = replace(failed, message=message)
            self._progress.failures.append(failed)
            self._note(
                "failed",
                task,
                attempt=times,
                failure=failed.why.word,
                message=failed.message,
                traceback=failed.traceback,
            )
            if failed.why is Failure.STORE:
                check_writable(self._store)  # ends the launch if the store cannot be written
        else:
            self._progress.blocked.append(task)
            self._note("blocked", task, message=f"needs {because}, which failed")

    # ------------------------------------------------------------ arrivals

    def _returned(self, pack: Pack, outcomes: tuple[Outcome, ...], node: str) -> None:
        events: list[Event] = []
        cached_on = node if self._node_cache else ""
        for outcome in outcomes:
            task = self._plan.tasks[outcome.key]
            self._progress.running.pop(task.key, None)
            details = {
                "attempt": self._scheduler.attempts[task.key],
                "pack": pack.identity,
                "worker": outcome.worker,
                "seconds": outcome.seconds,
            }
            if outcome.failure is None:
                events.append(Finished(task.key, cached_on))
                self._progress.done.append(task)
                self._note("finished", task, **details)
                continue
            events.append(scheduler.Failed(task.key, outcome.failure))
            self._progress.kept += outcome.failure is Failure.PREEMPTED
            self._last[task.key] = Failed(task, outcome.failure, outcome.message, outcome.traceback)
            if outcome.failure.tries > 1:
                why = outcome.failure.word
                self._note("retried", task, **details, failure=why, message=outcome.message)
        self._release(pack)
        self._handle(*events, Ended(pack.keys, cached_on))

    def _lost(self, pack: Pack, reason: str, why: Failure) -> None:
        """Handle a lost worker. The store tells which tasks of its pack are committed."""
        self._release(pack)
        committed = [key for key in pack.keys if self._committed(self._plan.tasks[key])]
        for key in committed:
            self._progress.done.append(self._plan.tasks[key])
            self._note("finished", self._plan.tasks[key], pack=pack.identity)
        for key in set(pack.keys) - set(committed):
            task = self._plan.tasks[key]
            self._last[key] = Failed(task, why, reason)
            self._note("retried", task, pack=pack.identity, failure=why.word, message=reason)
        self._handle(*(Finished(key) for key in committed), Lost(pack.keys, why))

    def _watch(self, node: str, outcomes: tuple[Outcome, ...]) -> None:
        """Pass outcomes to the circuit breaker of their node (node_health.py)."""
        if not node:
            return
        for outcome in outcomes:
            final = self._scheduler.status[outcome.key] is Status.FAILED
            failed = outcome.failure is not None
            match self._breakers.note(node, outcome.key, failed=failed, final=final):
                case Suspected(suspect, probe):
                    if self._executor.avoid(frozenset(self._breakers.avoided)):
                        self._change(Retried(frozenset({probe})))
                    else:
                        self._breakers.trust(suspect)
                case Fenced(bad, keys):
                    self._progress.fenced.append(bad)
                    self._journal.note("fenced", message=f"node {bad}: {len(keys)} tasks failed")
                    self._change(Retried(keys))
                case Cleared():
                    self._executor.avoid(frozenset(self._breakers.avoided))

    # ------------------------------------------------------------ requests

    def _handle_requests(self) -> None:
        """Carry out new requests to this launch."""
        if self._inbox is None:
            return
        for request in self._inbox.new():
            before = self._change(*self._steering.events(request))
            now = self._scheduler.status
            answer = describe(request, self._steering, before, now)
            self._progress.paused = paused(self._steering.held(), now)
            self._inbox.answer(request, f"launch {self._identity}: {answer}")

    def _change(self, *events: Event) -> dict[str, Status]:
        """Handle events that cancel or retry tasks; return the statuses before them."""
        before, now = dict(self._scheduler.status), self._scheduler.status
        self._handle(*events)
        for key, status in now.items():
            if status is Status.CANCELLED and before[key] is not status:
                self._note("cancelled", self._plan.tasks[key])
            elif before[key] in FALLEN and status not in FALLEN:
                self._note("retried", self._plan.tasks[key], message="asked for again")
        progress, tasks = self._progress, self._plan.tasks
        progress.failures = [
            failed for failed in progress.failures if now[failed.task.key] in FALLEN
        ]
        progress.blocked = [task for task in progress.blocked if now[task.key] in FALLEN]
        progress.cancelled = [
            tasks[key] for key, status in now.items() if status is Status.CANCELLED
        ]
        return before

    # ------------------------------------------------------------ shared

    def _release(self, pack: Pack) -> None:
        self._in_flight -= 1
        for key in pack.keys:
            self._progress.running.pop(key, None)

    def _committed(self, task: Task) -> bool:
        if task.repeat:
            return (self._store / layout.repeat(task.key, self._identity)).exists()
        if results.find(self._store, task.key) is None:
            return False
        if isinstance(task.value, Mask):
            return (self._store / layout.mask(task.key)).exists()
        if not isinstance(task.value, Run):
            return True
        return all((self._store / layout.state(task.key, step)).exists() for step in task.save)

    def _timeout(self, task: Task) -> float:
        return max(self._limits.timeout, TIMEOUT_FACTOR * self._costs.seconds(task))

    def _note(self, event: str, task: Task, **details: object) -> None:
        self._journal.note(event, key=task.key, kind=task.kind, **details)


def _job(task: Task, attempt: int, timeout: float | None = None) -> Job:
    return Job(
        key=task.key,
        kind=task.kind,
        value=task.value.canonical,
        attempt=attempt,
        needs=task.needs,
        save=task.save,
        last_step=task.last_step,
        timeout=timeout,
        repeat=task.repeat,
    )


def code_version() -> str | None:
    """Return the commit of this code, with + if modified; None outside a checkout."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty=+", "--abbrev=12"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return None
    return result.stdout.strip() or None
