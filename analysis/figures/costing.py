"""What each figure of a sweep took: the tasks behind the trials that it draws."""

from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa

_ALL = "all together"


def by_figure(
    connection: duckdb.DuckDBPyConnection, sweep: str, drawn: Mapping[str, Sequence[str]]
) -> pa.Table:
    """The ledger of figures by name, all together last; `drawn` has the runs behind each.

    Other columns are those of the macro `ledger_by`: trials, tasks, and hours of equal work done
    once (`hours`), for no other figure (`own_hours`), of each trial alone (`alone_hours`), and
    what sharing saved (`saved_hours`).
    """
    parts = [{"part": name, "key": key} for name, keys in drawn.items() for key in keys]
    asked = "SELECT part AS figure, * EXCLUDE (part) FROM ledger_by($sweep, $parts)"
    found = connection.sql(asked, params={"sweep": sweep, "parts": parts}).to_arrow_table()
    order = {name: number for number, name in enumerate(drawn)}
    rows = sorted(found.to_pylist(), key=lambda row: order.get(row["figure"], len(order)))
    named = [row | {"figure": row["figure"] or _ALL} for row in rows]
    return pa.Table.from_pylist(named, found.schema)
