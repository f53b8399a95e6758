"""SQL of users: one statement that reads, on a locked connection without access to files.

The connection makes this safe (see connection.py), not the text of the statement. The kind of
a statement is checked only to report a wrong one early.
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
"""Most rows of a printed table."""

_EXPLAIN = re.compile(r"\s*explain\s+(analyze\s+)?(\([^)]*\)\s*)?", re.IGNORECASE)


def query(
    store: str | Path,
    sql: str,
    *,
    memory_limit: str = "4GB",
    timeout_s: float = 60.0,
    beside: Path | None = None,
) -> pa.Table:
    """Return the rows of one SELECT, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN.

    `beside` is the file of a sweep outside the store: see `connection.connect`.

    Raises
    ------
    QueryError
        When it is another kind of statement, more than one, wrong, or exceeds a limit.
    StoreError
        When the store is missing or a file in it is damaged.
    """
    admit(sql)
    return limits.ask(
        Question(str(store), sql, memory_limit, timeout_s, str(beside) if beside else None)
    )


def write(table: pa.Table, format: Format, stream: TextIO) -> None:
    """Print rows as `table` (to read), csv, json (a list of objects) or parquet (binary).

    JSON has no NaN and no infinity; both are null. CSV is safe for spreadsheets: see
    tombola.text.cell. A table has at most MOST_SHOWN rows.
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
    """Check that a text is one statement that reads.

    Raises
    ------
    QueryError
        When it is another kind of statement, more than one, or none.
    """
    statements = _parsed(sql)
    if len(statements) != 1:
        raise QueryError(f"a query is one statement, not {len(statements)}")
    _check_kind(statements[0])


def condition(text: str) -> str:
    """Return a condition of a WHERE clause in brackets, after checking it.

    It must parse without our brackets, so it cannot close them. It must also parse inside them,
    where only an expression is allowed.

    Raises
    ------
    QueryError
        When it is empty or not a condition.
    """
    if not text.strip():
        raise QueryError("the condition is empty; name one, such as method = 'snip'")
    bracketed = f"({text}\n)"
    for clause in (f"{text}\n", bracketed):
        try:
            admit(f"SELECT 1 WHERE {clause}")
        except QueryError as error:
            raise QueryError(f"{text!r} is not a condition: {error}") from None
    return bracketed


def admitted(sql: str) -> list[str]:
    """Return the statements of a figure, one or several.

    Raises
    ------
    QueryError
        When one of them does more than read, or there is none.
    """
    statements = _parsed(sql)
    if not statements:
        raise QueryError("there is no statement")
    for statement in statements:
        _check_kind(statement)
    return [str(statement.query) for statement in statements]


def _check_kind(statement: Any) -> None:
    kind = statement.type
    if kind is duckdb.StatementType.EXPLAIN:
        explained = _parsed(_EXPLAIN.sub("", statement.query, count=1))
        kind = explained[0].type if len(explained) == 1 else kind
    if kind is not duckdb.StatementType.SELECT:
        name = str(kind).rpartition(".")[2]
        raise QueryError(f"a query is a SELECT, DESCRIBE or EXPLAIN, not {name}: it only reads")


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
    """Return a value that JSON can hold."""
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
        stream.write(f"and {table.num_rows - MOST_SHOWN:,} more rows; --format csv prints all\n")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
