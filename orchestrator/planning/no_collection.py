"""Millions of values that outlive everything, and the garbage collector beside them."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

_MANY = 1_000_000
"""Objects from which on looking at them once takes longer than anybody should wait."""


@contextmanager
def without_collection() -> Iterator[None]:
    """No garbage collection: it would look at millions of new objects again and again.

    Where there are so many it does not look at them afterwards either, until Python ends: with
    the next object made it would look at all of them, and so twice more until they count as old.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            if gc.get_count()[0] >= _MANY:
                gc.freeze()
                atexit.register(gc.unfreeze)  # or extension modules would complain of leaks
            gc.enable()
