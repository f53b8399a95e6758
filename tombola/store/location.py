"""Where a store is, a directory or a URL, and the little in which the two differ.

A directory is a pathlib.Path and goes through no layer. A URL is an ObjectPath, typed as the
Path whose form it has, so that all else has one form for both.

Here it is decided, too, what belongs to a store: regular files that are reached from its root
through folders alone. A symbolic link, a pipe or a device counts as absent to every reader, and
nothing is written or removed through a link.
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
"""Folders in the root of a store, in which all that it says lies (store/layout.py has the rest)."""

LARGEST = 1 << 30
"""Bytes of a file that is read at once (weights and masks apart): no store writes a larger one."""


def locate(store: str | Path, *, patient: bool = False) -> Path:
    """A store's root from what the user or a pack calls it.

    Where it is a URL, `patient` is for what must not be lost: it waits a minute or so for a
    store that does not answer, where a command that someone waits for gives up in seconds.

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
    """The path as one of object storage; None where it is of a directory."""
    found: object = path
    return None if isinstance(found, Path) else cast("ObjectPath", found)


def place_in_store(path: Path) -> tuple[str, ...]:
    """The names from a store's root to a path, of which the first is one of TOP; () if none is."""
    names: list[str] = []
    for part in reversed(str(path).split("/")[-_DEEPEST:]):
        names.append(part)
        if part in TOP:
            return tuple(reversed(names))
    return ()


_DEEPEST = 6
"""More names than any path of a store has, from its root."""


def linked(folder: Path) -> Path | None:
    """The symbolic link among a folder and those above it in its store, if there is one."""
    if remote(folder):
        return None
    for above in (folder, *folder.parents)[: len(place_in_store(folder))]:
        if above.is_symlink():
            return above
    return None


def is_file(path: Path) -> bool:
    """Whether a file of the store is there, which no link, pipe or folder is."""
    if place := remote(path):
        return place.exists()
    try:
        return stat.S_ISREG(path.lstat().st_mode) and linked(path.parent) is None
    except OSError:
        return False


def read(path: Path, at_most: int | None = None) -> bytes:
    """What is in a file of a store.

    Raises
    ------
    FileNotFoundError
        When there is none: a link, a pipe or a folder is none.
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
            raise FileNotFoundError(errno.ENOENT, "is no regular file", str(path)) from None
        raise
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        os.close(file)  # of a folder no file can be made
        raise FileNotFoundError(errno.ENOENT, "is no regular file", str(path))
    with os.fdopen(file, "rb") as opened:
        if at_most is not None and status.st_size > at_most:
            raise OSError(errno.EFBIG, f"is larger than {at_most:,} bytes", str(path))
        return opened.read()


def contents(paths: Sequence[Path]) -> Iterator[bytes | None]:
    """What is in each file, in order; None where it is gone. Concurrent where it is far.

    Of a file larger than LARGEST nothing is read: as a truncated one would be, it is empty.
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
    """What PyArrow reads a large file from: its path, or a local copy of it.

    Raises
    ------
    FileNotFoundError
        When there is no such file: a link, a pipe or a folder is none.
    """
    if place := remote(path):
        return place.copy()
    if not is_file(path):
        raise FileNotFoundError(errno.ENOENT, "there is no such file", str(path))
    return path


def version(path: Path) -> tuple[object, int]:
    """What is another once the file is replaced."""
    if place := remote(path):
        return place.version()
    status = path.stat()
    return (status.st_mtime_ns, status.st_ino), status.st_size


def send(files: Sequence[tuple[Path, bytes]]) -> None:
    """Put objects, concurrently; each appears whole, or not at all."""
    from tombola.store import object_storage

    object_storage.send([(place, content) for path, content in files if (place := remote(path))])


def remove(paths: Iterable[Path]) -> None:
    """Remove files; one that is gone already is well."""
    paths = list(paths)
    if paths and remote(paths[0]):
        from tombola.store import object_storage

        object_storage.remove(_remotes(paths))
        return
    for path in paths:
        if linked(path.parent) is None:
            path.unlink(missing_ok=True)


def total_size(paths: Sequence[Path]) -> int:
    """Bytes that files take together."""
    if paths and remote(paths[0]):
        from tombola.store import object_storage

        return sum(object_storage.sizes(_remotes(paths)))
    return sum(path.lstat().st_size for path in paths)


def _remotes(paths: Sequence[Path]) -> "Sequence[ObjectPath]":
    return cast("Sequence[ObjectPath]", paths)
