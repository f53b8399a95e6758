"""Compaction: merge many live results into one segment of flat, sorted tables.

The segment is published, its `tasks` file last, before the live results are removed. A reader
that sees a row in both takes it once, so each row is seen once at any moment.
"""

import fcntl
import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tombola.errors import TombolaError
from tombola.store import journal, layout, schema
from tombola.store.location import contents, remote, remove
from tombola.store.publish import publish
from tombola.store.results import Row, encode, parse_row
from tombola.store.segments import segment_keys, segments

SEGMENT = 20_000
"""The most results of a segment, and in memory at a time."""


def compact(store: Path, *, wait: bool = True) -> int:
    """Merge live results into segments, fold journals, and return the number of results merged.

    Only one compaction runs at a time. If another one is running, this one waits for it; without
    `wait` it returns 0.
    """
    with _locked(store, wait) as locked:
        if not locked:
            return 0
        journal.fold(store)
        return _merge(store)


class Background:
    """Compaction during a launch, in a thread, each time `enough` results have gathered.

    `pause` is the least number of seconds between two compactions.
    """

    def __init__(self, store: Path, enough: int = 5_000, pause: float = 120.0) -> None:
        self._store, self._enough, self._pause = store, enough, pause
        live = sum(1 for _ in layout.published(store / layout.LIVE, ".parquet"))
        self._merged = -live  # live results of earlier launches count as not merged
        self._ended = -pause
        self._thread: threading.Thread | None = None

    def tend(self, done: int) -> None:
        """Start a compaction if it is due after `done` tasks of the launch; return at once."""
        if self._thread and self._thread.is_alive():
            return
        if done - self._merged >= self._enough and time.monotonic() - self._ended >= self._pause:
            self._merged = done
            self._thread = threading.Thread(target=self._compact, name="compaction")
            self._thread.start()

    def finish(self, done: int) -> None:
        """Merge the remaining results at the end of a launch, if there are enough."""
        self.close()
        if done - self._merged >= self._enough:
            self._compact()

    def close(self) -> None:
        """Wait for a running compaction."""
        if self._thread:
            self._thread.join()

    def _compact(self) -> None:
        # Compaction is optional: after an error the launch continues, and `verify` tells the cause.
        with suppress(TombolaError, OSError):
            compact(self._store, wait=False)
        self._ended = time.monotonic()


@contextmanager
def _locked(store: Path, wait: bool) -> Iterator[bool]:
    """Lock the segments of a store; yield False if another process has locked them.

    The lock is advisory: two compactions at once make segments that overlap, and readers take
    each row once.
    """
    if remote(store):
        yield True  # object storage has no locks
        return
    (store / layout.SEGMENTS).mkdir(parents=True, exist_ok=True)
    with (store / layout.SEGMENTS / ".compacting").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        except OSError:
            pass  # a file system without locks
        yield True


def _merge(store: Path) -> int:
    paths = list(layout.published(store / layout.LIVE, ".parquet"))
    held = {key for segment in segments(store) for key in segment_keys(segment)}
    merged = 0
    for first in range(0, len(paths), SEGMENT):
        batch = paths[first : first + SEGMENT]
        fresh = [path for path in batch if path.stem not in held]
        pairs = zip(fresh, contents(fresh), strict=True)  # None: another process has merged it
        rows = [parse_row(path, content) for path, content in pairs if content is not None]
        if rows:
            publish_segment(store, rows)
        remove(batch)
        merged += len(rows)
    return merged


def publish_segment(store: Path, rows: list[Row]) -> None:
    """Publish results (rows of schema.LIVE) as one segment."""
    rows.sort(key=lambda row: (row["kind"], row["key"]))
    tables = {table: (of, _flatten(rows, table, of.names[0])) for table, of in schema.PARTS.items()}
    if not tables["measurements"][1]:
        del tables["measurements"]
    tables["tasks"] = (schema.TASKS, rows)
    identity = hashlib.sha256("".join(row["key"] for row in rows).encode()).hexdigest()[:16]
    for table, (table_schema, flat) in tables.items():
        publish(store / layout.segment(table, identity), encode(table_schema, flat))


def _flatten(rows: list[Row], table: str, key: str) -> list[Row]:
    return [{key: row["key"], **item} for row in rows for item in row[table] or ()]
