"""Compare two results of one key, value by value.

Columns that a later version added (schema.ADDED) are compared if both results have them. Two
versions may add up losses in a different order (column `evaluation`); such losses may differ
by rounding.
"""

from collections.abc import Iterator
from math import isclose
from typing import Any, NamedTuple

from tombola.store import schema

Row = dict[str, Any]

_IDENTITY = {
    "evals": ("step", "split"),
    "layers": ("layer",),
    "measurements": ("name", "split", "alpha", "layer"),
}
"""Columns that identify an item within a part of a result."""

_PROVENANCE = schema.TASKS.names[schema.TASKS.get_field_index("launch") :]

RESULT = [n for n in schema.LIVE.names if n not in {"digest", "checksum", *_PROVENANCE}]
"""Columns of schema.LIVE that a task computes; the other columns are provenance."""

ROUNDING = 1e-5
"""Relative error of a float32 sum of thousands of losses, with room to spare."""

_SCALARS = [name for name in RESULT if name not in schema.PARTS and name != "key"]


class Compared(NamedTuple):
    """One value in two results: its column, its place (step and split, or layer), both values.

    `rounding` is the relative difference that is allowed.
    """

    field: str
    place: str
    first: Any
    second: Any
    rounding: float = 0.0

    @property
    def same(self) -> bool:
        """Return whether both values are equal; not-a-number equals not-a-number."""
        both_nan = self.first != self.first and self.second != self.second
        if self.first == self.second or both_nan:
            return True
        if not self.rounding or None in (self.first, self.second):
            return False
        return isclose(self.first, self.second, rel_tol=self.rounding)

    def __str__(self) -> str:
        where = f" of {self.place}" if self.place else ""
        return f"{self.field}{where}: {self.first!r} and {self.second!r}"


def compared(first: Row, second: Row) -> Iterator[Compared]:
    """Yield each value of two rows of schema.LIVE, in the order of computation."""
    summed_alike = first.get("evaluation") == second.get("evaluation")
    rounding = {} if summed_alike else {"loss": ROUNDING}
    for table, identity in _IDENTITY.items():
        ours, theirs = (_items(row, table, identity) for row in (first, second))
        for which in sorted({**ours, **theirs}, key=_order):
            place = ", ".join(filter(None, map(_words, identity, which)))
            item, other = ours.get(which, {}), theirs.get(which, {})
            names = [name for name in item or other if name not in identity]
            for pair in _pairs(item, other, names, place):
                yield pair._replace(rounding=rounding.get(pair.field, 0.0))
    yield from _pairs(first, second, _SCALARS, "")


def differences(first: Row, second: Row) -> list[Compared]:
    """Return the values in which two rows of schema.LIVE differ, in order of computation."""
    return [pair for pair in compared(first, second) if not pair.same]


def _items(row: Row, table: str, identity: tuple[str, ...]) -> dict[tuple[Any, ...], Row]:
    return {tuple(item.get(name) for name in identity): item for item in row.get(table) or ()}


def _order(which: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple((part is not None, part) for part in which)


def _words(name: str, value: Any) -> str:
    return f"{name} {value}" if isinstance(value, int | float) else str(value or "")


def _pairs(first: Row, second: Row, names: list[str], place: str) -> Iterator[Compared]:
    for name in names:
        pair = first.get(name), second.get(name)
        if name not in schema.ADDED or None not in pair:
            yield Compared(name, place, *pair)
