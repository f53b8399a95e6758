"""Segments: flat, sorted tables of many results, and where in them a key is.

A segment is never changed, so what a process has learnt of one stays true while its file stands.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from orchestrator.store import layout, schema

GROUP = 16_384
"""Rows of a row group: what is read to find one row of a segment."""

_PREFIX = 16
"""Hexadecimal digits of a key in the index: 8 bytes of memory for each result."""


def segments(store: Path) -> list[Path]:
    """The `tasks` files of published segments."""
    return [
        p
        for p in layout.published(store / layout.SEGMENTS, ".parquet")
        if p.name.startswith("tasks-")
    ]


def segment_keys(path: Path) -> list[str]:
    """Keys of the tasks in a segment."""
    keys: list[str] = pq.ParquetFile(path).read(columns=["key"])["key"].to_pylist()
    return keys


def segment_parts(head: Path) -> dict[str, Path]:
    """The other files, by table, of the segment whose `tasks` file is `head`."""
    parts = {table: layout.part(head, table) for table in schema.PARTS}
    return {t: path for t, path in parts.items() if t != "measurements" or path.exists()}


def find_compacted(store: Path, key: str) -> dict[str, Any] | None:
    """The row of schema.LIVE that segments hold for a key, or None."""
    for head in segments(store):
        status = head.stat()
        prefixes, groups = _index(head, status.st_mtime_ns, status.st_size)
        if not _holds(prefixes, key):
            continue
        for row in _rows_of(head, "key", key, groups):
            return {**row, **_parts_of(head, key)}
    return None


def _holds(prefixes: npt.NDArray[np.uint64], key: str) -> bool:
    wanted = np.uint64(int(key[:_PREFIX], 16))
    place = int(np.searchsorted(prefixes, wanted))
    return place < len(prefixes) and bool(prefixes[place] == wanted)


def _parts_of(head: Path, key: str) -> dict[str, Any]:
    found = {}
    for table, path in segment_parts(head).items():
        column = schema.PARTS[table].names[0]
        rows = list(_rows_of(path, column, key, _ranges(pq.ParquetFile(path), column)))
        items = [{name: row[name] for name in row if name != column} for row in rows]
        found[table] = items or None
    return found


Ranges = tuple[tuple[str, str], ...]


@lru_cache(maxsize=64)
def _index(head: Path, _changed: int, _size: int) -> tuple[npt.NDArray[np.uint64], Ranges]:
    """First digits of all keys, sorted, and what each row group ranges over."""
    prefixes = [int(key[:_PREFIX], 16) for key in segment_keys(head)]
    return np.sort(np.array(prefixes, dtype=np.uint64)), _ranges(pq.ParquetFile(head), "key")


def _ranges(file: pq.ParquetFile, column: str) -> Ranges:
    """Least and largest of a column by row group; of everything where the file does not say."""
    place = file.schema_arrow.get_field_index(column)
    found = []
    for group in range(file.num_row_groups):
        known = file.metadata.row_group(group).column(place).statistics
        said = known is not None and known.has_min_max
        found.append((known.min, known.max) if said else ("", "~"))
    return tuple(found)


def _rows_of(path: Path, column: str, key: str, ranges: Ranges) -> Iterator[dict[str, Any]]:
    groups = [group for group, (least, most) in enumerate(ranges) if least <= key <= most]
    if groups:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        table = file.read_row_groups(groups)
        keys = table[column].to_numpy()
        yield from table.take(np.flatnonzero(keys == key)).to_pylist()
