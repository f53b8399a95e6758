"""Open a store, and publish its files whole or not at all."""

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
"""The path of a file to publish, and its content."""

SYNCS = 8
"""Concurrent syncs: a disk syncs several files in about the time of one."""

CLOCKS_APART = 60.0
"""Seconds by which the clock of a file server may differ from this machine's."""

_counter = itertools.count()

PROBE_BYTES = 1 << 16
"""Size of the file that tests whether a store is writable: a full disk takes empty files."""


def open_store(root: Path, *, create: bool = False) -> Path:
    """Check the root of a store and return it; with `create`, make it if it is missing.

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
    """Check that a store can be written: publish a file, and remove it.

    Raises
    ------
    StoreError
        When it cannot be written; the message says why.
    """
    probe = root / layout.SWEEPS / ".writable"
    try:
        publish(probe, bytes(PROBE_BYTES))
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"store {root} cannot be written: {error.strerror}") from None


def _open_objects(root: Path, *, create: bool) -> None:
    """Open a store in object storage. A prefix exists if an object lies below it.

    Buckets are made by the user.
    """
    if create:
        check_writable(root)
        return
    try:
        exists = root.is_dir()
    except OSError as error:
        raise StoreError(f"store {root} cannot be read: {error.strerror}") from None
    if not exists:
        raise StoreError(
            f"no store at {root}: nothing lies there, or there is no such bucket; "
            "`tombola run` makes a store, --store names another"
        )


def temporary(path: Path) -> Path:
    """Return a hidden path beside `path` that no other writer uses."""
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
    """Yield unfinished files of killed processes of this host; object storage has none.

    Without `below`, only files in the root itself: unfinished databases.
    """
    if remote(root) is None:
        for path in root.rglob(".*.tmp*") if below else root.glob(".*.tmp*"):
            if _abandoned(path):
                yield path


def clear_database_leftovers(root: Path) -> None:
    """Remove unfinished databases of dead processes, which may be large."""
    with suppress(OSError):
        for path in leftovers(root, below=False):
            path.unlink(missing_ok=True)


def _abandoned(path: Path) -> bool:
    """Return whether the process whose number a temporary file has (see `temporary`) is dead.

    A process that began after the last write to the file is another process of that number.
    """
    host = re.escape(socket.gethostname())
    match = re.search(rf"\.{host}\.(\d+)\.(\d+\.)?tmp(\.wal)?$", path.name)
    if match is None:
        return False
    process = int(match[1])
    if process == os.getpid():
        return True  # this process writes nothing while it looks for leftovers
    try:
        os.kill(process, 0)
        return _began(process) > path.lstat().st_mtime + CLOCKS_APART
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # another user's process, or the file is gone
        return False


def _began(process: int) -> float:
    """Return when a process began, in seconds since the epoch; -inf if unknown."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        booted = re.search(r"^btime (\d+)$", Path("/proc/stat").read_text(), re.MULTILINE)
    except OSError:
        return -math.inf
    ticks = int(fields[19])  # the 22nd field of proc(5), the third after the name
    return float(booted[1]) + ticks / os.sysconf("SC_CLK_TCK") if booted else -math.inf


def publish(path: Path, content: bytes) -> None:
    """Publish a file: write it aside, sync, rename. Readers see the whole file or none."""
    publish_all([(path, content)])


def publish_all(*stages: Sequence[File]) -> None:
    """Publish files together: each whole or not at all, and no stage before an earlier one.

    Object storage gets all files of a stage at once. In a directory, all files are synced
    before the first is renamed, and they appear in order. After a failed write, none appears.
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
            os.replace(name, path)  # noqa: PTH105 - here and below: pathlib costs time that short tasks notice
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
