"""Reading and publishing files of a store: whole or not at all."""

import itertools
import os
import socket
from pathlib import Path

from orchestrator.errors import StoreError
from orchestrator.store import layout
from orchestrator.store.place import remote

_counter = itertools.count()

PROBE_BYTES = 1 << 16
"""What must fit for a store to count as writable: an empty file fits on a full disk."""


def open_store(root: Path, *, create: bool = False) -> Path:
    """The store's root, checked; with `create`, made and writable.

    Raises
    ------
    StoreError
        When it is missing, is a file, or cannot be written.
    """
    if remote(root):
        _open_objects(root, create=create)
        return root
    if root.exists() and not root.is_dir():
        raise StoreError(f"store {root} is a file; name a directory with --store")
    if not create:
        if not root.is_dir():
            raise StoreError(f"no store at {root}; `tombola run` makes one, --store names another")
        return root
    try:
        for folder in layout.FOLDERS:
            (root / folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"store {root} cannot be written: {error.strerror}") from None
    check_writable(root)
    return root


def check_writable(root: Path) -> None:
    """Write something, and remove it.

    Raises
    ------
    StoreError
        When that does not work, and why.
    """
    probe = root / layout.SWEEPS / ".writable"
    try:
        publish(probe, bytes(PROBE_BYTES))
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"store {root} cannot be written: {error.strerror}") from None


def _open_objects(root: Path, *, create: bool) -> None:
    """A prefix is there once something lies below it; buckets are the user's to make."""
    if create:
        check_writable(root)
        return
    try:
        found = root.is_dir()
    except OSError as error:
        raise StoreError(f"store {root} cannot be read: {error.strerror}") from None
    if not found:
        raise StoreError(
            f"no store at {root}: nothing lies there, or there is no such bucket; "
            "`tombola run` makes a store, --store names another"
        )


def temporary(path: Path) -> Path:
    """A hidden name beside `path` that no other writer uses."""
    return path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.{next(_counter)}.tmp")


def publish(path: Path, content: bytes) -> None:
    """Write aside, sync, and move into place: readers see the whole file or none."""
    if place := remote(path):
        place.publish(content)
        return
    aside = temporary(path)
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        publish(path, content)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
