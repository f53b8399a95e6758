"""The journal of a launch: its events (dispatched, finished, failed, retried, …) with times.

The journal is advisory: it may be deleted. A launch is its only writer. Parts are published
whole and never changed. The time between parts grows with the launch: a week of work makes a
few hundred parts. Compaction folds parts into tables, which take a tenth of the space and are
read by column.
"""

import hashlib
import json
import re
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json as pa_json

from tombola.store import layout, schema
from tombola.store.clock import LaunchClock
from tombola.store.location import contents, remove
from tombola.store.publish import publish
from tombola.store.results import encode

ENOUGH = 1 << 18
"""Bytes of a launch's journal from which it is folded."""

_BLOCK = 1 << 24


class Journal:
    """Collect events and publish them in parts, after 1 s or 2 % of the launch's time."""

    def __init__(self, store: Path, launch: str, clock: LaunchClock) -> None:
        self._store, self._launch, self._clock = store, launch, clock
        self._part = 0
        self._events: list[str] = []
        self._began = self._flushed = time.monotonic()

    def note(self, event: str, **details: Any) -> None:
        """Add an event; `details` are columns of schema.ATTEMPTS."""
        now = self._clock.now().isoformat(timespec="microseconds")
        line = {"launch": self._launch, "noted_at": now, "event": event, **details}
        self._events.append(with_checksum(json.dumps(line)))

    def flush(self, *, force: bool = False) -> None:
        """Publish the collected events when a part is due; after an error, with the next part."""
        now = time.monotonic()
        due = now - self._flushed >= max(1.0, 0.02 * (now - self._began))
        if self._events and (due or force):
            self._flushed = now
            content = "\n".join(self._events) + "\n"
            try:
                publish(self._store / layout.journal(self._launch, self._part), content.encode())
            except OSError:
                return  # a full or unreachable store must not end the launch
            self._part, self._events = self._part + 1, []


_SEALED = re.compile(r'(\{.*), "sha256": "([0-9a-f]{16})"\}')


def with_checksum(event: str) -> str:
    """Append the first digits of the SHA-256 of an event's JSON to it, as the last field."""
    return f'{event[:-1]}, "sha256": "{_checksum(event[:-1])}"}}'


def check(content: bytes) -> None:
    """Compare each event of a part with its checksum; events of older parts have none.

    Raises
    ------
    ValueError
        When the part is damaged.
    """
    lines = content.decode().removesuffix("\n").split("\n")
    seals = [_SEALED.fullmatch(line) for line in lines]
    for line, seal in zip(lines, seals, strict=True):
        if seal is None and any(seals):
            raise ValueError("is truncated or altered")
        if seal is not None and _checksum(seal[1]) != seal[2]:
            raise ValueError("is truncated or altered")
        try:
            event = json.loads(line)
        except RecursionError:
            raise ValueError("its JSON is nested too deeply") from None
        if not isinstance(event, dict):
            raise ValueError("a line of it is not an event")


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def fold(store: Path) -> None:
    """Fold the closed parts of large journals into tables; parts that cannot be read stay."""
    launches: dict[str, list[Path]] = defaultdict(list)
    for path in layout.journal_parts(store)[0]:
        if layout.part_number(path) >= 0:
            launches[path.parent.name].append(path)
    for launch, parts in launches.items():
        known = [content for content in contents(parts) if content is not None]
        if len(known) < len(parts) or sum(map(len, known)) < ENOUGH:
            continue
        try:
            events = _parsed(b"".join(known))
        except pa.ArrowException:
            continue
        first, last = layout.part_number(parts[0]), layout.part_number(parts[-1])
        publish(store / layout.folded_journal(launch, first, last), events)
        written = layout.published(store / layout.JOURNAL / launch, ".jsonl")
        remove(path for path in written if first <= layout.part_number(path) <= last)


def _parsed(content: bytes) -> bytes:
    """Convert lines of JSON into a Parquet file of schema.ATTEMPTS."""
    events = pa_json.read_json(
        pa.BufferReader(content),
        read_options=pa_json.ReadOptions(block_size=_BLOCK),
        parse_options=pa_json.ParseOptions(
            explicit_schema=pa.schema([(f.name, f.type) for f in schema.ATTEMPTS]),
            unexpected_field_behavior="ignore",
        ),
    )
    return encode(schema.ATTEMPTS, events)
