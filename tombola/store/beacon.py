"""How far launches are, told in a file of each for whoever asks elsewhere (`tombola status`).

Advisory, and gone when the launch ends: a file that is left was a killed launch's.
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
"""Between two tellings; longer where one takes long, which is then a twentieth of the time."""

STALE_SECONDS = 300.0
"""After so long without a word a launch is taken to be gone."""

_SHARE = 0.05
_LARGEST = 1 << 20


class Told(NamedTuple):
    """The numbers that a launch told, and how many seconds ago."""

    launch: str
    numbers: Mapping[str, Any]
    age: float


class Beacon:
    """Tells how far one launch is."""

    def __init__(self, store: Path, launch: str) -> None:
        self._store, self._path = store, store / layout.progress(launch)
        self._due = 0.0

    def tell(self, numbers: Mapping[str, Any]) -> None:
        """Put the numbers in the place of those before, when that is due."""
        began = time.monotonic()
        if began < self._due:
            return
        if not self._due:
            forget_gone(self._store)
        told = {"told_at": datetime.now(UTC).isoformat(), **numbers}
        with suppress(OSError):
            publish(self._path, json.dumps(told).encode())
        now = time.monotonic()
        self._due = now + max(TELL_SECONDS, (now - began) / _SHARE)

    def out(self) -> None:
        """The launch is over."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def heard(store: Path) -> list[Told]:
    """What launches told that are not taken to be gone, the latest launch last."""
    return [told for _, told in _files(store) if told.age < STALE_SECONDS]


def forget_gone(store: Path) -> None:
    """Remove what launches left that are taken to be gone."""
    with suppress(OSError):
        for path, told in _files(store):
            if told.age >= STALE_SECONDS:
                path.unlink(missing_ok=True)


def _files(store: Path) -> Iterator[tuple[Path, Told]]:
    for path in layout.published(store / layout.PROGRESS, ".json"):
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            told = json.loads(location.read(path, _LARGEST))
            age = datetime.now(UTC) - datetime.fromisoformat(told.pop("told_at"))
            yield path, Told(path.stem, told, age.total_seconds())
