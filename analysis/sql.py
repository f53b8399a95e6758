"""SQL from outside: one reading statement, on a locked connection that can touch no file.

The connection has no access to files (see `results`), so what a statement may do does not
rest on how it reads; statements are admitted by kind only to say early what this is for.
"""

import csv
import json
import math
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TextIO

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from analysis import results
from analysis.errors import QueryError

Format = Literal["table", "csv", "json", "parquet"]

_EXPLAIN = re.compile(r"\s*explain\s+(analyze\s+)?(\([^)]*\)\s*)?", re.IGNORECASE)
_HINTS = ("Did you mean", "Candidate bindings")
_AGAIN_S = 0.05


def query(
    store: str | Path, sql: str, *, memory_limit: str = "4GB", timeout_s: float = 60.0
) -> pa.Table:
    """The rows that one SELECT, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN gives.

    Raises
    ------
    QueryError
        When it is another statement, more than one, wrong, or takes too long.
    StoreError
        When the store is missing or a file in it is damaged.
    """
    admit(sql)
    connection = results.connect(store)
    try:
        connection.execute(f"SET memory_limit = '{memory_limit}'")
        connection.execute("SET lock_configuration = true")
        with results.scanning(store), _limited(connection, timeout_s):
            return connection.sql(sql).to_arrow_table()
    except duckdb.InterruptException:
        raise QueryError(f"the query took longer than {timeout_s:g} s") from None
    except (duckdb.Error, pa.ArrowException) as error:
        raise QueryError(_one_line(error)) from None
    finally:
        connection.close()


def write(table: pa.Table, format: Format, stream: TextIO) -> None:
    """Print rows: `table` for reading, csv, json (a list of objects) or parquet (binary).

    JSON has no NaN and no infinity: they are null there.
    """
    match format:
        case "table":
            _write_table(table, stream)
        case "csv":
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(table.column_names)
            writer.writerows(_rows(table))
        case "json":
            names = table.column_names
            rows = [dict(zip(names, map(_plain, row), strict=True)) for row in _rows(table)]
            json.dump(rows, stream, indent=1, default=str, allow_nan=False)
            stream.write("\n")
        case "parquet":
            pq.write_table(table, stream.buffer)


# ---------------------------------------------------------------- asking


def admit(sql: str) -> None:
    """Refuse anything but one reading statement.

    Raises
    ------
    QueryError
        When it is another one, more than one, or none.
    """
    statements = _parsed(sql)
    if len(statements) != 1:
        raise QueryError(f"takes one statement, not {len(statements)}")
    _check_kind(statements[0])


def admitted(sql: str) -> list[str]:
    """The statements of a figure, one or several.

    Raises
    ------
    QueryError
        When one of them does not merely read, or there is none.
    """
    statements = _parsed(sql)
    if not statements:
        raise QueryError("takes a statement, not 0")
    for one in statements:
        _check_kind(one)
    return [str(one.query) for one in statements]


def _check_kind(statement: Any) -> None:
    kind = statement.type
    if kind is duckdb.StatementType.EXPLAIN:
        explained = _parsed(_EXPLAIN.sub("", statement.query, count=1))
        kind = explained[0].type if len(explained) == 1 else kind
    if kind is not duckdb.StatementType.SELECT:
        name = str(kind).rpartition(".")[2]
        raise QueryError(f"takes one SELECT, DESCRIBE or EXPLAIN, not {name}: this only reads")


def _parsed(sql: str) -> list[Any]:
    try:
        return list(duckdb.extract_statements(sql))
    except duckdb.Error as error:
        raise QueryError(_one_line(error)) from None


@contextmanager
def _limited(connection: duckdb.DuckDBPyConnection, timeout_s: float) -> Iterator[None]:
    """Interrupt what runs after that time, and again: an interrupt between queries is lost."""
    done = threading.Event()

    def watch() -> None:
        if not done.wait(timeout_s):
            connection.interrupt()
            while not done.wait(_AGAIN_S):
                connection.interrupt()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    hints = [line for line in lines[1:] if line.startswith(_HINTS)]
    return " ".join([lines[0], *hints]) if lines else type(error).__name__


# ---------------------------------------------------------------- printing


def _rows(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    if not table.num_columns:
        return iter(())
    return zip(*(column.to_pylist() for column in table.columns), strict=True)


def _plain(value: Any) -> Any:
    """A value as JSON can say it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _write_table(table: pa.Table, stream: TextIO) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for field in table.schema:
        number = pa.types.is_primitive(field.type) and not pa.types.is_temporal(field.type)
        shown.add_column(field.name, justify="right" if number else "left", no_wrap=True)
    for row in _rows(table):
        shown.add_row(*map(_cell, row))
    width = max(Console(file=stream, width=10**6).measure(shown).maximum, 20)
    Console(file=stream, width=width, markup=False, highlight=False, emoji=False).print(shown)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
