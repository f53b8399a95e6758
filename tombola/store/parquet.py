"""The Parquet files of a store: written with checksums, and read with the declared columns only.

Parquet has checksums for its pages, and none for page headers and the footer. So a file of the
store holds two more checksums just before the footer, where Parquet readers do not look: a
SHA-256 of the footer, and a SHA-256 of everything else and the footer. A process compares both
once for each version of a file; 100 MB take 0.1 s. Older files lack these checksums.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tombola.errors import DamagedFile
from tombola.store import layout, schema
from tombola.store.location import place_in_store, source, version

_BEGIN, _END = b"TOMBOLA<", b">TOMBOLA"
_CHECKSUMS = len(_BEGIN) + 2 * 32 + len(_END)
_AT_ONCE = 1 << 20
"""Bytes that are read at a time."""

LARGEST_ROW = 1 << 26
"""The most bytes of one result, in its file and in memory."""

_LARGEST = 1 << 32
"""The most bytes of a table in memory: no store writes a larger one."""


@contextmanager
def checked(path: Path) -> Iterator[None]:
    """Raise a DamagedFile for any error of reading a file that is there and readable."""
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError, MemoryError) as error:
        raise DamagedFile.altered(path, error) from None


@cache
def bare(declared: pa.Schema) -> pa.Schema:
    """Return the columns without their comments, which would triple the size of a result."""
    return pa.schema([(field.name, _bare(field.type)) for field in declared])


def _bare(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(_bare(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, field.type) for field in kind])
    return kind


def declared(path: Path) -> pa.Schema:
    """Return the columns that the store declares for the Parquet file at this path."""
    top = place_in_store(path)[:1]
    if top == (layout.REPEATS,):
        return schema.REPEATS
    if top == (layout.JOURNAL,):
        return schema.ATTEMPTS
    return {"tasks": schema.TASKS, **schema.PARTS}[path.name.partition("-")[0]]


class Damage(ValueError):
    """A file is damaged or not of a store; the message says why."""


def with_checksums(content: bytes) -> bytes:
    """Return a Parquet file with checksums before its footer."""
    end = content[len(content) - _end_length(content[-12:], len(content)) :]
    front = content[: len(content) - len(end)]
    whole = hashlib.sha256(front + end).digest()
    return b"".join([front, _BEGIN, hashlib.sha256(end).digest(), whole, _END, end])


def has_checksums(content: bytes) -> bool:
    """Return whether a file has checksums; raise Damage if they do not match."""
    return _check(pa.BufferReader(content))


def opened(path: Path) -> pq.ParquetFile:
    """Check and open a large file, to read parts of it.

    Raises
    ------
    FileNotFoundError, PermissionError
        When it is missing or not readable.
    Damage
        When it is damaged.
    """
    file = source(path)
    if isinstance(file, Path):
        _check_file(file, *version(file))
    else:
        _check_copy(file)
    return _file(file)


def parsed(content: bytes, *, one: bool = False) -> pq.ParquetFile:
    """Check and open the content of a file; with `one`, a file of one row.

    Raises
    ------
    Damage
        When it is damaged.
    """
    if one and len(content) > LARGEST_ROW:
        raise Damage(f"is larger than {LARGEST_ROW:,} bytes")
    _check(pa.BufferReader(content))
    file = _file(pa.BufferReader(content))
    if one:
        _check_size(file, LARGEST_ROW)
        if file.metadata.num_rows != 1:
            raise Damage(f"has {file.metadata.num_rows:,} rows instead of 1")
    return file


def table(file: pq.ParquetFile, declared: pa.Schema, *, threads: bool = False) -> pa.Table:
    """Read the declared columns of a file; columns that a later version added may be null.

    Raises
    ------
    Damage
        When a page is damaged, or a column is missing or has another type.
    """
    check_columns(file.schema_arrow, declared)
    try:
        return conform(file.read(columns=declared.names, use_threads=threads), declared)
    except (OSError, pa.ArrowException, MemoryError) as error:
        raise Damage(error) from None


def check_columns(found: pa.Schema, declared: pa.Schema) -> None:
    """Compare the columns of a file with the declared ones.

    Raises
    ------
    Damage
        When a column is missing, is there twice, or has another type.
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
    """Return the declared columns of a table; missing columns are null."""
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
    """Return whether a type is the declared one; a nested type of an older file may lack fields."""
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
        raise Damage("claims more values than it can hold")
    if sum(chunk.total_uncompressed_size for chunk in chunks) > most:
        raise Damage(f"holds more than {most:,} bytes")


@lru_cache(maxsize=4096)
def _check_file(path: Path, changed: object, size: int) -> None:  # noqa: ARG001
    with pa.OSFile(str(path)) as file:
        _check(file)


@lru_cache(maxsize=256)
def _check_copy(copied: pa.NativeFile) -> None:
    _check(copied)


def _check(file: pa.NativeFile) -> bool:
    """Compare a file with its checksums; return whether it has any.

    Raises
    ------
    Damage
        When they differ.
    """
    size = file.size()
    length = _end_length(file.read_at(min(size, 12), max(0, size - 12)), size)
    end = file.read_at(length, size - length)
    checksums = _stored_checksums(
        file.read_at(min(_CHECKSUMS, size - length), max(0, size - length - _CHECKSUMS)), end
    )
    if checksums is None:
        _check_without(file, size)
        return False
    whole = hashlib.sha256()
    for part in _parts(file, size - length - _CHECKSUMS):
        whole.update(part)
    whole.update(end)
    _compare(checksums[32:], whole)
    return True


def _check_without(file: pa.NativeFile, size: int) -> None:
    last = b""
    for part in _parts(file, size):
        if _BEGIN in (seen := last + part) or _END in seen:
            raise Damage("its checksums are not where they were written")
        last = part[-len(_BEGIN) :]


def _parts(file: pa.NativeFile, count: int) -> Iterator[bytes]:
    """Yield the first `count` bytes of a file in parts."""
    for place in range(0, count, _AT_ONCE):
        yield file.read_at(min(_AT_ONCE, count - place), place)


def _end_length(last: bytes, size: int) -> int:
    """Return the length of a Parquet file's end: the footer, its length, the magic number."""
    if len(last) < 12 or last[-4:] != b"PAR1":
        raise Damage("does not end like a Parquet file")
    length = int.from_bytes(last[-8:-4], "little") + 8
    if length > size:
        raise Damage("its footer claims to be longer than the file")
    return length


def _stored_checksums(before: bytes, end: bytes) -> bytes | None:
    """Return the two checksums before the footer, after comparing the first; None without them.

    They stand between two marks, so that one damaged byte cannot hide them.
    """
    begins, ends = before.startswith(_BEGIN), before.endswith(_END)
    if len(before) < _CHECKSUMS or not (begins or ends):
        return None
    if not (begins and ends):
        raise Damage("its checksums are damaged")
    checksums = before[len(_BEGIN) : -len(_END)]
    _compare(checksums[:32], hashlib.sha256(end))
    return checksums


def _compare(stored: bytes, computed: Any) -> None:
    if computed.digest() != stored:
        raise Damage("its checksum does not match")
