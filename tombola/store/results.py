"""Results: one Parquet file for each task, whose presence is the commit.

Exactly once by construction: the file is named by the task's key, and a second result for
that key is compared with the first and never replaces it.
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
"""Bytes up to which threads cost a reader more than they give."""


@dataclass(frozen=True)
class Inventory:
    """What a store holds: keys of results and masks, and (run key, step) of states."""

    results: frozenset[str] = field(default_factory=frozenset)
    masks: frozenset[str] = field(default_factory=frozenset)
    states: frozenset[tuple[str, int]] = field(default_factory=frozenset)


def inventory(store: Path) -> Inventory:
    """List the store. Live results are listed before segments: compaction moves them so."""
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
    """The file whose publication commits a result; none where the `earlier` one is the same.

    Raises
    ------
    DeterminismAlarm
        When the store holds another one for this key.
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
    """Compare a run redone for a state, up to its last step, with the result that is stored.

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
        {"evals": [e for e in one["evals"] if (e["step"], e["split"]) in both]}
        for one in (earlier, row)
    )
    if apart := differences(old, new):
        raise DeterminismAlarm(alarm(earlier, row, apart[0]))


def _moments(row: Row) -> set[tuple[int, str]]:
    return {(one["step"], one["split"]) for one in row["evals"]}


def alarm(earlier: Row, later: Row, apart: Compared) -> str:
    """What to tell of two results that part, with where each came from."""

    def whence(row: Row) -> str:
        return f"{row['worker']} (launch {row['launch']}, torch {row['torch']})"

    return (
        f"determinism alarm: {later['kind']} {later['key'][:12]} came out differently on "
        f"{whence(later)} than on {whence(earlier)}; the first result was kept; "
        f"earlier and later {apart}"
    )


def find(store: Path, key: str) -> Row | None:
    """The result of a key, live or compacted, or None."""
    return finder(store, [key])(key)


def finder(store: Path, keys: Sequence[str]) -> Callable[[str], Row | None]:
    """`find` for some keys, which a store that is far is asked for together.

    Live results are read before segments are listed: compaction moves them so.
    """
    paths = {key: store / layout.result(key) for key in keys}
    live = dict(zip(keys, contents(list(paths.values())), strict=True))
    compacted = Compacted(store) if None in live.values() else None

    def found(key: str) -> Row | None:
        content = live[key]
        if content is not None:
            return parse_row(paths[key], content)
        return compacted.find(key) if compacted else None

    return found


def rows(store: Path) -> Iterator[tuple[Path, Row]]:
    """Every result once, with the file that it was read from.

    Raises
    ------
    DamagedFile
        When a file is truncated or altered.
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
    """The digest of every result, by key; raises what `rows` does."""
    live = list(layout.published(store / layout.LIVE, ".parquet"))
    found: dict[str, str] = {}
    for head in segments(store):
        with parquet.checked(head):
            found = segment_digests(head) | found
    fresh = [path for path in live if path.stem not in found]
    return found | {path.stem: row["digest"] for path, row in _live_rows(store, fresh)}


def _live_rows(store: Path, paths: list[Path]) -> Iterator[tuple[Path, Row]]:
    """Live results; of what was merged meanwhile, the segment's row."""
    for path, content in zip(paths, contents(paths), strict=True):
        row = find(store, path.stem) if content is None else parse_row(path, content)
        if row is not None:
            yield path, row


def check(path: Path, row: Row) -> None:
    """Raise a DamagedFile where a result, read from `path`, is not what was written."""
    whole = digest(row["value"]) == row["key"] and row_checksum(row) == row["checksum"]
    whole &= isinstance(json.loads(row["value"]), dict)
    if not whole or (path.parent.parent.name == "live" and path.stem != row["key"]):
        raise DamagedFile.altered(path, f"{row['key'][:12]} is not what was written")


def result_digest(row: Row) -> str:
    """SHA-256 of what a task computed, its provenance left out."""
    found = _known({name: row.get(name) for name in RESULT})
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def row_checksum(row: Row) -> str:
    """SHA-256 of all of a row: pages have checksums of their own, the file's footer has none."""
    fields = _known({name: row.get(name) for name in schema.LIVE.names if name != "checksum"})
    text = json.dumps(fields, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def encode(
    table_schema: pa.Schema, rows: list[Row] | pa.Table, metadata: dict[str, str] | None = None
) -> bytes:
    """Rows as the bytes of a sealed Parquet file with checksummed pages."""
    about = {**(table_schema.metadata or {}), **(metadata or {})}
    columns = parquet.bare(table_schema).with_metadata(about)
    if isinstance(rows, pa.Table):
        table = rows.select(columns.names).cast(columns)
    else:
        table = pa.Table.from_pylist(rows, schema=columns)
    sink = io.BytesIO()
    many = len(rows) > 1  # for one row statistics, dictionaries and compression are dead weight
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
    return parquet.sealed(sink.getvalue())


def read(path: Path) -> pa.Table:
    """A Parquet file of the store, checked; a live result as a row of schema.LIVE.

    Raises
    ------
    DamagedFile
        When it is truncated or altered. A missing file is a FileNotFoundError.
    """
    return parse(path, _content(path))


def parse(path: Path, content: bytes) -> pa.Table:
    """The same of a file that was read already."""
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
    """A live result's row of schema.LIVE; raises what `read` does."""
    return parse_row(path, _content(path))


def _content(path: Path) -> bytes:
    """What is in a file that is no larger than a store writes it."""
    try:
        return location.read(path, parquet.LARGEST_ROW if _is_live(path) else location.LARGEST)
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        raise DamagedFile.altered(path, error.strerror) from None


def parse_row(path: Path, content: bytes) -> Row:
    """The same of a file that was read already."""
    with parquet.checked(path):
        file = parquet.parsed(content, one=True)
        if file.schema_arrow.names == schema.FOLDED.names:
            return schema.unfold(parquet.table(file, parquet.bare(schema.FOLDED))["row"][0].as_py())
        # as it was written before FOLDED
        rows: list[Row] = parquet.table(file, parquet.bare(schema.LIVE)).to_pylist()
        return rows[0]


def _known(row: Row) -> Row:
    """Without those columns that files of the first version lack, while they are null."""
    return {
        name: [_known(one) for one in item] if isinstance(item, list) else item
        for name, item in row.items()
        if item is not None or name not in schema.ADDED
    }
