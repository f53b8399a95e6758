"""Notice to stop: what runs keeps a checkpoint and goes on elsewhere, or at the next launch."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Preempted(Exception):
    """A task was stopped where it can go on from."""


class Notice:
    """Given once, by a signal or a thread; read between iterations. `reason` is None before."""

    def __init__(self) -> None:
        self.reason: str | None = None

    def give(self, reason: str) -> None:
        """Ask for an end, soon; the first reason stays."""
        self.reason = self.reason or reason


@contextmanager
def heeding(notice: Notice, reasons: dict[signal.Signals, str]) -> Iterator[None]:
    """Within it these signals give notice, each with its reason. For the main thread alone."""
    before = {
        number: signal.signal(number, lambda *_, reason=reason: notice.give(reason))
        for number, reason in reasons.items()
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
