"""Timestamps for a store, which never go back, even if the clock of the machine does.

No result depends on the clock. But the latest revision of a sweep is the current one, and the
last event of a task is its status. So each new timestamp is later than all earlier ones. Within
a launch, timestamps follow the monotonic clock.
"""

import json
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from tombola.store import layout, parquet
from tombola.store.location import LARGEST, read
from tombola.store.revisions import utc

_SECOND = len("20260101T000000Z")
"""Length of the part of a launch's name that is its time, in seconds."""

_TICK = timedelta(microseconds=1)
"""The resolution of timestamps in the journal."""


def now() -> datetime:
    """Return the time of the machine's clock, UTC, without a time zone."""
    return datetime.now(UTC).replace(tzinfo=None)


def after(moments: Iterable[str]) -> datetime:
    """Return the time now, or just after the latest of these moments (ISO) if that is later."""
    return max([now(), *(utc(moment) + _TICK for moment in moments)])


class LaunchClock:
    """The clock of a launch's events: later than all earlier launches, and always growing."""

    def __init__(self, store: Path) -> None:
        self.began = after(_last_noted(store))
        self._origin, self._last = time.monotonic(), self.began

    def now(self) -> datetime:
        """Return the start of the launch plus the time since then; no time is returned twice."""
        moment = self.began + timedelta(seconds=time.monotonic() - self._origin)
        self._last = max(moment, self._last + _TICK)
        return self._last


def _last_noted(store: Path) -> Iterable[str]:
    """Yield the time of the last launch's last event, or of all launches of the last second."""
    parts, tables = layout.journal_parts(store)
    last = {(path.parent.name, path.suffix): path for path in [*tables, *parts]}
    latest = max((launch[:_SECOND] for launch, _ in last), default="")
    for (launch, _), path in last.items():
        if launch.startswith(latest):
            with suppress(
                OSError,
                ValueError,
                KeyError,
                TypeError,
                IndexError,
                RecursionError,
                pa.ArrowException,
            ):
                yield utc(_last_in(path)).isoformat()


def _last_in(path: Path) -> str:
    if path.suffix == ".parquet":
        noted = parquet.opened(path).read(["noted_at"])["noted_at"]
        return str(pc.max(noted).as_py().isoformat())
    return str(json.loads(read(path, LARGEST).splitlines()[-1])["noted_at"])
