"""Tables of the report: each is the result of one query, which the page shows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import duckdb

UNKNOWN = "–"
_MOST_DECIMALS = 4
_MOST_LISTED = 12
_LONG = 40


@dataclass(frozen=True)
class Heading:
    """Name of a column and kind of its cells: numbers, words (long text) or short names."""

    name: str
    kind: Literal["number", "words", "name"]


@dataclass(frozen=True)
class Table:
    """Values, their texts, and the SQL they come from (empty if it is not one query)."""

    headings: tuple[Heading, ...]
    values: tuple[Sequence[Any], ...]
    rows: tuple[tuple[str, ...], ...]
    sql: str = ""


def ask(connection: duckdb.DuckDBPyConnection, sql: str) -> Table:
    """Return the table of a query, whose column names are shown as they are."""
    cursor = connection.execute(sql)
    names = [column[0] for column in cursor.description or ()]
    return table(names, cursor.fetchall(), sql.strip())


def table(names: Sequence[str], rows: Iterable[Sequence[Any]], sql: str = "") -> Table:
    """Return values as a table; the numbers of a column have equal decimals."""
    values = tuple(rows)
    columns = list(zip(*values, strict=True)) or [() for _ in names]
    shown = [_shown(column) for column in columns]
    headings = tuple(
        Heading(name, _kind(column)) for name, column in zip(names, columns, strict=True)
    )
    return Table(headings, values, tuple(zip(*shown, strict=True)), sql)


def listed(values: Sequence[object]) -> str:
    """Return values as a list in words, cut after _MOST_LISTED, with the number of others."""
    more = f" and {len(values) - _MOST_LISTED:,} more" if len(values) > _MOST_LISTED else ""
    return ", ".join(map(str, values[:_MOST_LISTED])) + more


def _shown(column: Sequence[Any]) -> list[str]:
    decimals = max((_decimals(value) for value in column if isinstance(value, float)), default=0)
    return [_cell(value, decimals) for value in column]


def _cell(value: Any, decimals: int) -> str:
    match value:
        case None:
            return UNKNOWN
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.{decimals}f}"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M} UTC"
    return str(value)


def _decimals(value: float) -> int:
    """Return the decimals of a value, at most _MOST_DECIMALS."""
    return len(f"{value:.{_MOST_DECIMALS}f}".rstrip("0").partition(".")[2])


def _kind(column: Sequence[Any]) -> Literal["number", "words", "name"]:
    if any(isinstance(value, int | float) and not isinstance(value, bool) for value in column):
        return "number"
    return "words" if any(len(str(value)) > _LONG for value in column) else "name"
