"""A store's Parquet files: sealed when they are written, and read as what was declared alone.

Parquet's pages have checksums of their own; what says where they are and what they mean, the
end of the file, has none. So a file carries a seal just before that end, where Parquet looks at
nothing: a SHA-256 of the end, which whoever opens the file compares, and one of all else with
it, which whoever reads the whole file compares. Older files have no seal.
"""

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tombola.store import schema
from tombola.store.location import source, tail

_BEGIN, _END = b"TOMBOLA<", b">TOMBOLA"
_SEAL = len(_BEGIN) + 2 * 32 + len(_END)
_TAIL = 1 << 16
"""Bytes that are read to find the end of a file; most ends are shorter."""

LARGEST_ROW = 1 << 26
"""Bytes of one result, as it is kept and as it is read."""

_LARGEST = 1 << 32
"""Bytes of a table, as it is read: what says more was not written by a store."""


class Damage(ValueError):
    """What is read is no whole file of a store; the message says why."""


def sealed(content: bytes) -> bytes:
    """The same Parquet file with a seal."""
    end = content[len(content) - _end_length(content) :]
    front = content[: len(content) - len(end)]
    whole = hashlib.sha256(front + end).digest()
    return b"".join([front, _BEGIN, hashlib.sha256(end).digest(), whole, _END, end])


def check_whole(content: bytes) -> None:
    """Compare all of a file with its seal, where it has one.

    Raises
    ------
    Damage
        When they differ.
    """
    length = _end_length(content)
    front, end = content[: len(content) - length], content[len(content) - length :]
    seal = _seal(front, end)
    if seal is not None:
        front = front[:-_SEAL]
        _compare(seal[32:], hashlib.sha256(front + end))
    elif _BEGIN in content or _END in content:
        raise Damage("its seal is not where it was")


def opened(path: Path) -> pq.ParquetFile:
    """A large file, of which its readers take what they need; its end is compared with its seal.

    Raises
    ------
    FileNotFoundError, PermissionError
        When it is not there, or not for us.
    Damage
        When it is not what was written.
    """
    last, size = tail(path, _TAIL)
    length = _end_length(last)
    if length + _SEAL > len(last) < size:
        last, _ = tail(path, length + _SEAL)
    _seal(last[: len(last) - length], last[len(last) - length :])
    return _file(source(path))


def parsed(content: bytes, *, one: bool = False) -> pq.ParquetFile:
    """A file that was read already, all of it compared with its seal; with `one`, of one row.

    Raises
    ------
    Damage
        When it is not what was written.
    """
    if one and len(content) > LARGEST_ROW:
        raise Damage(f"is larger than {LARGEST_ROW:,} bytes")
    check_whole(content)
    file = _file(pa.BufferReader(content))
    if one:
        _check_size(file, LARGEST_ROW)
        if file.metadata.num_rows != 1:
            raise Damage(f"has {file.metadata.num_rows:,} rows where a result has one")
    return file


def table(file: pq.ParquetFile, declared: pa.Schema, *, threads: bool = False) -> pa.Table:
    """The declared columns of a file; those that a version added later are null where it has none.

    Raises
    ------
    Damage
        When a page is not what was written, or a column is missing or of another type.
    """
    check_columns(file.schema_arrow, declared)
    try:
        return conform(file.read(columns=declared.names, use_threads=threads), declared)
    except (OSError, pa.ArrowException, MemoryError) as error:
        raise Damage(error) from None


def check_columns(found: pa.Schema, declared: pa.Schema) -> None:
    """Compare a file's columns with the declared ones.

    Raises
    ------
    Damage
        When one is missing that its version wrote, one is there twice, or is of another type.
    """
    names = found.names
    if len(set(names)) != len(names):
        raise Damage("has a column twice")
    for field in declared:
        if field.name not in names:
            if field.name not in schema.ADDED:
                raise Damage(f"has no column {field.name}")
        elif not _same(found.field(field.name).type, field.type):
            kind = found.field(field.name).type
            raise Damage(f"its column {field.name} is {kind}, not {field.type}")


def conform(found: pa.Table, declared: pa.Schema) -> pa.Table:
    """The declared columns; those that are not there are null."""
    if found.schema.equals(declared):
        return found
    columns = [
        found[field.name].cast(field.type)
        if field.name in found.column_names
        else pa.nulls(len(found), field.type)
        for field in declared
    ]
    return pa.table(columns, schema=declared)


def _same(found: pa.DataType, declared: pa.DataType) -> bool:
    """Whether a column is of its declared type; of nested ones, as far as an older file goes."""
    if pa.types.is_list(declared):
        return pa.types.is_list(found) and _same(found.value_type, declared.value_type)
    if pa.types.is_struct(declared):
        return pa.types.is_struct(found) and all(
            _same(field.type, declared.field(field.name).type)
            for field in found
            if declared.get_field_index(field.name) >= 0
        )
    return bool(found == declared)


def _file(where: Any) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(where, page_checksum_verification=True)
        _check_size(file, _LARGEST)
        return file
    except (FileNotFoundError, PermissionError):
        raise
    except (OSError, pa.ArrowException, MemoryError) as error:
        raise Damage(error) from None


def _check_size(file: pq.ParquetFile, most: int) -> None:
    about = file.metadata
    groups = [about.row_group(place) for place in range(about.num_row_groups)]
    chunks = [group.column(place) for group in groups for place in range(group.num_columns)]
    if any(chunk.num_values > most for chunk in chunks):
        raise Damage("says to have more values than it can hold")
    if sum(chunk.total_uncompressed_size for chunk in chunks) > most:
        raise Damage(f"holds more than {most:,} bytes")


def _end_length(content: bytes) -> int:
    """Bytes of a Parquet file's end: its description, how long that is, and the magic number."""
    if len(content) < 12 or content[-4:] != b"PAR1":
        raise Damage("does not end as a Parquet file")
    return int.from_bytes(content[-8:-4], "little") + 8


def _seal(front: bytes, end: bytes) -> bytes | None:
    """The two checksums before the end, the first of which is compared; None where there are none.

    Each side of a seal says that there is one, so that no single damage hides it.
    """
    before = front[-_SEAL:]
    begins, ends = before.startswith(_BEGIN), before.endswith(_END)
    if len(before) < _SEAL or not (begins or ends):
        return None
    if not (begins and ends):
        raise Damage("its seal is altered")
    checksums = before[len(_BEGIN) : -len(_END)]
    _compare(checksums[:32], hashlib.sha256(end))
    return checksums


def _compare(said: bytes, found: Any) -> None:
    if found.digest() != said:
        raise Damage("its checksum is another than was written")
