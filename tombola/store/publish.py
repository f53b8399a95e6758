"""Reading and publishing files of a store: whole or not at all."""

import itertools
import math
import os
import re
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from tombola.errors import StoreError
from tombola.store import layout
from tombola.store.location import linked, remote, send

File: TypeAlias = tuple[Path, bytes]
"""Where a file is to be, and what is to be in it."""

SYNCS = 8
"""Syncs under way together: a disk makes several durable in about the time of one."""

CLOCKS_APART = 60.0
"""Seconds by which the clock of a file server may differ from ours."""

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


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file to write, which replaces `path` at the end.

    After an error `path` is as it was. In either case, nothing else is left beside it.
    """
    aside = temporary(path)
    try:
        yield aside
        aside.replace(path)
    finally:
        for left in path.parent.glob(f"{aside.name}*"):  # DuckDB has a second file beside its own
            left.unlink()


def leftovers(root: Path, *, below: bool = True) -> Iterator[Path]:
    """Yield what killed processes of this host were writing; object storage keeps nothing half.

    Without `below` only what lies in the root itself: the database that was being made.
    """
    if remote(root) is None:
        for path in root.rglob(".*.tmp*") if below else root.glob(".*.tmp*"):
            if _abandoned(path):
                yield path


def clear_database_leftovers(root: Path) -> None:
    """Remove half-made databases of processes that are gone, which may be large."""
    with suppress(OSError):
        for path in leftovers(root, below=False):
            path.unlink(missing_ok=True)


def _abandoned(path: Path) -> bool:
    """Whether the process that a temporary file is named for (see `temporary`) cannot go on.

    A process of that number which began after the file was last written is another one.
    """
    host = re.escape(socket.gethostname())
    match = re.search(rf"\.{host}\.(\d+)\.(\d+\.)?tmp(\.wal)?$", path.name)
    if match is None:
        return False
    process = int(match[1])
    if process == os.getpid():
        return True  # nothing is written while leftovers are looked for
    try:
        os.kill(process, 0)
        return _began(process) > path.lstat().st_mtime + CLOCKS_APART
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # somebody else's process; or the file is gone
        return False


def _began(process: int) -> float:
    """When a process began, in seconds since the epoch; -inf where that cannot be told."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        booted = re.search(r"^btime (\d+)$", Path("/proc/stat").read_text(), re.MULTILINE)
    except OSError:
        return -math.inf
    ticks = int(fields[19])  # the 22nd field of proc(5), the third after the name
    return float(booted[1]) + ticks / os.sysconf("SC_CLK_TCK") if booted else -math.inf


def publish(path: Path, content: bytes) -> None:
    """Write aside, sync, and move into place: readers see the whole file or none."""
    publish_all([(path, content)])


def publish_all(*stages: Sequence[File]) -> None:
    """Publish files together: each is seen whole or not at all, and none before an earlier stage.

    Object storage is sent all of a stage at once. In a directory they appear in order, all are
    synced before the first is moved, and where one cannot be written none appears.
    """
    files = [file for stage in stages for file in stage]
    if files and remote(files[0][0]):
        for stage in stages:
            send(stage)
        return
    for folder in {path.parent for path, _ in files}:
        if link := linked(folder):
            raise StoreError(f"{link} is a symbolic link, and a store writes through none")
    aside = [str(temporary(path)) for path, _ in files]
    opened: list[int] = []
    try:
        for name, (_, content) in zip(aside, files, strict=True):
            opened.append(_create(name))
            _write(opened[-1], content)
        _sync(opened)
        for name, (path, _) in zip(aside, files, strict=True):
            os.replace(name, path)  # noqa: PTH105 - here and below: a task's time is mostly this
    except BaseException:
        for name in aside:
            with suppress(OSError):
                os.unlink(name)  # noqa: PTH108
        raise
    finally:
        for file in opened:
            os.close(file)


def _create(name: str) -> int:
    try:
        return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(name), exist_ok=True)  # noqa: PTH103, PTH120
        return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)


def _write(file: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]


def _sync(files: list[int]) -> None:
    if len(files) <= 1:
        for file in files:
            os.fsync(file)
        return
    with ThreadPoolExecutor(min(SYNCS, len(files))) as pool:
        list(pool.map(os.fsync, files))
