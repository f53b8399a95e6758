"""Export of a store's tables to DuckDB, Parquet or CSV, with a data dictionary.

A DuckDB file has every table and the table `dictionary`. Parquet and CSV have one table: Parquet
stores unit and meaning in the metadata of its columns, CSV in a second file.
"""

import csv
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from analysis.database import dictionary
from analysis.database.connection import (
    TABLES,
    closed,
    comment,
    connect,
    create,
    define,
    figures_of,
    scanning,
)
from analysis.database.dictionary import Entry
from analysis.database.quoting import identifier, literal
from tombola.errors import StoreError
from tombola.store import layout, schema
from tombola.store.location import locate, remote
from tombola.store.publish import replacing
from tombola.text import cell

FORMATS = (".duckdb", ".parquet", ".csv")

STORAGE = "v1.0.0"
"""Storage format of written databases: DuckDB of this version or later reads it."""

_ROWS = 100_000
"""Rows in memory at a time."""

_KEYS = f"""
CREATE TEMP TABLE wanted AS
WITH RECURSIVE reached(key) AS (
    SELECT DISTINCT unnest([dense_key, {", ".join(schema.ANSWERS)}]) AS key
    FROM trials WHERE sweep = $sweep
    UNION
    SELECT unnest(regexp_extract_all(tasks.value, '"([0-9a-f]{{64}})"', 1)) AS key
    FROM reached JOIN tasks USING (key))
SELECT key FROM reached WHERE key IS NOT NULL
"""
"""Keys of a sweep's trials, and of all tasks that they need."""

_OF_SWEEP = {
    "trials": "sweep = {sweep}",
    "sweeps": "sweep = {sweep}",
    "evals": "run_key IN (FROM wanted)",
    "layers": "mask_key IN (FROM wanted)",
    "measurements": "measurement_key IN (FROM wanted)",
    "tasks": "key IN (FROM wanted)",
    "attempts": "key IN (FROM wanted)",
    "repeats": "key IN (FROM wanted)",
}


def publish(store: str | Path) -> Path:
    """Write `results.duckdb`, with native tables that any DuckDB client reads.

    The file is derived, so it may be deleted. It is written under another name and then renamed,
    so a reader sees the old file or the new one.
    """
    root = locate(store)
    path = root / layout.DATABASE
    with scanning(root), connect(root) as connection:
        try:
            with _uploaded(path) if remote(path) else replacing(path) as aside:
                _write_database(connection, aside, dict.fromkeys(TABLES, "true"))
        except Unwritten as error:
            problem = f"{layout.DATABASE} of {root} cannot be written ({error})"
            raise StoreError(
                f"{problem}; every result is kept, and `tombola run` writes it again"
            ) from None
    return path


def mend(store: str | Path) -> bool:
    """Write `results.duckdb` again if a table in it cannot be read; return whether it was so.

    A file in object storage, a link and a missing file are left alone.
    """
    path = locate(store) / layout.DATABASE
    if remote(path) or not path.is_file() or path.is_symlink():
        return False
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            connection.execute("SET enable_external_access = false")
            tables = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
            for (table,) in tables:
                connection.execute(f"SELECT count(COLUMNS(*)) FROM {identifier(table)}").fetchall()
        return False
    except duckdb.Error:
        publish(store)
        return True


def export(
    store: str | Path, path: Path, sweep: str | None = None, table: str = "trials"
) -> list[Path]:
    """Write a sweep, or a whole store (None), to one file; return the paths written.

    The suffix of the file is its format. `table` is the table of a Parquet or CSV file.

    Raises
    ------
    StoreError
        When the suffix or the table is unknown, the store has no such sweep, or a file in it is
        damaged.
    """
    if path.suffix not in FORMATS:
        raise StoreError(f"--to takes a file that ends in {', '.join(FORMATS)}, not {path.name}")
    if table not in TABLES:
        raise StoreError(f"no table {table!r}; there are {', '.join(TABLES)}")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise StoreError(f"{path} cannot be written: name a file in a folder that exists")
    with scanning(store), connect(store) as connection:
        chosen = _chosen(connection, sweep)
        with replacing(path) as aside:
            if path.suffix == ".duckdb":
                try:
                    _write_database(connection, aside, chosen)
                except Unwritten as error:
                    raise StoreError(f"{path} cannot be written ({error})") from None
                return [path]
            entries = [e for e in dictionary.entries(connection) if e.table_name == table]
            reader = connection.sql(
                f"FROM {table} WHERE {chosen[table]} ORDER BY ALL"
            ).to_arrow_reader(_ROWS)
            if path.suffix == ".parquet":
                _write_parquet(reader, aside, entries)
                return [path]
            with pa_csv.CSVWriter(aside, reader.schema) as writer:
                for batch in reader:
                    writer.write_batch(_for_spreadsheets(batch))
    beside = path.with_suffix(".dictionary.csv")
    with replacing(beside) as aside:
        _write_dictionary(aside, entries)
    return [path, beside]


def _chosen(connection: duckdb.DuckDBPyConnection, sweep: str | None) -> Mapping[str, str]:
    """Return the condition that selects the rows of each table."""
    if sweep is None:
        return dict.fromkeys(TABLES, "true")
    figures_of(connection, sweep)  # raises if the store has no such sweep
    connection.execute(_KEYS, {"sweep": sweep})
    return {table: rows.format(sweep=literal(sweep)) for table, rows in _OF_SWEEP.items()}


@contextmanager
def _uploaded(path: Path) -> Iterator[Path]:
    """Yield a local path to write to; upload the file to object storage at the end."""
    with tempfile.TemporaryDirectory(prefix="tombola-") as folder:
        aside = Path(folder) / path.name
        yield aside
        if place := remote(path):
            place.upload(str(aside))


class Unwritten(Exception):
    """The database could not be written: the disk is full or missing."""


def _write_database(
    connection: duckdb.DuckDBPyConnection, path: Path, chosen: Mapping[str, str]
) -> None:
    entries = dictionary.entries(connection)
    with _written(path) as written:
        for table in TABLES:
            rows = connection.sql(f"FROM {table} WHERE {chosen[table]}").to_arrow_reader(_ROWS)
            create(written, table, rows)
        comment(
            written, {(entry.table_name, entry.column_name): entry.meaning for entry in entries}
        )
        define(written)
        columns = dict(zip(Entry._fields, zip(*entries, strict=True), strict=True))
        create(written, "dictionary", pa.table({n: list(v) for n, v in columns.items()}))
        written.execute("CHECKPOINT")  # closing does it too, but reports no error


@contextmanager
def _written(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    try:
        with closed(str(path), storage_compatibility_version=STORAGE) as connection:
            yield connection
    except (duckdb.IOException, duckdb.FatalException, duckdb.TransactionException) as error:
        raise Unwritten(str(error).splitlines()[0].rpartition(": ")[2]) from None


def _write_parquet(reader: pa.RecordBatchReader, path: Path, entries: list[Entry]) -> None:
    about = {e.column_name: {"comment": e.meaning, "unit": e.unit} for e in entries}
    schema = pa.schema([field.with_metadata(about[field.name]) for field in reader.schema])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch.cast(schema))


def _for_spreadsheets(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the rows with text that no spreadsheet reads as a formula."""
    columns = [
        pa.array([cell(text) for text in column.to_pylist()], column.type)
        if pa.types.is_string(column.type)
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _write_dictionary(path: Path, entries: list[Entry]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Entry._fields)
        writer.writerows(map(cell, entry) for entry in entries)
