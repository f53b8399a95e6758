"""Compaction: many live results become one segment of flat, sorted tables.

The segment is published before what it merged is removed, its `tasks` file last; a reader
that finds a row in both takes it once, so each row is seen once at any moment.
"""

import hashlib
from pathlib import Path

from orchestrator.store import layout, schema
from orchestrator.store.files import publish
from orchestrator.store.results import Row, encode, read_row
from orchestrator.store.segments import segment_keys, segments


def compact(store: Path) -> int:
    """Merge all live results into one segment; how many were merged."""
    paths = list(layout.published(store / layout.LIVE, ".parquet"))
    merged = {key for segment in segments(store) for key in segment_keys(segment)}
    rows = [read_row(path) for path in paths if path.stem not in merged]
    if rows:
        _publish(store, rows)
    for path in paths:
        path.unlink(missing_ok=True)
    return len(rows)


def _publish(store: Path, rows: list[Row]) -> None:
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
