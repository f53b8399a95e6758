"""Refuse to run the code that a store names, while a store is only maintained.

What a store says comes from whoever wrote it. A sweep file is the user's own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_untouched: ContextVar[bool] = ContextVar("untouched", default=False)


@contextmanager
def nothing_is_run() -> Iterator[None]:
    """While the context lasts no code of a user's is imported or called."""
    token = _untouched.set(True)
    try:
        yield
    finally:
        _untouched.reset(token)


def check(name: str) -> None:
    """Refuse to run the code of that name.

    Raises
    ------
    ValueError
        Where a store is only looked after.
    """
    if _untouched.get():
        raise ValueError(
            f"it names the code {name}, which is not run to look after a store (in a store that "
            "you trust, `tombola gc --run-code` and run_code=True from Python run it)"
        )
