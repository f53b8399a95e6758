"""What time it is, for what is noted in a store: never before what was noted already.

A machine's clock may be set back or forward at any moment. No result and no decision hangs on
it; but the latest revision of a sweep is the current one, and the last event of a task says
how it stands, so these moments must grow. Inside a launch they follow the monotonic clock.
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
"""Characters of a launch's name that tell its second."""

_TICK = timedelta(microseconds=1)
"""What the journal tells apart."""


def now() -> datetime:
    """The machine's clock, UTC and without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


def after(moments: Iterable[str]) -> datetime:
    """Now, or just after the latest of these moments (ISO) where the clock was set back."""
    return max([now(), *(utc(moment) + _TICK for moment in moments)])


class LaunchClock:
    """The time of a launch's events: after those of all launches before, and always later."""

    def __init__(self, store: Path) -> None:
        self.began = after(_last_noted(store))
        self._origin, self._last = time.monotonic(), self.began

    def now(self) -> datetime:
        """The launch's beginning and the time since then; no moment is given twice."""
        moment = self.began + timedelta(seconds=time.monotonic() - self._origin)
        self._last = max(moment, self._last + _TICK)
        return self._last


def _last_noted(store: Path) -> Iterable[str]:
    """When the last launch noted its last event; of several in one second, all of theirs."""
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
