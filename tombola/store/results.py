"""Results: one Parquet file for each task. A task is committed when its file exists.

A result is stored exactly once: its file is named by the task's key, and a second result for
that key is compared with the first and never replaces it. The worker commits
(`orchestrator/node/worker.py`): `committing` compares, and `publish.publish_all` writes.
"""

import errno
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.values.key import digest
from tombola.errors import DamagedFile, DeterminismAlarm
from tombola.store import layout, location, parquet, revisions, schema
from tombola.store.compare import RESULT, Compared, differences
from tombola.store.location import contents, place_in_store
from tombola.store.publish import File
from tombola.store.segments import (
    GROUP,
    Compacted,
    segment_digests,
    segment_keys,
    segment_rows,
    segments,
)

Row = dict[str, Any]

_SMALL = 1 << 20
"""Bytes up to which reading is faster without threads."""


@dataclass(frozen=True)
class Inventory:
    """The content of a store: keys of results and masks, and (run key, step) of states."""

    results: frozenset[str] = field(default_factory=frozenset)
    masks: frozenset[str] = field(default_factory=frozenset)
    states: frozenset[tuple[str, int]] = field(default_factory=frozenset)


def inventory(store: Path) -> Inventory:
    """List the store: live results before segments, as compaction moves them in that order."""
    live = {path.stem for path in layout.published(store / layout.LIVE, ".parquet")}
    compacted = {key for segment in segments(store) for key in segment_keys(segment)}
    states = layout.published(store / layout.STATES, ".safetensors")
    return Inventory(
        results=frozenset(live | compacted),
        masks=frozenset(
            path.stem for path in layout.published(store / layout.MASKS, ".safetensors")
        ),
        states=frozenset((path.parent.name, int(path.stem)) for path in states),
    )


def committing(store: Path, row: Row, earlier: Row | None) -> list[File]:
    """Return the file that commits a result, or no file if the `earlier` result is the same.

    Raises
    ------
    DeterminismAlarm
        When the `earlier` result differs.
    """
    row = {**row, "digest": result_digest(row)}
    row["checksum"] = row_checksum(row)
    if earlier is None:
        content = encode(schema.FOLDED, [schema.fold(row)])
        return [(store / layout.result(row["key"]), content)]
    if earlier["digest"] != row["digest"] and (apart := differences(earlier, row)):
        raise DeterminismAlarm(alarm(earlier, row, apart[0]))
    return []


def agree(store: Path, row: Row) -> None:
    """Compare a run that was repeated for one of its states with its stored result.

    Raises
    ------
    DeterminismAlarm
        When they differ at a step that both evaluated.
    """
    earlier = find(store, row["key"])
    if earlier is None:
        return
    both = _moments(earlier) & _moments(row)
    old, new = (
        {"evals": [item for item in run["evals"] if (item["step"], item["split"]) in both]}
        for run in (earlier, row)
    )
    if apart := differences(old, new):
        raise DeterminismAlarm(alarm(earlier, row, apart[0]))


def _moments(row: Row) -> set[tuple[int, str]]:
    return {(item["step"], item["split"]) for item in row["evals"]}


def alarm(earlier: Row, later: Row, apart: Compared) -> str:
    """Return the message for two results that differ, with the origin of each."""

    def origin(row: Row) -> str:
        return f"{row['worker']} (launch {row['launch']}, torch {row['torch']})"

    return (
        f"determinism alarm: {later['kind']} {later['key'][:12]} came out differently on "
        f"{origin(later)} than on {origin(earlier)}; the first result was kept; "
        f"earlier and later {apart}"
    )


def find(store: Path, key: str) -> Row | None:
    """Return the result of a key, live or compacted, or None."""
    return finder(store, [key])(key)


def finder(store: Path, keys: Sequence[str]) -> Callable[[str], Row | None]:
    """Return a `find` for these keys, which reads the live results together.

    Live results are read before segments are listed, as compaction moves them in that order.
    """
    paths = {key: store / layout.result(key) for key in keys}
    live = dict(zip(keys, contents(list(paths.values())), strict=True))
    compacted = Compacted(store) if None in live.values() else None

    def find_row(key: str) -> Row | None:
        content = live[key]
        if content is not None:
            return parse_row(paths[key], content)
        return compacted.find(key) if compacted else None

    return find_row


def rows(store: Path) -> Iterator[tuple[Path, Row]]:
    """Yield every result once, with the file that it was read from.

    Raises
    ------
    DamagedFile
        When a file is damaged.
    """
    live = list(layout.published(store / layout.LIVE, ".parquet"))
    seen: set[str] = set()
    for head in segments(store):
        with parquet.checked(head):
            for row in segment_rows(head):
                if row["key"] not in seen:
                    seen.add(row["key"])
                    yield head, row
    yield from _live_rows(store, [path for path in live if path.stem not in seen])


def digests(store: Path) -> dict[str, str]:
    """Return the digest of every result, by key; errors are those of `rows`."""
    live = list(layout.published(store / layout.LIVE, ".parquet"))
    merged: dict[str, str] = {}
    for head in segments(store):
        with parquet.checked(head):
            merged = segment_digests(head) | merged
    fresh = [path for path in live if path.stem not in merged]
    return merged | {path.stem: row["digest"] for path, row in _live_rows(store, fresh)}


def _live_rows(store: Path, paths: list[Path]) -> Iterator[tuple[Path, Row]]:
    """Yield live results; for a result that was compacted meanwhile, the row of its segment."""
    for path, content in zip(paths, contents(paths), strict=True):
        row = find(store, path.stem) if content is None else parse_row(path, content)
        if row is not None:
            yield path, row


def check(path: Path, row: Row) -> None:
    """Raise a DamagedFile if a result, read from `path`, does not match its checksum and key."""
    whole = digest(row["value"]) == row["key"] and row_checksum(row) == row["checksum"]
    whole &= isinstance(json.loads(row["value"]), dict)
    if not whole or (path.parent.parent.name == "live" and path.stem != row["key"]):
        raise DamagedFile.altered(path, f"{row['key'][:12]} is not what was written")


def result_digest(row: Row) -> str:
    """Return the SHA-256 of the computed columns of a row, without its provenance."""
    columns = _known({name: row.get(name) for name in RESULT})
    return hashlib.sha256(json.dumps(columns, sort_keys=True).encode()).hexdigest()


def row_checksum(row: Row) -> str:
    """Return the SHA-256 of all columns of a row but `checksum`."""
    fields = _known({name: row.get(name) for name in schema.LIVE.names if name != "checksum"})
    text = json.dumps(fields, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def encode(
    table_schema: pa.Schema, rows: list[Row] | pa.Table, metadata: dict[str, str] | None = None
) -> bytes:
    """Encode rows as a Parquet file with checksums of its pages and of the whole file."""
    about = {**(table_schema.metadata or {}), **(metadata or {})}
    columns = parquet.bare(table_schema).with_metadata(about)
    if isinstance(rows, pa.Table):
        table = rows.select(columns.names).cast(columns)
    else:
        table = pa.Table.from_pylist(rows, schema=columns)
    sink = io.BytesIO()
    many = len(rows) > 1  # statistics, dictionaries and compression do not pay for one row
    pq.write_table(
        table,
        sink,
        compression="zstd" if many else "none",
        write_page_checksum=True,
        write_statistics=many,
        use_dictionary=many,
        store_schema=many or metadata is not None,
        row_group_size=GROUP,
    )
    return parquet.with_checksums(sink.getvalue())


def read(path: Path) -> pa.Table:
    """Read and check a Parquet file of the store; a live result is a row of schema.LIVE.

    Raises
    ------
    DamagedFile
        When it is damaged.
    FileNotFoundError
        When it is missing.
    """
    return parse(path, _content(path))


def parse(path: Path, content: bytes) -> pa.Table:
    """Check the content of a Parquet file, and return what `read` does."""
    if _is_live(path):
        return pa.Table.from_pylist([parse_row(path, content)], schema=parquet.bare(schema.LIVE))
    with parquet.checked(path):
        file = parquet.parsed(content)
        if place_in_store(path)[:1] == (layout.SWEEPS,):
            return revisions.trials(file, revisions.revision(path, file))
        return parquet.table(
            file, parquet.bare(parquet.declared(path)), threads=len(content) > _SMALL
        )


def _is_live(path: Path) -> bool:
    return "/".join(place_in_store(path)[:2]) == layout.LIVE


def read_row(path: Path) -> Row:
    """Read the row of a live result (schema.LIVE); errors are those of `read`."""
    return parse_row(path, _content(path))


def _content(path: Path) -> bytes:
    """Read a file, and refuse one that is larger than any that a store writes."""
    try:
        return location.read(path, parquet.LARGEST_ROW if _is_live(path) else location.LARGEST)
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        raise DamagedFile.altered(path, error.strerror) from None


def parse_row(path: Path, content: bytes) -> Row:
    """Check the content of a live result, and return what `read_row` does."""
    with parquet.checked(path):
        file = parquet.parsed(content, one=True)
        if file.schema_arrow.names == schema.FOLDED.names:
            return schema.unfold(parquet.table(file, parquet.bare(schema.FOLDED))["row"][0].as_py())
        # written by a version before FOLDED
        rows: list[Row] = parquet.table(file, parquet.bare(schema.LIVE)).to_pylist()
        return rows[0]


def _known(row: Row) -> Row:
    """Return a row without the null columns that files of the first version lack."""
    return {
        name: [_known(part) for part in item] if isinstance(item, list) else item
        for name, item in row.items()
        if item is not None or name not in schema.ADDED
    }
