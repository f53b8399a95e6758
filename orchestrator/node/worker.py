"""Run a pack of jobs in a worker process, and commit their results.

Artifacts are published first, then the result that commits them. An error of a job becomes its
outcome. What a job computes is in `task.py`. Each worker uses one torch thread.
"""

import json
import os
import platform
import socket
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

import torch

from orchestrator.node.pack import Job, Outcome, Pack, Report
from orchestrator.node.preemption import Notice, Preempted
from orchestrator.node.task import Computing
from orchestrator.node.watchdog import deadline
from orchestrator.scheduling.failures import Failure, WorkerGone
from tasks import process
from tasks.heartbeat import watched
from tasks.measures import resource_meter
from tasks.training.all_reduce import MemberLost
from tasks.training.distributed import Others
from tasks.values import user_code
from tombola.errors import DamagedFile, DeterminismAlarm, TaskStalled, TaskTimeout
from tombola.store import layout, repeats, results
from tombola.store.clock import now
from tombola.store.location import locate, remote, remove
from tombola.store.node_cache import Reads, open_cache
from tombola.store.publish import File, publish_all
from tombola.version import __version__

HOLD_SECONDS = 1.0
"""Seconds, from the start of a task, that its result may wait to be committed with others.

A disk syncs many files in about the time of one, so results of short tasks are committed
together. A killed worker loses at most this much work beside its current task."""

AWAY_SECONDS = 2.0
"""Seconds, times its attempt, that a task waits after an error of the store."""


def run_pack(
    pack: Pack,
    *,
    limited: bool = False,
    others: Others | None = None,
    notice: Notice | None = None,
    report: Report = lambda _key, _step: None,
) -> list[Outcome]:
    """Run the jobs of a pack in order, and return their outcomes.

    Jobs whose inputs failed here are skipped, without an outcome. `limited` enforces the
    timeouts of jobs; this process may exit then. With `others`, each training divides its
    batches among them. Upon `notice`, a training stops at a checkpoint, and later jobs have no
    outcome. `report` is called at each iteration of a training.
    """
    process.prepare()
    notice = notice or Notice()
    worker = _Worker(pack, limited, others, notice, report)
    outcomes: list[Outcome] = []
    failed: set[str] = set()

    def note(ended: list[Outcome]) -> None:
        outcomes.extend(ended)
        failed.update(outcome.key for outcome in ended if outcome.failure)

    for job in pack.jobs:
        if notice.reason is not None:
            break
        if worker.is_commit_due(job):
            note(worker.commit())
        if failed.intersection(job.needs):
            failed.add(job.key)
        else:
            note(worker.run(job))
    note(worker.commit())
    return outcomes


class _Computed(NamedTuple):
    """The result of a job, not committed yet, and the artifacts to publish before it.

    `began` is the start of the job, in seconds of time.perf_counter.
    """

    job: Job
    row: results.Row
    artifacts: list[File]
    began: float


class _Worker:
    """Runs one pack, and holds the results that wait to be committed."""

    def __init__(
        self, pack: Pack, limited: bool, others: Others | None, notice: Notice, report: Report
    ) -> None:
        self._pack, self._limited = pack, limited
        self._store = locate(pack.store, patient=True)
        self._cache = open_cache(pack.launch, pack.node_cache)
        self._computing = Computing(pack, self._store, self._cache, others, notice, report)
        self._device = self._computing.device
        self._gang = others.size if others is not None else None
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._computed: list[_Computed] = []

    def run(self, job: Job) -> list[Outcome]:
        """Compute one job; return its outcome, unless its result waits for `commit`."""
        began, clock = now(), time.perf_counter()
        meter = resource_meter.Meter(self._device)
        if self._cache is not None:
            self._cache.reads = Reads()
        try:
            timeout = job.timeout if self._limited else None
            with deadline(timeout, self._pack.stall_seconds) as pulse, watched(pulse):
                if job.kind == "rehearsal":
                    memory = self._computing.rehearse(job)
                    seconds = time.perf_counter() - clock
                    return [Outcome(job.key, self._name, seconds, memory=memory)]
                computed, files = self._computing.compute(job)
            seconds = time.perf_counter() - clock
            row = {**computed, **self._provenance(job, began, seconds), **meter.read(seconds)}
            if self._cache is not None:
                reads = self._cache.reads
                row |= {"node_reads": reads.node, "store_reads": reads.store}
            if job.kind == "run":
                row["images_per_second"] = self._images(job, row) / seconds
                row["gang"] = self._gang
        except BaseException as error:
            if not self._is_outcome(error):
                raise
            return self._failed(error, [(job, time.perf_counter() - clock)])
        self._computed.append(_Computed(job, row, files, clock))
        return []

    def is_commit_due(self, job: Job) -> bool:
        """Return whether computed results must be committed before this job runs."""
        if not self._computed:
            return False
        if time.perf_counter() - self._computed[0].began > HOLD_SECONDS:
            return True
        return bool(job.needs) and any(computed.job.key in job.needs for computed in self._computed)

    def commit(self) -> list[Outcome]:
        """Publish all computed results together, artifacts before results; return outcomes."""
        computed, self._computed = self._computed, []
        outcomes: list[Outcome] = []
        ready = [(result.job, result.row["seconds"]) for result in computed]
        artifacts: list[File] = []
        committing: list[File] = []
        try:
            earlier = results.finder(self._store, [job.key for job, _ in ready])
            ready = []
            for job, row, files, _ in computed:
                try:
                    committing += self._committing(job, row, earlier)
                    artifacts += files
                    ready.append((job, row["seconds"]))
                except Exception as error:
                    outcomes += self._failed(error, [(job, row["seconds"])])
            publish_all(artifacts, committing)
            if self._cache is not None:
                for file in artifacts:
                    self._cache.keep(*file)
            runs = [job.key for job, _ in ready if job.kind == "run"]
            remove(self._store / layout.checkpoint(key) for key in runs)
        except Exception as error:
            return outcomes + self._failed(error, ready)
        return outcomes + [Outcome(job.key, self._name, seconds) for job, seconds in ready]

    def _is_outcome(self, error: BaseException) -> bool:
        """Return whether an error becomes the outcome of the job, rather than ending this process.

        This includes SystemExit and the like, if user code raised it. Ctrl-C reaches this
        process only if jobs are not `limited`; otherwise it arrives as notice.
        """
        if isinstance(error, Exception):
            return True
        return user_code.is_users(error) and (
            self._limited or not isinstance(error, KeyboardInterrupt)
        )

    def _failed(self, error: BaseException, jobs: list[tuple[Job, float]]) -> list[Outcome]:
        """Return outcomes of jobs (with their seconds) that failed for one error."""
        if isinstance(error, DamagedFile):
            with suppress(OSError):
                error.path.unlink(missing_ok=True)  # it is computed again; see study.StudyRun
        failure = _failure(error)
        if failure is Failure.STORE and remote(self._store):
            time.sleep(AWAY_SECONDS * jobs[0][0].attempt)  # otherwise all tries would fail at once
        details = self._message(error), "".join(traceback.format_exception(error))
        return [Outcome(job.key, self._name, seconds, failure, *details) for job, seconds in jobs]

    def _message(self, error: BaseException) -> str:
        """Return one line, the same for all jobs that failed alike."""
        if not isinstance(error, Exception):
            return user_code.ended(error)
        if isinstance(error, OSError) and error.strerror and not user_code.is_users(error):
            return f"store {self._store}: {error.strerror}"
        return (str(error).splitlines() or [type(error).__name__])[0]

    def _committing(
        self, job: Job, row: results.Row, earlier: Callable[[str], results.Row | None]
    ) -> list[File]:
        """Return the file that commits a result; no file for a repeat or a part of a run."""
        if job.repeat:
            repeats.record(self._store, row)
        elif job.kind == "run" and row["last_step"] != json.loads(job.value)["recipe"]["steps"]:
            results.agree(self._store, row)
        else:
            return results.committing(self._store, row, earlier(job.key))
        return []

    def _images(self, job: Job, row: results.Row) -> int:
        began = row["first_step"] if row["resumed_step"] is None else row["resumed_step"]
        batch_size = json.loads(job.value)["recipe"]["batch_size"]
        images: int = (row["last_step"] - began) * batch_size
        return images

    def _provenance(self, job: Job, began: datetime, seconds: float) -> results.Row:
        on_gpu = self._device == "cuda"
        return {
            "launch": self._pack.launch,
            "attempt": job.attempt,
            "pack": self._pack.identity,
            "pack_size": len(self._pack.jobs),
            "host": socket.gethostname(),
            "worker": self._name,
            "device": torch.cuda.get_device_name() if on_gpu else "cpu",
            "threads": torch.get_num_threads(),
            "started_at": began,
            "seconds": seconds,
            "tombola": __version__,
            "code": self._pack.code,
            "torch": torch.__version__,
            "python": platform.python_version(),
        }


def _failure(error: BaseException) -> Failure:
    """Return the class of a failure; an error of user code is never one of the store."""
    users = user_code.is_users(error)
    if isinstance(error, user_code.OwnError):
        error = error.__cause__ or error
    match error:
        case DeterminismAlarm():
            return Failure.DETERMINISM_ALARM
        case DamagedFile():
            return Failure.DAMAGED_FILE
        case Preempted():
            return Failure.PREEMPTED
        case TaskStalled():
            return Failure.STALLED
        case TaskTimeout():
            return Failure.TIMEOUT
        case WorkerGone():
            return error.why
        case MemberLost():
            return Failure.WORKER_LOST
        case torch.cuda.OutOfMemoryError() | MemoryError():
            return Failure.OUT_OF_MEMORY
        case OSError() if not users:
            return Failure.STORE
        case _:
            return Failure.RAISED
