"""Two results of one key: whether they say the same, and where they part.

Columns that a later version added (schema.ADDED) are compared where both results have them.
Losses that two versions added up in another order (column `evaluation`) may differ by rounding.
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
"""What tells the items of a part from one another."""

_PROVENANCE = schema.TASKS.names[schema.TASKS.get_field_index("launch") :]

RESULT = [n for n in schema.LIVE.names if n not in {"digest", "checksum", *_PROVENANCE}]
"""Columns of schema.LIVE that are what a task found; the others are how it came about."""

ROUNDING = 1e-5
"""Relative error of a float32 sum of thousands of losses, with room to spare."""

_SCALARS = [name for name in RESULT if name not in schema.PARTS and name != "key"]


class Compared(NamedTuple):
    """One value of two results: what it is, where (step and split, or layer), and both.

    They may differ by `rounding`, relative to the larger.
    """

    field: str
    place: str
    first: Any
    second: Any
    rounding: float = 0.0

    @property
    def same(self) -> bool:
        """Whether they are equal; not-a-number is equal to itself."""
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
    """Every value of two rows of schema.LIVE, in the order in which a task comes to it."""
    summed_alike = first.get("evaluation") == second.get("evaluation")
    rounding = {} if summed_alike else {"loss": ROUNDING}
    for table, identity in _IDENTITY.items():
        ours, theirs = (_items(row, table, identity) for row in (first, second))
        for which in sorted({**ours, **theirs}, key=_order):
            place = ", ".join(filter(None, map(_words, identity, which)))
            one, other = ours.get(which, {}), theirs.get(which, {})
            names = [n for n in one or other if n not in identity]
            for found in _pairs(one, other, names, place):
                yield found._replace(rounding=rounding.get(found.field, 0.0))
    yield from _pairs(first, second, _SCALARS, "")


def differences(first: Row, second: Row) -> list[Compared]:
    """Where two rows of schema.LIVE part, the first place first."""
    return [one for one in compared(first, second) if not one.same]


def _items(row: Row, table: str, identity: tuple[str, ...]) -> dict[tuple[Any, ...], Row]:
    return {tuple(item.get(name) for name in identity): item for item in row.get(table) or ()}


def _order(which: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple((part is not None, part) for part in which)


def _words(name: str, value: Any) -> str:
    return f"{name} {value}" if isinstance(value, int | float) else str(value or "")


def _pairs(one: Row, other: Row, names: list[str], place: str) -> Iterator[Compared]:
    for name in names:
        pair = one.get(name), other.get(name)
        if name not in schema.ADDED or None not in pair:
            yield Compared(name, place, *pair)
