"""The location of a store: a directory or a URL, and the operations in which the two differ.

A directory is a pathlib.Path. A URL is an ObjectPath, which has the methods of Path that the
store uses and is typed as Path, so that all other modules treat both alike.

A store consists of regular files that are reached from its root through folders only. Symbolic
links, pipes and devices are absent for every reader, and nothing is written or removed through
a link.
"""

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from tombola.store.object_storage import ObjectPath

TOP = frozenset(
    {
        *("states", "masks", "checkpoints", "results", "repeats"),
        *("sweeps", "journal", "requests", "progress"),
    }
)
"""The folders in the root of a store (the whole layout is in store/layout.py)."""

LARGEST = 1 << 30
"""The most bytes of a file that is read at once, except weights and masks."""


def locate(store: str | Path, *, patient: bool = False) -> Path:
    """Return the root of a store from a path or a URL.

    With `patient`, requests to object storage are tried for about a minute, for results that
    must not be lost. Without it they fail within seconds, for commands that a user waits for.

    Raises
    ------
    StoreError
        When a URL's scheme is not known, or its client is not installed.
    """
    if not isinstance(store, str):
        return store
    if store.startswith("file://") or "://" not in store:
        return Path(store.removeprefix("file://"))
    from tombola.store.object_storage import open_url

    return cast("Path", open_url(store, patient=patient))


def remote(path: Path) -> "ObjectPath | None":
    """Return the path as an ObjectPath, or None if it is in a directory."""
    place: object = path
    return None if isinstance(place, Path) else cast("ObjectPath", place)


def place_in_store(path: Path) -> tuple[str, ...]:
    """Return the names from a store's root to a path, beginning with one of TOP; else ()."""
    names: list[str] = []
    for part in reversed(str(path).split("/")[-_DEEPEST:]):
        names.append(part)
        if part in TOP:
            return tuple(reversed(names))
    return ()


_DEEPEST = 6
"""More names than any path within a store has."""


def linked(folder: Path) -> Path | None:
    """Return the symbolic link among a folder and its parents within the store, or None."""
    if remote(folder):
        return None
    for above in (folder, *folder.parents)[: len(place_in_store(folder))]:
        if above.is_symlink():
            return above
    return None


def is_file(path: Path) -> bool:
    """Return whether a path is an existing regular file, reached without links."""
    if place := remote(path):
        return place.exists()
    try:
        return stat.S_ISREG(path.lstat().st_mode) and linked(path.parent) is None
    except OSError:
        return False


def read(path: Path, at_most: int | None = None) -> bytes:
    """Read a file of a store.

    Raises
    ------
    FileNotFoundError
        When there is no regular file (a link, a pipe or a folder is none).
    OSError
        When it cannot be read, or is larger than `at_most` bytes.
    """
    if remote(path):
        return path.read_bytes()
    if linked(path.parent):
        raise FileNotFoundError(errno.ENOENT, "lies behind a symbolic link", str(path))
    return _read(path, at_most)


def _read(path: Path, at_most: int | None) -> bytes:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO, errno.ENOTDIR}:
            raise FileNotFoundError(errno.ENOENT, "is not a regular file", str(path)) from None
        raise
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        os.close(file)  # os.fdopen refuses a folder
        raise FileNotFoundError(errno.ENOENT, "is not a regular file", str(path))
    with os.fdopen(file, "rb") as opened:
        if at_most is not None and status.st_size > at_most:
            raise OSError(errno.EFBIG, f"is larger than {at_most:,} bytes", str(path))
        return opened.read()


def contents(paths: Sequence[Path]) -> Iterator[bytes | None]:
    """Yield the content of each file in order, or None if it is gone; concurrent for objects.

    A file larger than LARGEST yields b"", like a truncated file.
    """
    if paths and remote(paths[0]):
        from tombola.store import object_storage

        yield from object_storage.contents(_remotes(paths))
        return
    folders: dict[Path, bool] = {}
    for path in paths:
        behind = folders.get(path.parent)
        if behind is None:
            behind = folders[path.parent] = linked(path.parent) is not None
        try:
            yield None if behind else _read(path, LARGEST)
        except FileNotFoundError:
            yield None
        except OSError as error:
            if error.errno != errno.EFBIG:
                raise
            yield b""


def source(path: Path) -> Any:
    """Return what PyArrow reads a large file from: its path, or a local copy of an object.

    Raises
    ------
    FileNotFoundError
        When there is no regular file (a link, a pipe or a folder is none).
    """
    if place := remote(path):
        return place.copy()
    if not is_file(path):
        raise FileNotFoundError(errno.ENOENT, "there is no such file", str(path))
    return path


def version(path: Path) -> tuple[object, int]:
    """Return a version of a file, which changes when the file is replaced, and its size."""
    if place := remote(path):
        return place.version()
    status = path.stat()
    return (status.st_mtime_ns, status.st_ino), status.st_size


def send(files: Sequence[tuple[Path, bytes]]) -> None:
    """Write objects concurrently; each appears whole or not at all."""
    from tombola.store import object_storage

    object_storage.send([(place, content) for path, content in files if (place := remote(path))])


def remove(paths: Iterable[Path]) -> None:
    """Remove files; files that are gone already are ignored."""
    paths = list(paths)
    if paths and remote(paths[0]):
        from tombola.store import object_storage

        object_storage.remove(_remotes(paths))
        return
    for path in paths:
        if linked(path.parent) is None:
            path.unlink(missing_ok=True)


def total_size(paths: Sequence[Path]) -> int:
    """Return the total size of files in bytes."""
    if paths and remote(paths[0]):
        from tombola.store import object_storage

        return sum(object_storage.sizes(_remotes(paths)))
    return sum(path.lstat().st_size for path in paths)


def _remotes(paths: Sequence[Path]) -> "Sequence[ObjectPath]":
    return cast("Sequence[ObjectPath]", paths)
