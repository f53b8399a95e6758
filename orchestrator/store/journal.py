"""The journal of a launch: what was dispatched, finished, failed or retried, when and where.

Advisory: it may be deleted. One writer; parts are published whole and never changed. The
time between parts grows with the launch, so that a week of work makes a few hundred.
"""

import json
import time
from pathlib import Path
from typing import Any

from orchestrator.store import layout
from orchestrator.store.clock import LaunchClock
from orchestrator.store.files import publish


class Journal:
    """Collects events and publishes them in parts: after 1 s, later after 2 % of the time."""

    def __init__(self, store: Path, launch: str, clock: LaunchClock) -> None:
        self._store, self._launch, self._clock = store, launch, clock
        self._part = 0
        self._events: list[str] = []
        self._began = self._flushed = time.monotonic()

    def note(self, event: str, **details: Any) -> None:
        """Add an event; `details` are columns of schema.ATTEMPTS."""
        now = self._clock.now().isoformat(timespec="microseconds")
        line = {"launch": self._launch, "noted_at": now, "event": event, **details}
        self._events.append(json.dumps(line))

    def flush(self, *, force: bool = False) -> None:
        """Publish what was noted, when a part is due; where that fails, with the next."""
        now = time.monotonic()
        due = now - self._flushed >= max(1.0, 0.02 * (now - self._began))
        if self._events and (due or force):
            self._flushed = now
            content = "\n".join(self._events) + "\n"
            try:
                publish(self._store / layout.journal(self._launch, self._part), content.encode())
            except OSError:
                return  # advisory: a store that is full or away must not end the launch
            self._part, self._events = self._part + 1, []
