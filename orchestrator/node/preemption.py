"""Notice to stop: trainings write a checkpoint, and continue elsewhere or later."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Preempted(Exception):
    """A task was stopped at a checkpoint."""


class Notice:
    """A request to stop, given by a signal or a thread and read between iterations.

    `reason` is None before the request.
    """

    def __init__(self) -> None:
        self.reason: str | None = None

    def give(self, reason: str) -> None:
        """Ask the task to stop; the first reason stays."""
        self.reason = self.reason or reason


@contextmanager
def heeding(notice: Notice, reasons: dict[signal.Signals, str]) -> Iterator[None]:
    """Let these signals give notice, each with its reason; only for the main thread."""
    before = {
        number: signal.signal(number, lambda *_, reason=reason: notice.give(reason))
        for number, reason in reasons.items()
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
