"""Cost of each figure of a sweep: the tasks behind its trials."""

from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa

_ALL = "all together"


def by_figure(
    connection: duckdb.DuckDBPyConnection, sweep: str, drawn: Mapping[str, Sequence[str]]
) -> pa.Table:
    """Return the cost by figure, with the total last; `drawn` has the runs of each figure.

    Columns are those of the macro `ledger_by`: trials, tasks, and hours. `hours` counts shared work
    once, `own_hours` work for no other figure, `alone_hours` each trial alone, and `saved_hours`
    what sharing saved.
    """
    parts = [{"part": name, "key": key} for name, keys in drawn.items() for key in keys]
    sql = "SELECT part AS figure, * EXCLUDE (part) FROM ledger_by($sweep, $parts)"
    ledger = connection.sql(sql, params={"sweep": sweep, "parts": parts}).to_arrow_table()
    order = {name: number for number, name in enumerate(drawn)}
    rows = sorted(ledger.to_pylist(), key=lambda row: order.get(row["figure"], len(order)))
    named = [row | {"figure": row["figure"] or _ALL} for row in rows]
    return pa.Table.from_pylist(named, ledger.schema)
