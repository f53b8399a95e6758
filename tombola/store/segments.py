"""Segments: flat, sorted tables of many results, with an index of their keys.

A segment is never changed, so a process can cache its index as long as the file exists.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tombola.errors import DamagedFile
from tombola.store import layout, schema
from tombola.store.location import is_file, version
from tombola.store.parquet import check_columns, checked, declared, opened

GROUP = 16_384
"""Rows of a row group, the least that is read to find one row of a segment."""

_KEY = re.compile("[0-9a-f]{64}")
_PREFIX = 16
"""Hexadecimal digits of a key in the index, which takes 8 bytes of memory per result."""


def segments(store: Path) -> list[Path]:
    """List the `tasks` files of published segments."""
    files = layout.published(store / layout.SEGMENTS, ".parquet")
    return [path for path in files if path.name.startswith("tasks-")]


def segment_keys(path: Path) -> list[str]:
    """Return the keys of the tasks in a segment."""
    with checked(path):
        keys: list[str | None] = _opened(path).read(columns=["key"])["key"].to_pylist()
    valid = [key for key in keys if key is not None and _KEY.fullmatch(key)]
    if len(valid) < len(keys):
        raise DamagedFile.altered(path, "a key in it is not 64 hexadecimal digits")
    return valid


def segment_parts(head: Path) -> dict[str, Path]:
    """Return the other files, by table, of the segment whose `tasks` file is `head`."""
    return {table: path for table in schema.PARTS for path in segment_files([head], table)}


def segment_files(heads: Sequence[Path], table: str) -> list[Path]:
    """Return the files of one table; a segment without measurements has none for them."""
    files = [layout.part(head, table) for head in heads]
    return [path for path in files if table != "measurements" or is_file(path)]


def segment_digests(path: Path) -> dict[str, str]:
    """Return the digests of the results in a segment, by key."""
    with checked(path):
        table = _opened(path).read(["key", "digest"])
    return dict(zip(table["key"].to_pylist(), table["digest"].to_pylist(), strict=True))


def segment_rows(head: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a segment (schema.LIVE)."""
    parts: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for table, path in segment_parts(head).items():
        items = parts[table] = defaultdict(list)
        column = schema.PARTS[table].names[0]
        with checked(path):
            part = _opened(path).read().to_pylist()
        for item in part:
            items[item.pop(column)].append(item)
    for batch in _opened(head).iter_batches(GROUP):
        for row in batch.to_pylist():
            held = {table: items.get(row["key"]) for table, items in parts.items()}
            yield {**dict.fromkeys(schema.LIVE.names), **row, **held}


class _Whole(NamedTuple):
    """A version of a file, the key of caches: a later file of the same name differs."""

    path: Path
    changed: object
    size: int

    @classmethod
    def of(cls, path: Path) -> "_Whole":
        return cls(path, *version(path))


class Compacted:
    """The segments that a store has at one moment, to find keys in."""

    def __init__(self, store: Path) -> None:
        self._heads = [_Whole.of(head) for head in segments(store)]

    def find(self, key: str) -> dict[str, Any] | None:
        """Return the row of a key (schema.LIVE), or None."""
        for head in self._heads:
            if not _holds(_prefixes(head), key):
                continue
            for row in _rows_of(head.path, "key", key):
                return {**row, **_parts_of(head.path, key)}
        return None


def _holds(prefixes: npt.NDArray[np.uint64], key: str) -> bool:
    wanted = np.uint64(int(key[:_PREFIX], 16))
    place = int(np.searchsorted(prefixes, wanted))
    return place < len(prefixes) and bool(prefixes[place] == wanted)


@lru_cache(maxsize=64)
def _prefixes(head: _Whole) -> npt.NDArray[np.uint64]:
    """Return the first digits of all keys of a segment, sorted."""
    prefixes = [int(key[:_PREFIX], 16) for key in segment_keys(head.path)]
    return np.sort(np.array(prefixes, dtype=np.uint64))


@lru_cache(maxsize=256)
def _ranges(file: _Whole, column: str) -> tuple[tuple[str, str], ...]:
    """Return the minimum and maximum of a key column by row group, or all keys if unknown."""
    parquet = _opened(file.path)
    place = parquet.schema_arrow.get_field_index(column)
    ranges = []
    for group in range(parquet.num_row_groups):
        statistics = parquet.metadata.row_group(group).column(place).statistics
        unknown = statistics is None or not statistics.has_min_max
        ranges.append(("", "~") if unknown else (statistics.min, statistics.max))
    return tuple(ranges)


def _parts_of(head: Path, key: str) -> dict[str, Any]:
    parts = {}
    for table, path in segment_parts(head).items():
        column = schema.PARTS[table].names[0]
        rows = list(_rows_of(path, column, key))
        items = [{name: row[name] for name in row if name != column} for row in rows]
        parts[table] = items or None
    return parts


def _rows_of(path: Path, column: str, key: str) -> Iterator[dict[str, Any]]:
    ranges = _ranges(_Whole.of(path), column)
    groups = [group for group, (least, most) in enumerate(ranges) if least <= key <= most]
    if groups:
        with checked(path):
            table = _opened(path).read_row_groups(groups)
        yield from table.filter(pc.equal(table[column], key)).to_pylist()


def _opened(path: Path) -> pq.ParquetFile:
    """Open a file of a segment and check its columns."""
    with checked(path):
        file = opened(path)
        check_columns(file.schema_arrow, declared(path))
        return file
