"""Publish the progress of each launch in a file, for `tombola status` on other machines.

The file is advisory, and removed when the launch ends. A killed launch leaves its file.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from tombola.store import layout, location
from tombola.store.publish import publish

TELL_SECONDS = 3.0
"""Seconds between two writes. A slow write lengthens them: writing takes 5 % of the time."""

STALE_SECONDS = 300.0
"""Seconds without a write after which a launch is taken to be dead."""

_SHARE = 0.05
_LARGEST = 1 << 20


class Told(NamedTuple):
    """The progress that a launch wrote, as numbers, and its age in seconds."""

    launch: str
    numbers: Mapping[str, Any]
    age: float


class Beacon:
    """Write the progress of one launch."""

    def __init__(self, store: Path, launch: str) -> None:
        self._store, self._path = store, store / layout.progress(launch)
        self._due = 0.0

    def tell(self, numbers: Mapping[str, Any]) -> None:
        """Replace the file with these numbers, if the next write is due."""
        began = time.monotonic()
        if began < self._due:
            return
        if not self._due:
            forget_gone(self._store)
        content = {"told_at": datetime.now(UTC).isoformat(), **numbers}
        with suppress(OSError):
            publish(self._path, json.dumps(content).encode())
        now = time.monotonic()
        self._due = now + max(TELL_SECONDS, (now - began) / _SHARE)

    def out(self) -> None:
        """Remove the file: the launch is over."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def heard(store: Path) -> list[Told]:
    """Return the progress of all launches that are not taken to be dead, the latest last."""
    return [told for _, told in _files(store) if told.age < STALE_SECONDS]


def forget_gone(store: Path) -> None:
    """Remove the files of launches that are taken to be dead."""
    with suppress(OSError):
        for path, told in _files(store):
            if told.age >= STALE_SECONDS:
                path.unlink(missing_ok=True)


def _files(store: Path) -> Iterator[tuple[Path, Told]]:
    for path in layout.published(store / layout.PROGRESS, ".json"):
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            numbers = json.loads(location.read(path, _LARGEST))
            age = datetime.now(UTC) - datetime.fromisoformat(numbers.pop("told_at"))
            yield path, Told(path.stem, numbers, age.total_seconds())
