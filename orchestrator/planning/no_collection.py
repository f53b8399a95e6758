"""Disable Python's garbage collector while millions of records are built."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

_MANY = 1_000_000
"""Number of new objects from which one garbage collection takes too long."""


@contextmanager
def without_collection() -> Iterator[None]:
    """Disable garbage collection, which would scan millions of new objects again and again.

    If _MANY objects or more were created, they stay excluded from collection until Python ends.
    Otherwise the next collection would scan all of them, and two later ones again.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            if gc.get_count()[0] >= _MANY:
                gc.freeze()
                atexit.register(gc.unfreeze)  # else extension modules would report leaks
            gc.enable()
