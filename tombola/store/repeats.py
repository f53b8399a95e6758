"""Compare a repeated task with its result, and store the differences.

The first result counts and stays. Of the second, the store keeps its values, the differences,
and where both were computed. The noise of a store can therefore be queried in SQL.
"""

from pathlib import Path

from tombola.errors import DeterminismAlarm
from tombola.store import layout, results, schema
from tombola.store.compare import Compared, Row, compared
from tombola.store.publish import publish

MOVED = "moved"
"""Extra column of a repeated mask: the number of weights that only one of the two keeps."""


def record(store: Path, row: Row) -> None:
    """Store the comparison of a repeated task (`row`) with its result.

    Raises
    ------
    DeterminismAlarm
        When they differ. The comparison is stored first.
    """
    earlier = results.find(store, row["key"])
    if earlier is None:
        return  # damaged and removed in the meantime: nothing to compare with
    pairs = list(compared(earlier, row))
    if row.get(MOVED) is not None:
        pairs.append(Compared(MOVED, "", 0, row[MOVED]))
    rows = [_row(earlier, row, pair) for pair in pairs if _is_number(pair)]
    content = results.encode(schema.REPEATS, rows)
    publish(store / layout.repeat(row["key"], row["launch"]), content)
    if apart := [pair for pair in pairs if not pair.same]:
        raise DeterminismAlarm(results.alarm(earlier, row, apart[0]))


def _is_number(pair: Compared) -> bool:
    return any(isinstance(value, int | float) for value in (pair.first, pair.second))


def _row(first: Row, second: Row, pair: Compared) -> Row:
    both = pair.first is not None and pair.second is not None
    apart = 0.0 if pair.same else pair.second - pair.first if both else None
    values = {"first": pair.first, "second": pair.second, "difference": apart}
    origin = {
        f"{which}_{name}": row[name]
        for which, row in (("first", first), ("second", second))
        for name in schema.ORIGIN
    }
    about = {"key": first["key"], "kind": first["kind"], "field": pair.field, "place": pair.place}
    return {**about, **values, **origin}
