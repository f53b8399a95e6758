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

from orchestrator.store import layout

_SECOND = len("20260101T000000Z")
"""Characters of a launch's name that tell its second."""


def now() -> datetime:
    """The machine's clock, UTC and without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


def after(moments: Iterable[str]) -> datetime:
    """Now, or just after the latest of these moments (ISO) where the clock was set back."""
    tick = timedelta(microseconds=1)
    return max([now(), *(datetime.fromisoformat(moment) + tick for moment in moments)])


class LaunchClock:
    """The time of a launch's events: after those of all launches before, and never backwards."""

    def __init__(self, store: Path) -> None:
        self.began = after(_last_noted(store))
        self._origin = time.monotonic()

    def now(self) -> datetime:
        """The launch's beginning and the time since then."""
        return self.began + timedelta(seconds=time.monotonic() - self._origin)


def _last_noted(store: Path) -> Iterable[str]:
    """When the last launch noted its last event; of several in one second, all of theirs."""
    parts = {path.parent.name: path for path in layout.published(store / layout.JOURNAL, ".jsonl")}
    latest = max((launch[:_SECOND] for launch in parts), default="")
    for launch, path in parts.items():
        if launch.startswith(latest):
            with suppress(OSError, ValueError, KeyError, TypeError):  # advisory, like the journal
                moment = json.loads(path.read_text().splitlines()[-1])["noted_at"]
                datetime.fromisoformat(moment)
                yield moment
