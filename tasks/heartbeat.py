"""Signs of life of long loops, for whoever watches over what runs; unwatched they go nowhere.

They pass by all signatures, so that no key and no result can depend on them, and a loop takes
part by one word: `for batch in paced(batches)`. A watch is of the thread that it was set in.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

T = TypeVar("T")


class Watch(Protocol):
    """Who is told; loops lie within loops."""

    def begin(self) -> None:
        """A loop begins."""
        ...

    def beat(self) -> None:
        """One turn of a loop is done, and the next is to follow soon."""
        ...

    def rest(self) -> None:
        """What comes now may take long."""
        ...

    def end(self) -> None:
        """A loop is over, whatever ended it."""
        ...


class _Nobody:
    def begin(self) -> None:
        pass

    beat = rest = end = begin


_watch: ContextVar[Watch] = ContextVar("watch", default=_Nobody())  # noqa: B039 - it has no state


@contextmanager
def watched(by: Watch) -> Iterator[None]:
    """Within it `by` is told of all that is paced."""
    before = _watch.set(by)
    try:
        yield
    finally:
        _watch.reset(before)


def paced(loop: Iterable[T]) -> Iterator[T]:
    """What the loop goes through; the watch hears of each turn that is done."""
    watch = _watch.get()
    watch.begin()
    try:
        for item in loop:
            yield item
            watch.beat()
    finally:
        watch.end()


@contextmanager
def resting() -> Iterator[None]:
    """A part of a loop's turn that may take long, as it keeps time limits of its own."""
    watch = _watch.get()
    watch.rest()
    yield
    watch.beat()
