"""A worker: runs a pack of jobs on the node, and commits what they come to.

Artifacts are published first, then the result that commits them; whatever a job raises becomes
its outcome. What a job computes is in `computing`. One torch thread for each worker.
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
"""Since a task began, how long its result may wait for others: what short tasks came to is
committed together, for a disk takes about as long for many files as for one. A worker that
is killed loses no more than that beside the task that it is at."""

AWAY_SECONDS = 2.0
"""How long a task waits whose store is away, times its attempt, before it is tried again."""


def run_pack(
    pack: Pack,
    *,
    limited: bool = False,
    others: Others | None = None,
    notice: Notice | None = None,
    report: Report = lambda _key, _step: None,
) -> list[Outcome]:
    """Run a pack's jobs in order; an outcome for each but those whose needs failed here.

    `limited` keeps the jobs' timeouts, for which this process may have to end itself. Where
    there are `others` each training divides its batches among them. Given notice, a training
    stops at a checkpoint, and jobs that had not begun have no outcome. Where trainings are is
    told by `report`, at each iteration.
    """
    process.prepare()
    notice = notice or Notice()
    worker = _Worker(pack, limited, others, notice, report)
    outcomes: list[Outcome] = []
    failed: set[str] = set()

    def note(ended: list[Outcome]) -> None:
        outcomes.extend(ended)
        failed.update(one.key for one in ended if one.failure)

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
    """A task's result, not committed yet, and artifacts to be published before it.

    It was begun at so many seconds of time.perf_counter.
    """

    job: Job
    row: results.Row
    artifacts: list[File]
    began: float


class _Worker:
    """One call's work: the pack, and what waits to be committed."""

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
        """Compute one job; its outcome, unless that is still to be committed (see `commit`)."""
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
                found, files = self._computing.compute(job)
            seconds = time.perf_counter() - clock
            row = {**found, **self._provenance(job, began, seconds), **meter.read(seconds)}
            if self._cache is not None:
                read = self._cache.reads
                row |= {"node_reads": read.node, "store_reads": read.store}
            if job.kind == "run":
                row["images_per_second"] = self._images(job, row) / seconds
                row["gang"] = self._gang
        except BaseException as error:
            if not self._is_told(error):
                raise
            return self._fallen(error, [(job, time.perf_counter() - clock)])
        self._computed.append(_Computed(job, row, files, clock))
        return []

    def is_commit_due(self, job: Job) -> bool:
        """Whether what is computed must not wait until this job is, too."""
        if not self._computed:
            return False
        if time.perf_counter() - self._computed[0].began > HOLD_SECONDS:
            return True
        return bool(job.needs) and any(one.job.key in job.needs for one in self._computed)

    def commit(self) -> list[Outcome]:
        """Publish together what was computed, each task's artifacts before its result."""
        computed, self._computed = self._computed, []
        outcomes: list[Outcome] = []
        ready = [(one.job, one.row["seconds"]) for one in computed]
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
                    outcomes += self._fallen(error, [(job, row["seconds"])])
            publish_all(artifacts, committing)
            if self._cache is not None:
                for file in artifacts:
                    self._cache.keep(*file)
            runs = [job.key for job, _ in ready if job.kind == "run"]
            remove(self._store / layout.checkpoint(key) for key in runs)
        except Exception as error:
            return outcomes + self._fallen(error, ready)
        return outcomes + [Outcome(job.key, self._name, seconds) for job, seconds in ready]

    def _is_told(self, error: BaseException) -> bool:
        """Whether an error is the job's: of those that end a process, what a user's code raised.

        Ctrl-C reaches this process where jobs have no limits; elsewhere it is given as notice.
        """
        if isinstance(error, Exception):
            return True
        return user_code.is_users(error) and (
            self._limited or not isinstance(error, KeyboardInterrupt)
        )

    def _fallen(self, error: BaseException, jobs: list[tuple[Job, float]]) -> list[Outcome]:
        """Outcomes of jobs, and how long they took, that came to nothing for one error."""
        if isinstance(error, DamagedFile):
            with suppress(OSError):
                error.path.unlink(missing_ok=True)  # it is computed again; see study.run
        failure = _failure(error)
        if failure is Failure.STORE and remote(self._store):
            time.sleep(AWAY_SECONDS * jobs[0][0].attempt)  # at once, all tries would be lost
        said = self._message(error), "".join(traceback.format_exception(error))
        return [Outcome(job.key, self._name, seconds, failure, *said) for job, seconds in jobs]

    def _message(self, error: BaseException) -> str:
        """One line, the same for all that failed alike; the traceback tells where."""
        if not isinstance(error, Exception):
            return user_code.ended(error)
        if isinstance(error, OSError) and error.strerror and not user_code.is_users(error):
            return f"store {self._store}: {error.strerror}"
        return (str(error).splitlines() or [type(error).__name__])[0]

    def _committing(
        self, job: Job, row: results.Row, earlier: Callable[[str], results.Row | None]
    ) -> list[File]:
        """The file that commits a result, where it is the first one, and of a whole run."""
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
    """The class of a failure. No error of a user's code is the store's."""
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
