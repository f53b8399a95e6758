"""SQL from outside: one reading statement, on a locked connection that can touch no file.

The connection has no access to files (see `results`), so what a statement may do does not
rest on how it reads; statements are admitted by kind only to say early what this is for.
"""

import csv
import json
import math
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TextIO

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.database import hints, limits
from analysis.database.limits import Question
from tombola.errors import QueryError
from tombola.text import cell

Format = Literal["table", "csv", "json", "parquet"]

MOST_SHOWN = 100_000
"""Rows of a table for reading."""

_EXPLAIN = re.compile(r"\s*explain\s+(analyze\s+)?(\([^)]*\)\s*)?", re.IGNORECASE)


def query(
    store: str | Path,
    sql: str,
    *,
    memory_limit: str = "4GB",
    timeout_s: float = 60.0,
    beside: Path | None = None,
) -> pa.Table:
    """The rows that one SELECT, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN gives.

    `beside` is a sweep's file that the store does not have yet: see `results.connect`.

    Raises
    ------
    QueryError
        When it is another statement, more than one, wrong, or takes too long.
    StoreError
        When the store is missing or a file in it is damaged.
    """
    admit(sql)
    return limits.ask(
        Question(str(store), sql, memory_limit, timeout_s, str(beside) if beside else None)
    )


def write(table: pa.Table, format: Format, stream: TextIO) -> None:
    """Print rows: `table` for reading, csv, json (a list of objects) or parquet (binary).

    JSON has no NaN and no infinity: they are null there. CSV is for spreadsheets, too: see
    tombola.text.cell. A table for reading has MOST_SHOWN rows at the most.
    """
    match format:
        case "table":
            _write_table(table, stream)
        case "csv":
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(map(cell, table.column_names))
            writer.writerows(map(cell, row) for row in _rows(table))
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


def condition(text: str) -> str:
    """The condition of a WHERE clause in brackets, once it is known to be one and nothing more.

    It must read as a clause of its own, where brackets of it cannot close ours, and in brackets,
    where nothing but an expression reads.

    Raises
    ------
    QueryError
        When it is empty, or no condition.
    """
    if not text.strip():
        raise QueryError("the condition is empty; name one, such as method = 'snip'")
    bracketed = f"({text}\n)"
    for clause in (f"{text}\n", bracketed):
        try:
            admit(f"SELECT 1 WHERE {clause}")
        except QueryError as error:
            raise QueryError(f"{text!r} is no condition: {error}") from None
    return bracketed


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
        raise QueryError(hints.one_line(error)) from None


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
    from rich.table import Table

    from tombola.terminal import Terminal

    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for field in table.schema:
        number = pa.types.is_primitive(field.type) and not pa.types.is_temporal(field.type)
        shown.add_column(field.name, justify="right" if number else "left", no_wrap=True)
    for row in _rows(table.slice(0, MOST_SHOWN)):
        shown.add_row(*map(_cell, row))
    width = max(Terminal(file=stream, width=10**6).measure(shown).maximum, 20)
    Terminal(file=stream, width=width).print(shown)
    if table.num_rows > MOST_SHOWN:
        stream.write(f"and {table.num_rows - MOST_SHOWN:,} rows more; --format csv has all\n")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
