"""Compaction: many live results become one segment of flat, sorted tables.

The segment is published before what it merged is removed, its `tasks` file last; a reader
that finds a row in both takes it once, so each row is seen once at any moment.
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
"""Results of a segment, and in memory at a time."""


def compact(store: Path, *, wait: bool = True) -> int:
    """Merge all live results into segments, and journals into tables; how many were merged.

    One at a time: another that is under way is waited for, or with `wait` false left to it (0).
    """
    with _alone(store, wait) as alone:
        if not alone:
            return 0
        journal.fold(store)
        return _merge(store)


class Background:
    """Compacts beside a launch: in a thread, once enough results have gathered, not too often."""

    def __init__(self, store: Path, enough: int = 5_000, pause: float = 120.0) -> None:
        self._store, self._enough, self._pause = store, enough, pause
        found = sum(1 for _ in layout.published(store / layout.LIVE, ".parquet"))
        self._merged = -found  # of this launch's results; those of earlier ones count, too
        self._ended = -pause
        self._thread: threading.Thread | None = None

    def tend(self, done: int) -> None:
        """Begin, if it is due when the launch has done so many tasks; never waits."""
        if self._thread and self._thread.is_alive():
            return
        if done - self._merged >= self._enough and time.monotonic() - self._ended >= self._pause:
            self._merged = done
            self._thread = threading.Thread(target=self._compact, name="compaction")
            self._thread.start()

    def finish(self, done: int) -> None:
        """Merge what is left of a launch that is over, if it is enough."""
        self.close()
        if done - self._merged >= self._enough:
            self._compact()

    def close(self) -> None:
        """Wait for what is under way."""
        if self._thread:
            self._thread.join()

    def _compact(self) -> None:
        # A convenience: where it cannot be had the launch goes on, and `verify` tells why.
        with suppress(TombolaError, OSError):
            compact(self._store, wait=False)
        self._ended = time.monotonic()


@contextmanager
def _alone(store: Path, wait: bool) -> Iterator[bool]:
    """Whether no other compaction runs, in any process.

    Advisory: two at once make segments that overlap, of which readers take each row once.
    """
    if remote(store):
        yield True  # no locks there
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
        read = zip(fresh, contents(fresh), strict=True)  # None: merged by another meanwhile
        rows = [parse_row(path, content) for path, content in read if content is not None]
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
