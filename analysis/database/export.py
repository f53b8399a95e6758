"""A store's tables as one file for others: DuckDB, Parquet or CSV, with a data dictionary.

DuckDB holds every table and the dictionary as a table of its own, Parquet and CSV hold one
table: Parquet says type, unit and meaning in its columns' metadata, CSV in a second file.
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
"""The format of databases that are written: DuckDB of this version and all later read it."""

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
"""Keys that answer a sweep's trials, and those of all they stand on."""

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
    """Write `results.duckdb`, whole, with native tables for any DuckDB client.

    Derived: it may be deleted. Written aside and moved, so readers have the old or the new.
    """
    root = locate(store)
    path = root / layout.DATABASE
    with scanning(root), connect(root) as connection:
        try:
            with _uploaded(path) if remote(path) else replacing(path) as aside:
                _write_database(connection, aside, dict.fromkeys(TABLES, "true"))
        except Unwritten as error:
            what = f"{layout.DATABASE} of {root} cannot be written ({error})"
            raise StoreError(f"{what}; every result is kept, `tombola run` makes it anew") from None
    return path


def mend(store: str | Path) -> bool:
    """Make `results.duckdb` anew where its tables cannot all be read; whether that was so.

    What lies elsewhere, and what was never made, is left.
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
    """Write a sweep, or with None all of a store, to one file; the paths that were written.

    The file's suffix is its format; `table` is what Parquet and CSV hold.

    Raises
    ------
    StoreError
        When the suffix or the table is not known, the store does not have the sweep, or a
        file in it is damaged.
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
            told = [one for one in dictionary.entries(connection) if one.table_name == table]
            reader = connection.sql(
                f"FROM {table} WHERE {chosen[table]} ORDER BY ALL"
            ).to_arrow_reader(_ROWS)
            if path.suffix == ".parquet":
                _write_parquet(reader, aside, told)
                return [path]
            with pa_csv.CSVWriter(aside, reader.schema) as writer:
                for batch in reader:
                    writer.write_batch(_for_spreadsheets(batch))
    beside = path.with_suffix(".dictionary.csv")
    with replacing(beside) as aside:
        _write_dictionary(aside, told)
    return [path, beside]


def _chosen(connection: duckdb.DuckDBPyConnection, sweep: str | None) -> Mapping[str, str]:
    """By table, what selects the rows."""
    if sweep is None:
        return dict.fromkeys(TABLES, "true")
    figures_of(connection, sweep)  # refuses a sweep that the store does not know
    connection.execute(_KEYS, {"sweep": sweep})
    return {table: of.format(sweep=literal(sweep)) for table, of in _OF_SWEEP.items()}


@contextmanager
def _uploaded(path: Path) -> Iterator[Path]:
    """A local file to write to, put into object storage at the end."""
    with tempfile.TemporaryDirectory(prefix="tombola-") as folder:
        aside = Path(folder) / path.name
        yield aside
        if place := remote(path):
            place.upload(str(aside))


class Unwritten(Exception):
    """A database did not fit where it was to be, or the disk is away."""


def _write_database(
    connection: duckdb.DuckDBPyConnection, path: Path, chosen: Mapping[str, str]
) -> None:
    told = dictionary.entries(connection)
    with _written(path) as written:
        for table in TABLES:
            rows = connection.sql(f"FROM {table} WHERE {chosen[table]}").to_arrow_reader(_ROWS)
            create(written, table, rows)
        comment(written, {(one.table_name, one.column_name): one.meaning for one in told})
        define(written)
        columns = dict(zip(Entry._fields, zip(*told, strict=True), strict=True))
        create(written, "dictionary", pa.table({n: list(v) for n, v in columns.items()}))
        written.execute("CHECKPOINT")  # closing does it, too, but is silent where it fails


@contextmanager
def _written(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    try:
        with closed(str(path), storage_compatibility_version=STORAGE) as connection:
            yield connection
    except (duckdb.IOException, duckdb.FatalException, duckdb.TransactionException) as error:
        raise Unwritten(str(error).splitlines()[0].rpartition(": ")[2]) from None


def _write_parquet(reader: pa.RecordBatchReader, path: Path, told: list[Entry]) -> None:
    about = {one.column_name: {"comment": one.meaning, "unit": one.unit} for one in told}
    schema = pa.schema([field.with_metadata(about[field.name]) for field in reader.schema])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch.cast(schema))


def _for_spreadsheets(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same rows, with text that no spreadsheet takes for a formula."""
    columns = [
        pa.array([cell(text) for text in column.to_pylist()], column.type)
        if pa.types.is_string(column.type)
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _write_dictionary(path: Path, told: list[Entry]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Entry._fields)
        writer.writerows(map(cell, one) for one in told)
