"""Identity of work: a value's key is the SHA-256 of its canonical JSON.

Every value that names work derives from `Record`: frozen, checked and coerced where it is
made, and equal to another exactly when their keys are equal. The five rules that keep keys
honest are in docs/architecture.md; tests/spec and tests/golden hold them.
"""

import dataclasses
import hashlib
import json
import math
import types
import typing
from collections.abc import Callable
from typing import Any, ClassVar, Literal, Union, dataclass_transform

SIGNIFICANT_DIGITS = 12
_LEFT_OUT = "left_out_while"


def added(*, default: Any) -> Any:
    """Declare a field that older keys did not have.

    It is left out of the canonical form while it equals `default`, which must reproduce the
    behaviour from before the field existed and may therefore never change (rule 4).
    """
    return dataclasses.field(default=default, metadata={_LEFT_OUT: default})


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(added,))
class Record:
    """A frozen value with a key.

    Subclasses declare annotated fields, a `kind` that is unique among all records, and a
    semantics `version` (raised when the same fields come to mean another result). Fields
    may be int, float, bool, str, a Literal, a tuple of these, another record, or a union
    of these with None.

    Attributes
    ----------
    canonical : str
        Canonical JSON: kind, version and fields, sorted. A `referenced` record (one that
        has results of its own) stands in it as its key; any other is written out.
    key : str
        SHA-256 of `canonical`, 64 hex digits.

    Raises
    ------
    ValueError, TypeError
        When a field cannot hold the value; the message names the field and what it takes.
    """

    kind: ClassVar[str]
    version: ClassVar[int]
    referenced: ClassVar[bool]
    kinds: ClassVar[dict[str, type["Record"]]] = {}
    _fields: ClassVar[tuple["_Field", ...] | None]
    _last: ClassVar[str] = ""

    key: str = dataclasses.field(init=False)

    def __init_subclass__(cls, *, kind: str, version: int = 1, referenced: bool = False) -> None:
        if kind in Record.kinds:
            raise TypeError(f"two records of kind {kind!r}")
        cls.kind, cls.version, cls.referenced, cls._fields = kind, version, referenced, None
        dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)
        Record.kinds[kind] = cls

    def __post_init__(self) -> None:
        state = self.__dict__
        fields = type(self)._fields
        if fields is None:
            fields = _resolve_fields(type(self))
        for name, coerce, _, _ in fields:
            state[name] = coerce(state[name], name)
        self.check()
        text = _canonical(self, fields)
        state["key"] = hashlib.sha256(text.encode()).hexdigest()
        if not self.referenced:
            state["_written"] = text  # those that it is part of will ask for it

    @property
    def canonical(self) -> str:
        """What `key` is the digest of; of referenced records written anew, to save memory."""
        written: str | None = self.__dict__.get("_written")
        return _canonical(self, type(self)._fields or ()) if written is None else written

    def check(self) -> None:
        """Refuse impossible combinations of fields (for subclasses)."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.key[:12]}>"


def decode(data: Any) -> Any:
    """Rebuild a written-out record from parsed canonical JSON (the inverse of `canonical`).

    Raises
    ------
    ValueError
        For an unknown kind, or a version this code does not compute.
    """
    if isinstance(data, list):
        return tuple(decode(item) for item in data)
    if not isinstance(data, dict):
        return data
    fields = dict(data)
    kind, version = fields.pop("kind"), fields.pop("version")
    cls = Record.kinds.get(kind)
    if cls is None or cls.version != version:
        raise ValueError(f"no {kind!r} of version {version} in this code")
    return cls(**{name: decode(value) for name, value in fields.items()})


def digest(text: str) -> str:
    """The key that canonical text stands for."""
    return hashlib.sha256(text.encode()).hexdigest()


# ---------------------------------------------------------------- canonical text


class _Field(typing.NamedTuple):
    """A field; `before` it comes what every record of its kind has: kind or version."""

    name: str
    coerce: Callable[[Any, str], Any]
    left_out: Any
    before: str


_KEEP = object()


def _resolve_fields(cls: type[Record]) -> tuple[_Field, ...]:
    """Coercers by type hint; done at first use, since records refer to later ones."""
    hints = typing.get_type_hints(cls)
    constants = {"kind": f'"kind":"{cls.kind}"', "version": f'"version":{cls.version}'}
    found: list[_Field] = []
    for f in sorted(_dataclass_fields(cls), key=lambda f: f.name):
        if f.init:
            due = [name for name in constants if name < f.name]
            before = "".join(constants.pop(name) + "," for name in due)
            coerce = _coercer(hints[f.name])
            found.append(_Field(f.name, coerce, f.metadata.get(_LEFT_OUT, _KEEP), before))
    cls._fields, cls._last = tuple(found), ",".join(constants.values())
    return cls._fields


def _dataclass_fields(cls: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(cls)  # `cls` is a dataclass since __init_subclass__


def _canonical(record: Record, fields: "tuple[_Field, ...]") -> str:
    """Fields are sorted by name, kind and version among them.

    A million trials are several million fields: what does not depend on the record was
    written when its fields were resolved.
    """
    state, text = record.__dict__, "{"
    for name, _, left_out, before in fields:
        value = state[name]
        if before:
            text += before
        if left_out is _KEEP or value != left_out:
            write = _WRITERS.get(type(value))
            text += f'"{name}":{write(value) if write else _text(value)},'
    last = type(record)._last  # noqa: SLF001 (of this module)
    return f"{text}{last}}}" if last else f"{text[:-1]}}}"


def _text(value: Any) -> str:
    if isinstance(value, Record):
        return f'"{value.key}"' if value.referenced else value.canonical
    if isinstance(value, tuple):
        return "[" + ",".join((_WRITERS.get(type(one)) or _text)(one) for one in value) + "]"
    return json.dumps(value)


_WRITERS: dict[type, Callable[[Any], str]] = {
    str: json.encoder.encode_basestring_ascii,
    int: repr,
    float: repr,
    bool: {True: "true", False: "false"}.__getitem__,
    type(None): {None: "null"}.__getitem__,
}


# ---------------------------------------------------------------- coercion by field type


def _coercer(hint: Any) -> Callable[[Any, str], Any]:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint in _SCALARS:
        return _SCALARS[hint]
    if origin is Literal:
        return _one_of(args)
    if origin is tuple:
        return _tuple_of(_coercer(args[0]))
    if origin in (Union, types.UnionType):
        return _union_of(args)
    if isinstance(hint, type) and issubclass(hint, Record):
        return _instance_of((hint,))
    raise TypeError(f"a record cannot have a field of type {hint}")


def _int(value: Any, name: str) -> int:
    if type(value) is int:
        return value
    number = _float(value, name, wanted="an integer")
    if not number.is_integer():
        raise ValueError(f"{name} takes an integer, not {value!r}")
    return int(number)


def _float(value: Any, name: str, wanted: str = "a number") -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"{name} takes {wanted}, not {value!r}")
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"{name} takes {wanted}, not {value!r}") from None
    if not math.isfinite(number) or (number == 0 and math.copysign(1, number) < 0):
        raise ValueError(f"{name} takes {wanted}, not {number}")
    return float(f"{number:.{SIGNIFICANT_DIGITS}g}")


def _bool(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return value
    raise TypeError(f"{name} takes true or false, not {value!r}")


def _str(value: Any, name: str) -> str:
    if isinstance(value, str):
        return value
    raise TypeError(f"{name} takes text, not {value!r}")


_SCALARS: dict[Any, Callable[[Any, str], Any]] = {
    int: _int,
    float: _float,
    bool: _bool,
    str: _str,
}


def _one_of(allowed: tuple[Any, ...]) -> Callable[[Any, str], Any]:
    def coerce(value: Any, name: str) -> Any:
        if value in allowed:
            return value
        raise ValueError(f"{name} takes one of {', '.join(map(str, allowed))}, not {value!r}")

    return coerce


def _tuple_of(item: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    def coerce(value: Any, name: str) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise TypeError(f"{name} takes a list, not {value!r}")
        return tuple(item(element, name) for element in value)

    return coerce


def _instance_of(classes: tuple[type, ...]) -> Callable[[Any, str], Any]:
    def coerce(value: Any, name: str) -> Any:
        if isinstance(value, classes):
            return value
        kinds = " or ".join(getattr(c, "kind", "nothing") for c in classes)
        raise TypeError(f"{name} takes {kinds}, not {value!r}")

    return coerce


def _union_of(hints: tuple[Any, ...]) -> Callable[[Any, str], Any]:
    classes = tuple(h for h in hints if isinstance(h, type) and issubclass(h, Record))
    others = [_coercer(h) for h in hints if h not in classes and h is not type(None)]
    optional = type(None) in hints
    if len(others) > 1:
        raise TypeError("a union may hold one plain type beside records and None")
    fallback = others[0] if others else _instance_of(classes)

    def coerce(value: Any, name: str) -> Any:
        if (optional and value is None) or isinstance(value, classes):
            return value
        return fallback(value, name)

    return coerce
