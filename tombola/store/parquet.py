"""A store's Parquet files: sealed when they are written, and read as what was declared alone.

Parquet's pages have checksums of their own; what says where they are and what they mean, their
headers and the end of the file, has none. So a file carries a seal just before that end, where
Parquet looks at nothing: a SHA-256 of the end, and one of all else with it. Whoever opens a file
compares both, once in a process while the file stays as it is: a hundred megabytes take a tenth
of a second. Older files have no seal.
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
_SEAL = len(_BEGIN) + 2 * 32 + len(_END)
_AT_ONCE = 1 << 20
"""Bytes that are read of a file at a time."""

LARGEST_ROW = 1 << 26
"""Bytes of one result, as it is kept and as it is read."""

_LARGEST = 1 << 32
"""Bytes of a table, as it is read: what says more was not written by a store."""


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
    """What is read is no whole file of a store; the message says why."""


def sealed(content: bytes) -> bytes:
    """The same Parquet file with a seal."""
    end = content[len(content) - _end_length(content[-12:], len(content)) :]
    front = content[: len(content) - len(end)]
    whole = hashlib.sha256(front + end).digest()
    return b"".join([front, _BEGIN, hashlib.sha256(end).digest(), whole, _END, end])


def is_sealed(content: bytes) -> bool:
    """Whether a file has a seal, which is compared."""
    return _check(pa.BufferReader(content))


def opened(path: Path) -> pq.ParquetFile:
    """A large file, compared with its seal, of which its readers take what they need.

    Raises
    ------
    FileNotFoundError, PermissionError
        When it is not there, or not for us.
    Damage
        When it is not what was written.
    """
    where = source(path)
    if isinstance(where, Path):
        _check_file(where, *version(where))
    else:
        _check_copy(where)
    return _file(where)


def parsed(content: bytes, *, one: bool = False) -> pq.ParquetFile:
    """A file that was read already, all of it compared with its seal; with `one`, of one row.

    Raises
    ------
    Damage
        When it is not what was written.
    """
    if one and len(content) > LARGEST_ROW:
        raise Damage(f"is larger than {LARGEST_ROW:,} bytes")
    _check(pa.BufferReader(content))
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


@lru_cache(maxsize=4096)
def _check_file(path: Path, changed: object, size: int) -> None:  # noqa: ARG001
    with pa.OSFile(str(path)) as file:
        _check(file)


@lru_cache(maxsize=256)
def _check_copy(copied: pa.NativeFile) -> None:
    _check(copied)


def _check(file: pa.NativeFile) -> bool:
    """Compare a file with its seal, where it has one; whether it has.

    Raises
    ------
    Damage
        When they differ.
    """
    size = file.size()
    length = _end_length(file.read_at(min(size, 12), max(0, size - 12)), size)
    end = file.read_at(length, size - length)
    seal = _seal(file.read_at(min(_SEAL, size - length), max(0, size - length - _SEAL)), end)
    if seal is None:
        _check_unsealed(file, size)
        return False
    whole = hashlib.sha256()
    for part in _parts(file, size - length - _SEAL):
        whole.update(part)
    whole.update(end)
    _compare(seal[32:], whole)
    return True


def _check_unsealed(file: pa.NativeFile, size: int) -> None:
    last = b""
    for part in _parts(file, size):
        if _BEGIN in (seen := last + part) or _END in seen:
            raise Damage("its seal is not where it was")
        last = part[-len(_BEGIN) :]


def _parts(file: pa.NativeFile, count: int) -> Iterator[bytes]:
    """The first bytes of a file, by and by."""
    for place in range(0, count, _AT_ONCE):
        yield file.read_at(min(_AT_ONCE, count - place), place)


def _end_length(last: bytes, size: int) -> int:
    """Bytes of a Parquet file's end: its description, how long that is, and the magic number."""
    if len(last) < 12 or last[-4:] != b"PAR1":
        raise Damage("does not end as a Parquet file")
    length = int.from_bytes(last[-8:-4], "little") + 8
    if length > size:
        raise Damage("its end is said to be longer than it is")
    return length


def _seal(before: bytes, end: bytes) -> bytes | None:
    """The two checksums before the end, the first of which is compared; None where there are none.

    Each side of a seal says that there is one, so that no single damage hides it.
    """
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
