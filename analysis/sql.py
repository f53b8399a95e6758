"""SQL from outside: one reading statement, on a locked connection that can touch no file."""

import csv
import json
import re
import threading
from pathlib import Path
from typing import Any, Literal, TextIO

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from analysis import results
from analysis.errors import QueryError

Format = Literal["table", "csv", "json", "parquet"]

WIDEST = 100_000
"""Characters of a printed line: rows are shown whole, for a pager to cut."""

_EXPLAIN = re.compile(r"\s*explain\s+(analyze\s+)?(\([^)]*\)\s*)?", re.IGNORECASE)
_READING = (duckdb.StatementType.SELECT,)


def query(
    store: str | Path, sql: str, *, memory_limit: str = "4GB", timeout_s: float = 60.0
) -> pa.Table:
    """The rows that one SELECT, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN gives.

    Raises
    ------
    QueryError
        When it is another statement, more than one, wrong, or takes too long.
    """
    _admit(sql)
    connection = results.connect(store)
    _lock(connection, memory_limit)
    timer = threading.Timer(timeout_s, connection.interrupt)
    timer.start()
    try:
        return connection.sql(sql).to_arrow_table()
    except duckdb.InterruptException:
        raise QueryError(f"the query took longer than {timeout_s:g} s") from None
    except (duckdb.Error, pa.ArrowException) as error:
        raise QueryError(_one_line(error)) from None
    finally:
        timer.cancel()
        connection.close()


def write(table: pa.Table, format: Format, stream: TextIO) -> None:
    """Print rows: `table` for reading, csv, json (a list of objects) or parquet (binary)."""
    match format:
        case "table":
            _write_table(table, stream)
        case "csv":
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(table.column_names)
            writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))
        case "json":
            json.dump(table.to_pylist(), stream, indent=1, default=str)
            stream.write("\n")
        case "parquet":
            pq.write_table(table, stream.buffer)


def _admit(sql: str) -> None:
    statements = _parsed(sql)
    if len(statements) != 1:
        raise QueryError(f"takes one statement, not {len(statements)}")
    kind = statements[0].type
    if kind is duckdb.StatementType.EXPLAIN:
        explained = _parsed(_EXPLAIN.sub("", statements[0].query, count=1))
        kind = explained[0].type if len(explained) == 1 else kind
    if kind not in _READING:
        name = str(kind).rpartition(".")[2]
        raise QueryError(f"takes one SELECT, DESCRIBE or EXPLAIN, not {name}: this only reads")


def _parsed(sql: str) -> list[Any]:
    try:
        return list(duckdb.extract_statements(sql))
    except duckdb.Error as error:
        raise QueryError(_one_line(error)) from None


def _lock(connection: duckdb.DuckDBPyConnection, memory_limit: str) -> None:
    """No files, no extensions, no Python variables, and no way to change that."""
    for setting in (
        f"memory_limit = '{memory_limit}'",
        "python_enable_replacements = false",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        connection.execute(f"SET {setting}")


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    hints = [line for line in lines[1:] if line.startswith(("Did you mean", "Candidate bindings"))]
    return " ".join([lines[0], *hints]) if lines else type(error).__name__


def _write_table(table: pa.Table, stream: TextIO) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for field in table.schema:
        number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        shown.add_column(field.name, justify="right" if number else "left", no_wrap=not number)
    for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
        shown.add_row(*map(_cell, row))
    widest = Console(width=WIDEST).measure(shown).maximum
    Console(file=stream, width=max(widest, 20), markup=False, highlight=False).print(shown)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
