"""Heartbeats of long loops, for a watcher that ends a task which makes no progress.

A loop reports its heartbeat through a context variable, so the watcher appears in no signature
and no key, and no result can depend on it. One word makes a loop report:
`for batch in paced(batches)`. Without a watcher the reports are dropped. A watcher sees the
loops of the thread that it was set in.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

T = TypeVar("T")


class Watcher(Protocol):
    """Receiver of heartbeats. Loops may lie within loops."""

    def begin(self) -> None:
        """Take in that a loop begins."""
        ...

    def beat(self) -> None:
        """Take in that one turn of a loop is done; the next should follow soon."""
        ...

    def rest(self) -> None:
        """Take in that the next part may take long."""
        ...

    def end(self) -> None:
        """Take in that a loop is over, with or without an error."""
        ...


class _NoWatcher:
    def begin(self) -> None:
        pass

    beat = rest = end = begin


_watcher: ContextVar[Watcher] = ContextVar("watch", default=_NoWatcher())  # noqa: B039 - it has no state


@contextmanager
def watched(by: Watcher) -> Iterator[None]:
    """Report the heartbeats of all paced loops within this context to `by`."""
    before = _watcher.set(by)
    try:
        yield
    finally:
        _watcher.reset(before)


def paced(loop: Iterable[T]) -> Iterator[T]:
    """Yield the items of a loop and report a heartbeat after each turn."""
    watcher = _watcher.get()
    watcher.begin()
    try:
        for item in loop:
            yield item
            watcher.beat()
    finally:
        watcher.end()


@contextmanager
def resting() -> Iterator[None]:
    """Suspend the time limit between heartbeats for a part that has time limits of its own."""
    watcher = _watcher.get()
    watcher.rest()
    yield
    watcher.beat()
