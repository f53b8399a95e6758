"""Classes of failures of a task, and the number of tries that each allows."""

from enum import Enum


class Failure(Enum):
    """A class of failure: its name in the store, and the number of tries.

    A failure that the task's own code causes will happen again, so it allows one try. A failure
    that the machine causes may not happen again. After a failure a task runs alone in its pack,
    where it cannot harm other tasks. A task that ran out of memory gets twice the share of the
    device, and one more try for each doubling.
    """

    RAISED = "raised", 1
    DETERMINISM_ALARM = "determinism alarm", 1
    DAMAGED_FILE = "damaged file", 1
    OUT_OF_MEMORY = "out of memory", 2
    TIMEOUT = "timeout", 2
    STALLED = "stalled", 2
    STORE = "store", 3
    WORKER_LOST = "worker lost", 3
    NODE_LOST = "node lost", 10
    PREEMPTED = "preempted", 100

    def __init__(self, word: str, tries: int) -> None:
        self.word = word
        self.tries = tries

    @classmethod
    def named(cls, word: str) -> "Failure":
        """Return the class with a name in the store."""
        return next(failure for failure in cls if failure.word == word)


class WorkerGone(Exception):
    """Another process that a task needs is gone; `why` is the class of failure."""

    def __init__(self, message: str, why: Failure) -> None:
        super().__init__(message)
        self.why = why
