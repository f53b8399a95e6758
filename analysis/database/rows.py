"""Rows of a query as dicts by column."""

from typing import Any, TypeAlias

import duckdb

Row: TypeAlias = dict[str, Any]


def query_rows(connection: duckdb.DuckDBPyConnection, sql: str, values: Any = None) -> list[Row]:
    """Return the rows of a query, each a dict by column; `values` are the query's parameters."""
    cursor = connection.execute(sql, values)
    columns = [column[0] for column in cursor.description or ()]
    return [dict(zip(columns, cells, strict=True)) for cells in cursor.fetchall()]
