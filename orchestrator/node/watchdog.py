"""Stop a task that takes too long or makes no progress, within the worker that runs it."""

import faulthandler
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from types import FrameType

from tombola.errors import TaskStalled, TaskTimeout

GRACE_SECONDS = 60.0
"""Seconds beyond its limit that a task stuck in C code gets, before its worker exits."""


class Pulse:
    """Receives the heartbeats of a task's loops (tasks.heartbeat), and raises if they stop.

    A task can be declared stalled only after its first heartbeat, and not between its loops.
    Outside loops only the limit of the whole task counts.
    """

    def __init__(self, seconds: float, stall: float) -> None:
        self._seconds, self._stall = seconds, stall
        self._end = time.monotonic() + seconds
        self._last, self._put_off = inf, -inf
        self._armed = False
        self._loops = 0

    def begin(self) -> None:
        """Begin a loop; there is no limit until its first heartbeat."""
        self._loops += 1

    def beat(self) -> None:
        """Note a heartbeat: one turn of a loop is done."""
        self._last = time.monotonic()
        if self._last >= self._put_off:
            self._set_alarm()

    def rest(self) -> None:
        """Suspend the limit between heartbeats, for work that may take long."""
        self._last = inf
        self._set_alarm()

    def end(self) -> None:
        """End a loop; the loop around it, if any, continues."""
        self._loops -= 1
        if self._loops:
            self.beat()
        else:
            self.rest()

    def ring(self, _signal: int, _frame: FrameType | None) -> None:
        """Raise TaskTimeout or TaskStalled if due, else set the next alarm (a signal handler)."""
        now = time.monotonic()
        if now >= self._end:
            raise TaskTimeout(f"took longer than its limit of {self._seconds:,.0f} s")
        if now - self._last >= self._stall:
            raise TaskStalled(f"no progress in {self._stall:,.0f} s (--stall)")
        self._set_alarm()

    def arm(self) -> None:
        """Start the alarms."""
        self._armed = True
        self._set_alarm()

    def disarm(self) -> None:
        """Stop the alarms."""
        self._armed = False
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _set_alarm(self) -> None:
        """Set the next alarm. Heartbeats postpone it, as C code may fail on an interrupt."""
        if not self._armed:
            return
        now = time.monotonic()
        self._put_off = -inf if self._last == inf else now + self._stall / 4
        seconds = max(min(self._end, self._last + self._stall) - now, 1e-3)
        # an alarm that arrives in faulthandler's thread can get lost, so the thread blocks it
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        faulthandler.dump_traceback_later(seconds + GRACE_SECONDS, exit=True)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.setitimer(signal.ITIMER_REAL, seconds)


@contextmanager
def deadline(seconds: float | None, stall: float = inf) -> Iterator[Pulse]:
    """Raise TaskTimeout in this context after `seconds`; None is no limit.

    TaskStalled is raised `stall` seconds after the last heartbeat, unless the task rests. The
    alarm interrupts Python code, sleeps and system calls. It cannot interrupt C code: a minute
    after a missed alarm the process prints its traceback and exits, and counts as a lost
    worker. Use this only in the main thread, which alone receives signals.
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
