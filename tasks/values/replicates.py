"""The same expressions with other seeds: replicates of one trial differ in nothing else.

What a grid means is worked out for one replicate. The others are made from it, record by
record, each with its key: that takes a third of the time, and a sweep has many replicates.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from tasks.values.key import Record, template


def reseeded(records: list[Record]) -> Callable[[int], list[Record]]:
    """Return a function that builds these expressions again, with every seed raised by a number.

    A record without seeds stays the one it is. What `Record.check` says of the first holds
    for the others: it asks nothing of a seed.

    Raises
    ------
    TypeError
        Where a record with a seed stands in a tuple.
    """
    seeds: set[int] = set()
    moulds: dict[str, _Template] = {}
    for one in _inside_out(records):
        if mould := _mould(one, moulds):
            moulds[one.key] = mould
            seeds.update(getattr(one, name) for name in one.seeds)

    def make(by: int) -> list[Record]:
        values: dict[str, Any] = {repr(seed): seed + by for seed in seeds}
        texts = {name: repr(seed) for name, seed in values.items()}
        for name, (cls, shared, varied, text) in moulds.items():
            made = object.__new__(cls)
            state = made.__dict__
            state.update(shared)
            for field, inside in varied.items():
                state[field] = values[inside]
            written = text % texts
            state["key"] = key = hashlib.sha256(written.encode()).hexdigest()
            if not cls.referenced:
                state["_written"] = written
            texts[name] = f'"{key}"' if cls.referenced else written
            values[name] = made
        return [values.get(one.key, one) for one in records]

    return make


class _Template(NamedTuple):
    """A record, and the fields in which its copies for other replicates differ.

    `varied` are fields with the name of their value: a seed as text, or the key of the first
    record that stands there. `text` is canonical, with such names in the place of values.
    """

    cls: type[Record]
    shared: dict[str, Any]
    varied: dict[str, str]
    text: str


def _mould(one: Record, moulds: Mapping[str, _Template]) -> _Template | None:
    """None where neither the record nor any within it has a seed."""
    varied: dict[str, str] = {}
    for name, value in one.__dict__.items():
        if name in one.seeds:
            varied[name] = repr(value)
        elif isinstance(value, Record) and value.key in moulds:
            varied[name] = value.key
        elif isinstance(value, tuple) and any(getattr(v, "key", None) in moulds for v in value):
            raise TypeError(f"{one.kind}.{name}: records with seeds do not stand in a tuple")
    if not varied:
        return None
    apart = {*varied, "key", "_written"}
    shared = {name: value for name, value in one.__dict__.items() if name not in apart}
    return _Template(type(one), shared, varied, template(one, varied))


def _within(one: Record) -> Iterator[Record]:
    """The records that stand in a record's fields, and in tuples there."""
    for value in one.__dict__.values():
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Record):
                yield item


def _inside_out(records: Iterable[Record]) -> list[Record]:
    """All records within these, and they themselves: each once, after those within it."""
    found: dict[str, Record] = {}
    path = list(records)[::-1]
    while path:
        one = path[-1]
        if one.key in found:
            path.pop()
            continue
        inner = [v for v in _within(one) if v.key not in found]
        path += inner
        if not inner:
            found[one.key] = path.pop()
    return list(found.values())
