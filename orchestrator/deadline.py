"""A limit on how long a task may take, kept by the worker that runs it."""

import faulthandler
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GRACE_SECONDS = 60.0
"""What a task stuck in C code gets beyond its limit, before its worker ends itself."""


class TaskTimeout(Exception):
    """A task took longer than its limit; the traceback says where it was."""


@contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """Raise TaskTimeout in this context after so many seconds; None is no limit.

    The alarm reaches Python code, sleeps and system calls. A hang inside C code cannot be
    raised through: a minute later the process prints where it is and exits, and whoever
    runs it has lost a worker. Signals reach the main thread alone, so this belongs there.
    """
    if seconds is None:
        yield
        return

    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise TaskTimeout(f"took longer than its limit of {seconds:,.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    faulthandler.dump_traceback_later(seconds + GRACE_SECONDS, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
