"""Messages between the driver and its workers: packs of jobs, and their outcomes."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from orchestrator.scheduling.failures import Failure


@dataclass(frozen=True)
class Job:
    """One task for a worker: its canonical text (`value`), and the keys of its inputs (`needs`).

    After `timeout` seconds it counts as hung. A `repeat` is compared with its stored result.
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
    """Jobs that one worker runs in order, and the store of their results.

    A training writes a checkpoint every `checkpoint_seconds`. A task counts as hung after
    `stall_seconds` without progress. The pack holds `width` shares of a node. `node_cache` is
    the size of the node cache in bytes. `near` is the node that made the inputs of the first
    job: the pack runs there unless it would have to wait.
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
    """The end of a job on its worker; `failure` is None when its result is committed.

    `memory` is the fraction of a GPU's memory that a canary took.
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
    """A pack came back from a `node`, with an outcome for each job that was not skipped."""

    pack: Pack
    outcomes: tuple[Outcome, ...] = field(default_factory=tuple)
    node: str = ""


@dataclass(frozen=True)
class WorkerLost:
    """A pack whose worker was lost."""

    pack: Pack
    reason: str
    why: Failure = Failure.WORKER_LOST


Arrival: TypeAlias = Returned | WorkerLost

Report: TypeAlias = Callable[[str, int], None]
"""A function that takes the key of a running training, and its iteration."""

REPORT_SECONDS = 2.0
"""Seconds between two reports of a worker."""


class Seldom:
    """A report that passes on one call every REPORT_SECONDS."""

    def __init__(self, report: Report) -> None:
        self._report, self._due = report, time.monotonic() + REPORT_SECONDS

    def __call__(self, key: str, step: int) -> None:
        """Report the iteration of a training, if the next report is due."""
        if time.monotonic() >= self._due:
            self._report(key, step)
            self._due = time.monotonic() + REPORT_SECONDS
