"""Limits on how long a task may take, and may stand still, kept by the worker that runs it."""

import faulthandler
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from types import FrameType

GRACE_SECONDS = 60.0
"""What a task stuck in C code gets beyond its limit, before its worker ends itself."""


class TaskTimeout(Exception):
    """A task took longer than its limit; the traceback says where it was."""


class TaskStalled(TaskTimeout):
    """A task's loop that had begun to turn did not; the traceback says where it was."""


class Pulse:
    """Watches a task's loops (tasks.heartbeat). Only what has shown a sign of life can be missed.

    Between loops a task rests: what comes there may take long, up to the task's limit.
    """

    def __init__(self, seconds: float, stall: float) -> None:
        self._seconds, self._stall = seconds, stall
        self._end = time.monotonic() + seconds
        self._last, self._put_off = inf, -inf
        self._armed = False
        self._loops = 0

    def begin(self) -> None:
        """A loop begins; until something in it has shown a sign of life it may take long."""
        self._loops += 1

    def beat(self) -> None:
        """A turn is done, and the next is to follow soon."""
        self._last = time.monotonic()
        if self._last >= self._put_off:
            self._look_later()

    def rest(self) -> None:
        """What comes now may take long, up to the task's limit."""
        self._last = inf
        self._look_later()

    def end(self) -> None:
        """A loop is over; the one around it, if any, is to go on soon."""
        self._loops -= 1
        if self._loops:
            self.beat()
        else:
            self.rest()

    def ring(self, _signal: int, _frame: FrameType | None) -> None:
        """Raise what is due, or look again later."""
        now = time.monotonic()
        if now >= self._end:
            raise TaskTimeout(f"took longer than its limit of {self._seconds:,.0f} s")
        if now - self._last >= self._stall:
            raise TaskStalled(f"no sign of life in {self._stall:,.0f} s (--stall)")
        self._look_later()

    def arm(self) -> None:
        """Begin to look."""
        self._armed = True
        self._look_later()

    def disarm(self) -> None:
        """Look no more."""
        self._armed = False
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _look_later(self) -> None:
        """Beats put the alarm off before it rings: C code may take it for an error."""
        if not self._armed:
            return
        now = time.monotonic()
        self._put_off = -inf if self._last == inf else now + self._stall / 4
        seconds = max(min(self._end, self._last + self._stall) - now, 1e-3)
        # faulthandler's thread must not take the alarm: seen to be lost where it rang there
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        faulthandler.dump_traceback_later(seconds + GRACE_SECONDS, exit=True)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.setitimer(signal.ITIMER_REAL, seconds)


@contextmanager
def deadline(seconds: float | None, stall: float = inf) -> Iterator[Pulse]:
    """Raise TaskTimeout in this context after so many seconds; None is no limit.

    TaskStalled is raised so many seconds after the last beat of the pulse, unless it rests. The
    alarm reaches Python code, sleeps and system calls. A hang inside C code cannot be raised
    through: a minute after the process should have looked it prints where it is and exits, and
    whoever runs it has lost a worker. Signals reach the main thread alone, so this belongs there.
    """
    pulse = Pulse(inf if seconds is None else seconds, stall)
    if seconds is None:
        yield pulse
        return
    before = signal.signal(signal.SIGALRM, pulse.ring)
    pulse.arm()
    try:
        yield pulse
    finally:
        pulse.disarm()
        signal.signal(signal.SIGALRM, before)
