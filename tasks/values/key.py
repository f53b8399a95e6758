"""Identity of work: a value's key is the SHA-256 of its canonical JSON.

Every value that names work derives from `Record`: frozen, checked and coerced where it is
made, and equal to another exactly when their keys are equal. The five rules that keep keys
honest are in docs/explanation/keys.md; tests/spec and tests/golden hold them.
"""

import dataclasses
import functools
import hashlib
import json
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, Union, dataclass_transform

SIGNIFICANT_DIGITS = 12
_LEFT_OUT = "left_out_while"
_ABOUT = "about"
_DRAWN = "draws"

Seed: TypeAlias = Annotated[int, _DRAWN]
"""A field that only says which of many equally good draws is meant: replicates differ in these
alone (tasks.values.replicates). `Record.check` asks nothing of it, and it is not `added`."""


class About(typing.NamedTuple):
    """Description of a field for people: its column of `trials`.

    Attributes
    ----------
    meaning : str
        The column's comment.
    unit : str
        Empty for names, counts and ratios.
    """

    meaning: str
    unit: str = ""


def added(*, default: Any, about: About | None = None) -> Any:
    """Declare a field that older keys did not have.

    It is left out of the canonical form while it equals `default`, which must reproduce the
    behaviour from before the field existed and may therefore never change (rule 4).
    """
    return dataclasses.field(default=default, metadata={_LEFT_OUT: default, _ABOUT: about})


def described(about: About, *, default: Any = dataclasses.MISSING) -> Any:
    """Declare a field of the record's first version, and what it means."""
    return dataclasses.field(default=default, metadata={_ABOUT: about})


@dataclasses.dataclass(frozen=True)
class Ref:
    """A reference to a record that has results of its own: its key, and nothing else.

    `decode` puts it where canonical text has a key. It stands in the field of the record
    that it refers to, and has the `key` alone. The store has the rest, under that key.

    Raises
    ------
    ValueError
        When the key is not 64 hex digits.
    """

    key: str

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key):
            raise ValueError(f"a key has 64 digits (0-9, a-f), not {self.key[:80]!r}")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{name} of {self.key[:12]} is not known here: read it from the store")


_KEY = re.compile("[0-9a-f]{64}")


def known(record: object) -> bool:
    """Return whether a record is at hand, and not its key alone (`Ref`)."""
    return not isinstance(record, Ref)


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(added, described))
class Record:
    """A frozen value with a key.

    Subclasses declare annotated fields, a `kind` that is unique among all records, and a
    semantics `version` (raised when the same fields come to mean another result). A subclass
    without a `kind` is a base of others. Fields may be int, float, bool, str, a Literal, a
    tuple of these, another record, or a union of these with None.

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
    seeds: ClassVar[frozenset[str]]
    _fields: ClassVar[tuple["_Field", ...] | None]
    _last: ClassVar[str] = ""

    key: str = dataclasses.field(init=False)

    def __init_subclass__(
        cls, *, kind: str = "", version: int = 1, referenced: bool = False
    ) -> None:
        if kind in Record.kinds:
            raise TypeError(f"two records of kind {kind!r}")
        dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)
        cls.kind, cls.version, cls.referenced, cls._fields = kind, version, referenced, None
        if not kind:  # a base of records
            cls.kind = f"a {cls.__name__.lower()}"
            return
        Record.kinds[kind] = cls
        cls.seeds = frozenset(name for name, hint in cls.__annotations__.items() if hint == Seed)
        _WRITERS[cls] = _reference if referenced else _written

    def __post_init__(self) -> None:
        state = self.__dict__
        fields = type(self)._fields
        if fields is None:
            fields = _resolve_fields(type(self))
        for one in fields:
            value = state[one.name]
            if type(value) not in one.exact:
                state[one.name] = one.coerce(value, one.name)
        self._identify(_canonical(self))

    def _identify(self, text: str) -> None:
        self.check()
        state = self.__dict__
        state["key"] = hashlib.sha256(text.encode()).hexdigest()
        if not self.referenced:
            state["_written"] = text  # those that it is part of will ask for it

    @property
    def canonical(self) -> str:
        """Text of which `key` is the digest. References are written each time, to save memory."""
        written: str | None = self.__dict__.get("_written")
        return _canonical(self) if written is None else written

    def check(self) -> None:
        """Refuse impossible combinations of fields (for subclasses).

        A check that looks into a referenced record asks first whether it is `known`.
        """

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.key[:12]}>"


R = typing.TypeVar("R", bound=Record)


def changed(record: R, **changes: Any) -> R:
    """The same record but for these fields: dataclasses.replace, which takes 1.7 times as long."""
    made = object.__new__(type(record))
    state = made.__dict__
    state.update(record.__dict__)
    for field in _named(record, changes):
        state[field.name] = field.coerce(changes[field.name], field.name)
    made._identify(_canonical(made))
    return made


def varying(record: R, *names: str) -> Callable[..., R]:
    """Return a function that builds records which differ from this one in the named fields only.

    It takes their values, in that order. A grid's million runs are few families of runs:
    what they share is coerced and written once.
    """
    cls, own = type(record), _named(record, names)
    shared = {n: v for n, v in record.__dict__.items() if n not in (*names, "key", "_written")}
    before, *after = _around(record, names)
    places = [(names.index(f.name), f, text) for f, text in zip(own, after, strict=True)]

    def make(*values: Any) -> R:
        made = object.__new__(cls)
        state = made.__dict__
        state.update(shared)
        text = before
        for place, field, after in places:
            value = values[place]
            if type(value) not in field.exact:
                value = field.coerce(value, field.name)
            state[field.name] = value
            text += _piece(field, value) + after
        made._identify(f"{{{text[:-1]}}}")
        return made

    return make


def template(record: Record, places: Mapping[str, str]) -> str:
    """The canonical text with `%(place)s` for the values of these fields, by their names."""
    before, *after = (text.replace("%", "%%") for text in _around(record, tuple(places)))
    own = zip(_named(record, places), after, strict=True)
    text = before + "".join(f"{f.label}%({places[f.name]})s,{text}" for f, text in own)
    return f"{{{text[:-1]}}}"


def decode(data: Any) -> Any:
    """Rebuild a record from parsed canonical JSON (the inverse of `canonical`).

    Where the text has the key of a referenced record, the field holds a `Ref`. Fields that
    the text leaves out have the value that they are left out with. The key is the same.

    Raises
    ------
    ValueError, TypeError, KeyError
        For an unknown kind, a version this code does not compute, or an impossible field.
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
    declared = cls._fields or _resolve_fields(cls)
    references = {field.name for field in declared if field.refers}
    return cls(
        **{
            name: Ref(value) if name in references and isinstance(value, str) else decode(value)
            for name, value in fields.items()
        }
    )


def parse(text: str) -> Any:
    """Rebuild a record from canonical text, as `decode` does.

    Raises
    ------
    ValueError, TypeError, KeyError
        As of `decode`, and when the text is no JSON object.
    """
    data = json.loads(text)
    if not isinstance(data, dict):
        raise ValueError("the text of a record is a JSON object")
    return decode(data)


def digest(text: str) -> str:
    """The key that canonical text stands for."""
    return hashlib.sha256(text.encode()).hexdigest()


# ---------------------------------------------------------------- canonical text


def values(record: Record) -> dict[str, Any]:
    """Each field of a record by name."""
    return {f.name: getattr(record, f.name) for f in _dataclass_fields(type(record)) if f.init}


def fields_of(cls: type[Record]) -> frozenset[str]:
    """Return the names of a kind of record's fields."""
    return frozenset(field.name for field in _dataclass_fields(cls) if field.init)


@functools.cache
def described_fields(cls: type[Record]) -> dict[str, tuple[type, About]]:
    """Return the type of each field that has a meaning for people, and that meaning."""
    hints = typing.get_type_hints(cls)
    return {
        field.name: (hints[field.name], field.metadata[_ABOUT])
        for field in _dataclass_fields(cls)
        if field.metadata.get(_ABOUT)
    }


def added_fields(cls: type[Record]) -> frozenset[str]:
    """Return the names of the fields that older keys did not have."""
    return frozenset(f.name for f in _dataclass_fields(cls) if _LEFT_OUT in f.metadata)


def _named(record: Record, names: Iterable[str]) -> "list[_Field]":
    wanted = set(names)
    found = [field for field in type(record)._fields or () if field.name in wanted]
    if len(found) < len(wanted):
        strange = wanted - {field.name for field in found}
        raise TypeError(f"{record.kind} has no {', '.join(sorted(strange))}")
    return found


class _Field(typing.NamedTuple):
    """A field; values of an `exact` type are taken as they are, others coerced.

    `before` it, even where it is left out, stands what every record of its kind has (kind or
    version); its value stands after its `label`, which begins with that. A field that
    `refers` holds a referenced record, whose key stands in the text.
    """

    name: str
    coerce: Callable[[Any, str], Any]
    exact: frozenset[type]
    left_out: Any
    before: str
    label: str
    refers: bool


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
            hint, left_out = hints[f.name], f.metadata.get(_LEFT_OUT, _KEEP)
            label = f'{before}"{f.name}":'
            found.append(
                _Field(f.name, _coercer(hint), _exact(hint), left_out, before, label, _refers(hint))
            )
    cls._fields = tuple(found)
    cls._last = "".join(f"{text}," for text in constants.values())
    return cls._fields


def _dataclass_fields(cls: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(cls)  # `cls` is a dataclass since __init_subclass__


def _canonical(record: Record) -> str:
    """Fields are sorted by name, kind and version among them."""
    return f"{{{_around(record, ())[0][:-1]}}}"


def _around(record: Record, names: tuple[str, ...]) -> list[str]:
    """The canonical text before, between and after these fields, each field with a comma."""
    texts, text = [], ""
    state = record.__dict__
    for field in type(record)._fields or ():
        if field.name in names:
            texts.append(text)
            text = ""
        else:
            text += _piece(field, state[field.name])
    return [*texts, text + type(record)._last]  # noqa: SLF001 (of this module)


def _piece(field: "_Field", value: Any) -> str:
    if field.left_out is _KEEP or value != field.left_out:
        return f"{field.label}{_WRITERS.get(type(value), json.dumps)(value)},"
    return field.before


def _listed(values: tuple[Any, ...]) -> str:
    return f"[{','.join(_WRITERS.get(type(one), json.dumps)(one) for one in values)}]"


def _reference(record: Record | Ref) -> str:
    return f'"{record.key}"'


def _written(record: Record) -> str:
    text: str = record.__dict__["_written"]
    return text


_WRITERS: dict[type, Callable[[Any], str]] = {
    str: json.encoder.encode_basestring_ascii,
    int: repr,
    float: repr,
    bool: {True: "true", False: "false"}.__getitem__,
    type(None): {None: "null"}.__getitem__,
    tuple: _listed,
    Ref: _reference,
}
"""Writer of each type; each kind of record adds its own where it is declared."""


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
    return _rounded(number)


@functools.lru_cache(maxsize=1024)  # a million masks have few densities
def _rounded(number: float) -> float:
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


def _exact(hint: Any) -> frozenset[type]:
    """Types whose every value the field holds as it is."""
    if hint in (int, bool, str):
        return frozenset({hint})
    return frozenset(
        cls
        for cls in _members(hint)
        if isinstance(cls, type) and (cls is type(None) or issubclass(cls, Record))
    )


def _members(hint: Any) -> tuple[Any, ...]:
    """Return the types of a union; of another type, itself."""
    union = typing.get_origin(hint) in (Union, types.UnionType)
    return typing.get_args(hint) if union else (hint,)


def _refers(hint: Any) -> bool:
    """Return whether a field of this type may hold a referenced record."""
    return any(
        isinstance(cls, type) and issubclass(cls, Record) and cls.referenced
        for cls in _members(hint)
    )


def _takes(classes: tuple[type, ...]) -> tuple[type, ...]:
    """Return the classes that a field of these takes: a reference to a referenced one too."""
    return (*classes, Ref) if any(map(_refers, classes)) else classes


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
    taken = _takes(classes)

    def coerce(value: Any, name: str) -> Any:
        if isinstance(value, taken):
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
    taken = _takes(classes)

    def coerce(value: Any, name: str) -> Any:
        if (optional and value is None) or isinstance(value, taken):
            return value
        return fallback(value, name)

    return coerce
