"""Check that two machines see the same store: each reads a file that the other has just written.

The same path may be a different disk on each node. So the driver writes a file with a random
name; the node looks for it and writes an answer beside it; the driver looks for the answer.
"""

import secrets
import time
from pathlib import Path

from tombola.errors import StoreError
from tombola.store import layout
from tombola.store.publish import publish, temporary

PATIENCE = (0.0, 0.2, 0.8, 2.0)
"""Seconds before each look: a network file system may show a new file a little late."""


class SharedCheck:
    """A file that the driver writes, and sends to nodes by its `name`. Close it to remove it.

    It has the name of a temporary file, so that `verify` finds it after a killed driver.
    """

    def __init__(self, store: Path) -> None:
        self._store, self.name = store, _new(store)

    def confirm(self, answer: str) -> bool:
        """Return whether the answer of a node is in the store, and remove it."""
        path = _path(self._store, answer)
        arrived = _appears(path)
        path.unlink(missing_ok=True)
        return arrived

    def close(self) -> None:
        """Remove the file."""
        _path(self._store, self.name).unlink(missing_ok=True)


def sees(store: Path, name: str) -> bool:
    """Return whether the `store` of this machine has the driver's file `name`."""
    return _appears(_path(store, name))


def answer(store: Path, name: str) -> str:
    """Look for the driver's file on this machine, write an answer, and return its name.

    Raises
    ------
    StoreError
        When this machine has another store, or cannot write to it.
    """
    if not sees(store, name):
        raise StoreError("is not there")
    try:
        return _new(store)
    except OSError as error:
        raise StoreError(f"cannot be written ({(error.strerror or str(error)).lower()})") from None


def _new(store: Path) -> str:
    path = temporary(store / layout.JOURNAL / f"witness-{secrets.token_hex(8)}")
    publish(path, b"")
    return path.name


def _path(store: Path, name: str) -> Path:
    return store / layout.JOURNAL / name


def _appears(path: Path) -> bool:
    for seconds in PATIENCE:
        time.sleep(seconds)
        if path.exists():
            return True
    return False
