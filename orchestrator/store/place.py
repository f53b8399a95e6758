"""Where a store is, a directory or a URL, and the little in which the two differ.

A directory is a pathlib.Path and goes through no layer. A URL is an ObjectPath, typed as the
Path whose form it has, so that all else has one form for both.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from orchestrator.store.objects import ObjectPath


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
    from orchestrator.store.objects import open_url

    return cast("Path", open_url(store, patient=patient))


def remote(path: Path) -> "ObjectPath | None":
    """The path as one of object storage; None where it is of a directory."""
    found: object = path
    return None if isinstance(found, Path) else cast("ObjectPath", found)


def contents(paths: Sequence[Path]) -> Iterator[bytes | None]:
    """What is in each file, in order; None where it is gone. Concurrent where it is far."""
    if paths and remote(paths[0]):
        from orchestrator.store import objects

        yield from objects.contents(_remotes(paths))
        return
    for path in paths:
        try:
            yield path.read_bytes()
        except FileNotFoundError:
            yield None


def source(path: Path) -> Any:
    """What PyArrow reads a large file from: its path, or a local copy of it."""
    place = remote(path)
    return place.copy() if place else path


def version(path: Path) -> tuple[object, int]:
    """What is another once the file is replaced."""
    if place := remote(path):
        return place.version()
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def send(files: Sequence[tuple[Path, bytes]]) -> None:
    """Put objects, concurrently; each appears whole, or not at all."""
    from orchestrator.store import objects

    objects.send([(place, content) for path, content in files if (place := remote(path))])


def remove(paths: Iterable[Path]) -> None:
    """Remove files; one that is gone already is well."""
    paths = list(paths)
    if paths and remote(paths[0]):
        from orchestrator.store import objects

        objects.remove(_remotes(paths))
        return
    for path in paths:
        path.unlink(missing_ok=True)


def total_size(paths: Sequence[Path]) -> int:
    """Bytes that files take together."""
    if paths and remote(paths[0]):
        from orchestrator.store import objects

        return sum(objects.sizes(_remotes(paths)))
    return sum(path.stat().st_size for path in paths)


def _remotes(paths: Sequence[Path]) -> "Sequence[ObjectPath]":
    return cast("Sequence[ObjectPath]", paths)
