"""Tasks done once more on purpose: how far apart two results of one key are.

The result that was there first counts and stays; of the second, what differs is kept, and where
both were computed. So the noise floor of a store is a question in SQL.
"""

from pathlib import Path

from tombola.errors import DeterminismAlarm
from tombola.store import layout, results, schema
from tombola.store.compare import Compared, Row, compared
from tombola.store.publish import publish

MOVED = "moved"
"""Of a mask done once more, a column besides: weights that only one of the two keeps."""


def record(store: Path, row: Row) -> None:
    """Keep how a task came out this time, beside its result.

    Raises
    ------
    DeterminismAlarm
        When it came out differently, after that was kept.
    """
    earlier = results.find(store, row["key"])
    if earlier is None:
        return  # removed meanwhile, as damaged: there is nothing to compare with
    found = list(compared(earlier, row))
    if row.get(MOVED) is not None:
        found.append(Compared(MOVED, "", 0, row[MOVED]))
    rows = [_row(earlier, row, one) for one in found if _is_number(one)]
    content = results.encode(schema.REPEATS, rows)
    publish(store / layout.repeat(row["key"], row["launch"]), content)
    if apart := [one for one in found if not one.same]:
        raise DeterminismAlarm(results.alarm(earlier, row, apart[0]))


def _is_number(one: Compared) -> bool:
    return any(isinstance(value, int | float) for value in (one.first, one.second))


def _row(first: Row, second: Row, one: Compared) -> Row:
    both = one.first is not None and one.second is not None
    apart = 0.0 if one.same else one.second - one.first if both else None
    values = {"first": one.first, "second": one.second, "difference": apart}
    whence = {
        f"{which}_{name}": row[name]
        for which, row in (("first", first), ("second", second))
        for name in schema.WHENCE
    }
    about = {"key": first["key"], "kind": first["kind"], "field": one.field, "place": one.place}
    return {**about, **values, **whence}
