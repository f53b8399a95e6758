"""Whether two machines see the same store: each reads what the other has just written.

A path that exists everywhere may be another disk on every node. What a driver wrote under a
random name is nowhere else, and what a node answers beside it comes back to the driver.
"""

import secrets
import time
from pathlib import Path

from tombola.errors import StoreError
from tombola.store import layout
from tombola.store.publish import publish, temporary

PATIENCE = (0.0, 0.2, 0.8, 2.0)
"""Seconds before each look: a network file system may show a new file a little late."""


class Witness:
    """A file that a driver wrote, told to nodes by `name`. Close it to remove it.

    It is named as temporary files are: where a killed driver left it, `verify` finds it.
    """

    def __init__(self, store: Path) -> None:
        self._store, self.name = store, _new(store)

    def confirm(self, answer: str) -> bool:
        """Whether a node's answer has come; it is removed."""
        path = _path(self._store, answer)
        found = _appears(path)
        path.unlink(missing_ok=True)
        return found

    def close(self) -> None:
        """Remove the file."""
        _path(self._store, self.name).unlink(missing_ok=True)


def seen(store: Path, name: str) -> bool:
    """Whether this machine's `store` is the one of the witness `name`."""
    return _appears(_path(store, name))


def answer(store: Path, name: str) -> str:
    """Read the witness here and write an answer beside it; its name.

    Raises
    ------
    StoreError
        When the store of this machine is another one, or cannot be written.
    """
    if not seen(store, name):
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
