"""Segments: flat, sorted tables of many results, and where in them a key is.

A segment is never changed, so what a process has learnt of one stays true while its file stands.
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
"""Rows of a row group: what is read to find one row of a segment."""

_KEY = re.compile("[0-9a-f]{64}")
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
    with checked(path):
        keys: list[str | None] = _opened(path).read(columns=["key"])["key"].to_pylist()
    found = [key for key in keys if key is not None and _KEY.fullmatch(key)]
    if len(found) < len(keys):
        raise DamagedFile.altered(path, "a key in it is none")
    return found


def segment_parts(head: Path) -> dict[str, Path]:
    """Return the other files, by table, of the segment whose `tasks` file is `head`."""
    return {table: path for table in schema.PARTS for path in segment_files([head], table)}


def segment_files(heads: Sequence[Path], table: str) -> list[Path]:
    """Return the files of one table; a segment without measurements has none for them."""
    files = [layout.part(head, table) for head in heads]
    return [path for path in files if table != "measurements" or is_file(path)]


def segment_digests(path: Path) -> dict[str, str]:
    """Digests of the results in a segment, by key."""
    with checked(path):
        table = _opened(path).read(["key", "digest"])
    return dict(zip(table["key"].to_pylist(), table["digest"].to_pylist(), strict=True))


def segment_rows(head: Path) -> Iterator[dict[str, Any]]:
    """The rows of schema.LIVE that a segment holds."""
    parts: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for table, path in segment_parts(head).items():
        items = parts[table] = defaultdict(list)
        column = schema.PARTS[table].names[0]
        with checked(path):
            found = _opened(path).read().to_pylist()
        for item in found:
            items[item.pop(column)].append(item)
    for batch in _opened(head).iter_batches(GROUP):
        for row in batch.to_pylist():
            held = {table: items.get(row["key"]) for table, items in parts.items()}
            yield {**dict.fromkeys(schema.LIVE.names), **row, **held}


class _Whole(NamedTuple):
    """A file as it stands: what is cached of it holds for no other that takes its name."""

    path: Path
    changed: object
    size: int

    @classmethod
    def of(cls, path: Path) -> "_Whole":
        return cls(path, *version(path))


class Compacted:
    """The segments of a moment, in which any number of keys can be looked for."""

    def __init__(self, store: Path) -> None:
        self._heads = [_Whole.of(head) for head in segments(store)]

    def find(self, key: str) -> dict[str, Any] | None:
        """The row of schema.LIVE that segments hold for a key, or None."""
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
    """First digits of all keys of a segment, sorted."""
    prefixes = [int(key[:_PREFIX], 16) for key in segment_keys(head.path)]
    return np.sort(np.array(prefixes, dtype=np.uint64))


@lru_cache(maxsize=256)
def _ranges(file: _Whole, column: str) -> tuple[tuple[str, str], ...]:
    """Least and largest of a column by row group; of everything where the file does not say."""
    known = _opened(file.path)
    place = known.schema_arrow.get_field_index(column)
    found = []
    for group in range(known.num_row_groups):
        said = known.metadata.row_group(group).column(place).statistics
        whole = said is None or not said.has_min_max
        found.append(("", "~") if whole else (said.min, said.max))
    return tuple(found)


def _parts_of(head: Path, key: str) -> dict[str, Any]:
    found = {}
    for table, path in segment_parts(head).items():
        column = schema.PARTS[table].names[0]
        rows = list(_rows_of(path, column, key))
        items = [{name: row[name] for name in row if name != column} for row in rows]
        found[table] = items or None
    return found


def _rows_of(path: Path, column: str, key: str) -> Iterator[dict[str, Any]]:
    ranges = _ranges(_Whole.of(path), column)
    groups = [group for group, (least, most) in enumerate(ranges) if least <= key <= most]
    if groups:
        with checked(path):
            table = _opened(path).read_row_groups(groups)
        yield from table.filter(pc.equal(table[column], key)).to_pylist()


def _opened(path: Path) -> pq.ParquetFile:
    """A file of a segment, of which the end is whole and the columns are those declared."""
    with checked(path):
        file = opened(path)
        check_columns(file.schema_arrow, declared(path))
        return file
