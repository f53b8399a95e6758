"""Why a task has no result, and how often it is worth trying again."""

from enum import Enum


class Failure(Enum):
    """A class of failure: its name in the store, and how many tries it is given.

    What a trial does by itself it does again; what a machine did to it may not happen twice.
    A task that failed once runs alone after it, so that it takes no other with it. One that
    ran out of memory gets twice the share of the device, and a try more for each doubling.
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
        """The class of a name in the store."""
        return next(one for one in cls if one.word == word)


class WorkerGone(Exception):
    """Another process that a task needed did not come back, and why."""

    def __init__(self, message: str, why: Failure) -> None:
        super().__init__(message)
        self.why = why
