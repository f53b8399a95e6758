"""What crosses between the driver and its workers, and the three verbs of an executor."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from orchestrator.scheduling.failures import Failure


@dataclass(frozen=True)
class Job:
    """One task as a worker gets it: canonical text, and keys for what it reads.

    After `timeout` seconds it counts as hung. A `repeat` has a result, which it is compared with.
    """

    key: str
    kind: str
    value: str
    attempt: int
    needs: tuple[str, ...] = ()
    save: tuple[int, ...] = ()
    last_step: int = 0
    timeout: float | None = None
    repeat: bool = False


@dataclass(frozen=True)
class Pack:
    """Jobs that one worker runs in order, and where their results belong.

    A training keeps a checkpoint every so many seconds; a task counts as hung after so many
    without a turn of its loops. `width` is how many usual shares of a node the pack is to hold,
    `node_cache` how many bytes of weights and masks its node keeps. What it begins with was
    made on the node that is `near`: better there, but not at the price of waiting.
    """

    identity: str
    jobs: tuple[Job, ...]
    store: str
    launch: str
    code: str | None = None
    checkpoint_seconds: float = 300.0
    stall_seconds: float = 600.0
    width: int = 1
    node_cache: int = 0
    near: str = ""

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the jobs."""
        return tuple(job.key for job in self.jobs)


@dataclass(frozen=True)
class Outcome:
    """How a job ended on its worker; `failure` is None when its result is committed.

    `memory` is the fraction of a GPU's memory that a rehearsal took.
    """

    key: str
    worker: str
    seconds: float
    failure: Failure | None = None
    message: str = ""
    traceback: str = ""
    memory: float = 0.0


@dataclass(frozen=True)
class Returned:
    """A worker came back, from a `node`, with an outcome for each job that it did not skip."""

    pack: Pack
    outcomes: tuple[Outcome, ...] = field(default_factory=tuple)
    node: str = ""


@dataclass(frozen=True)
class WorkerLost:
    """A worker never came back."""

    pack: Pack
    reason: str
    why: Failure = Failure.WORKER_LOST


Arrival: TypeAlias = Returned | WorkerLost

Report: TypeAlias = Callable[[str, int], None]
"""Told the key of a training that runs, and at which iteration it is."""

REPORT_SECONDS = 2.0
"""Between two tellings of where a worker's training is."""


class Seldom:
    """A report that passes on what it is told every few seconds."""

    def __init__(self, told: Report) -> None:
        self._told, self._due = told, time.monotonic() + REPORT_SECONDS

    def __call__(self, key: str, step: int) -> None:
        """Take note of where a training is."""
        if time.monotonic() >= self._due:
            self._told(key, step)
            self._due = time.monotonic() + REPORT_SECONDS


class Executor(Protocol):
    """Where packs run. `slots` of them run side by side; the rest wait their turn."""

    @property
    def slots(self) -> int:
        """Workers side by side; on a cluster it changes as nodes come and go."""
        ...

    @property
    def draining(self) -> bool:
        """Whether an end was asked for."""
        ...

    @property
    def widest(self) -> int:
        """How many slots a whole device (without any: a whole node) has."""
        ...

    def submit(self, pack: Pack) -> None:
        """Take a pack; returns at once."""
        ...

    def wait(self, seconds: float) -> list[Arrival]:
        """What has arrived, after at most about `seconds` when nothing has."""
        ...

    def trainings(self) -> Mapping[str, int]:
        """At which iteration the trainings are that run, by key, as far as they told."""
        ...

    def on_report(self, look: Callable[[], None]) -> None:
        """Have it called where a training tells of itself while `wait` does not return."""
        ...

    def fit(self, memory: float) -> None:
        """Let packs that each take this fraction of a GPU's memory share one; 0: not known."""
        ...

    def avoid(self, nodes: frozenset[str]) -> bool:
        """Send packs to other nodes than these from now on; False where there is no other."""
        ...

    def drain(self) -> None:
        """Ask what runs to stop where it can go on from. Safe in a signal's handler.

        Each pack still comes back from `wait`: trainings as preempted, others when done.
        """
        ...

    def close(self) -> None:
        """Stop all work and release everything."""
        ...
