"""Types of a sweep file's fields: lists, ranges, lengths and names."""

import difflib
import math
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic_core import CoreSchema

from tasks.values import catalog, user_code
from tasks.values.torchvision_names import PREFIX, torchvision_networks
from tasks.values.training import LARGEST
from tombola.text import nearest


def listed(value: Any) -> list[Any]:
    """One value as a list of one."""
    return value if isinstance(value, list) else [value]


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"takes a number, a range a..b or a list of them, not {value!r}")
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"takes a number or a range a..b, not {value!r}") from None
    if not math.isfinite(number):
        raise ValueError(f"takes a finite number, not {value!r}")
    return number


MOST_NUMBERS = 100_000
"""Of a list or range, and of replicates."""


def _expanded(value: Any) -> list[float]:
    """Numbers from a number, `a..b`, `a..b..step`, or a list of these."""
    numbers: list[float] = []
    for item in listed(value):
        if not (isinstance(item, str) and ".." in item):
            numbers.append(_number(item))
            continue
        numbers += _range(item)
        if len(numbers) > MOST_NUMBERS:
            raise ValueError(f"takes {MOST_NUMBERS} values at most, in all its ranges")
    if not numbers:
        raise ValueError("takes at least one value")
    return numbers


def _range(text: str) -> list[float]:
    """The numbers of `a..b` (a step of 1) or `a..b..step`, a and b included."""
    parts = text.split("..")
    if "..." in text or not 2 <= len(parts) <= 3 or not all(part.strip() for part in parts):
        raise ValueError(f"takes a range a..b or a..b..step with two dots between, not {text!r}")
    first, last, *step = [_number(part) for part in parts]
    by = step[0] if step else 1.0
    if by <= 0 or last < first:
        raise ValueError(f"takes a range a..b or a..b..step that rises, not {text!r}")
    if first < last < first + by * (1 - 1e-9):
        raise ValueError(
            f"{text} ends before its second value, {first + by:g}: name a smaller step, such as "
            f"{parts[0]}..{parts[1]}..{(last - first) / 4:g}"
        )
    count = math.floor((last - first) / by + 1e-9) + 1
    if count > 100_000:
        raise ValueError(f"range {text} has {count} values; 100000 at most")
    return [first + i * by for i in range(count)]


def share(value: Any) -> Any:
    """Return a number of examples: a whole number, or a share such as 0.1."""
    number = _number(value)
    if 0 < number < 1:
        return number
    if not number.is_integer() or not 0 <= number <= LARGEST:
        raise ValueError(
            f"takes how many examples, or their share between 0 and 1, such as 0.1, not {value!r}"
        )
    return int(number)


def _whole(value: Any) -> list[int]:
    numbers = _expanded(value)
    for number in numbers:
        if not number.is_integer() or not 0 <= number <= LARGEST:
            raise ValueError(f"takes whole numbers from 0 to {LARGEST}, not {number:.17g}")
    return [int(number) for number in numbers]


def distinct(values: list[Any]) -> list[Any]:
    """The values, refused where one is named twice."""
    if len(set(map(str, values))) != len(values):
        raise ValueError("names the same value twice")
    return values


def _length(value: Any) -> str | int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST:
        return value
    if isinstance(value, str) and re.fullmatch(r"\d+(it|ep)?", value):
        return value
    raise ValueError(f"takes iterations or epochs, such as 600, 600it or 10ep, not {value!r}")


def iterations(length: str | int, per_epoch: int) -> int:
    """A length such as 600, `600it` or `10ep` in iterations."""
    text = str(length)
    return int(text[:-2]) * per_epoch if text.endswith("ep") else int(text.removesuffix("it"))


def _one_of(what: Literal["dataset", "network"], known: tuple[str, ...]) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if isinstance(value, str) and ":" in value:
            user_code.check(value, what)
            user_code.digest(value)
            return value
        if value not in known:
            raise ValueError(f"no {what} {value!r}; {nearest(str(value), known)}")
        return value

    return check


_named_network = _one_of("network", tuple(catalog.NETWORKS))


def _network_name(value: Any) -> Any:
    """One of ours, of torchvision's or of the user's own."""
    if not (isinstance(value, str) and value.startswith(PREFIX)):
        return _named_network(value)
    known, name = torchvision_networks(), value.removeprefix(PREFIX)
    if name not in known:
        like = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        hint = f"did you mean {PREFIX}{like[0]}?" if like else "see torchvision.models"
        raise ValueError(f"torchvision has no network {name!r}; {hint}")
    return value


def layer(name: str) -> str:
    """The name of a layer that is to stay dense."""
    if name in {"first", "last"} or name.endswith(".weight"):
        return name
    raise ValueError(f"takes first, last or the name of a weight tensor, not {name!r}")


def named(value: Any) -> tuple[Any, Any]:
    """A name and its options, from `name` or `{name: {option: value}}`."""
    if isinstance(value, dict) and len(value) == 1:
        [(name, options)] = value.items()
        return name, {} if options is None else options
    return value, {}


def combinations(options: dict[Any, Any]) -> Iterator[dict[Any, Any]]:
    """Every combination of options of which each is a value, a range or a list of these.

    Raises
    ------
    ValueError
        When a list is empty or names a value twice.
    """
    axes = {}
    for name, value in options.items():
        try:
            axes[name] = distinct([one for item in listed(value) for one in _option(item)])
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if not axes[name]:
            raise ValueError(f"{name} takes at least one value")
    for values in product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _option(value: Any) -> list[Any]:
    """An option's value, or those of a range, whole ones as integers."""
    if isinstance(value, str) and re.fullmatch(r"-?[\d.e+-]*\d\.\.\d[\d.e+-]*", value):
        return [int(number) if number.is_integer() else number for number in _expanded(value)]
    return [value]


def _network(value: Any) -> Any:
    """`resnet20`, or `{resnet20: {width: [1, 2]}}`: as many choices as there are combinations."""
    if isinstance(value, NetworkChoice):
        return [value]
    name, options = named(value)
    known = _network_name(name)
    users = ":" in known and not known.startswith(PREFIX)
    if not isinstance(options, dict) or (set(options) - {"width", "prunable"} and not users):
        raise ValueError(
            f"{name} takes options as {{width: 2}} or {{prunable: patterns}}, not {options!r}"
        )
    return [_chosen(known, one, users=users) for one in combinations(options)]


def _chosen(name: str, given: dict[str, Any], *, users: bool) -> "NetworkChoice":
    """A network with one value for each option; `width` is Tombola's unless a user's takes it."""
    found = user_code.signature_of(name, "network") if users else None
    rest = dict(given)
    taken = found.options if found else ()
    width = 1.0 if "width" in taken else _number(rest.pop("width", 1.0))
    prunable = () if "prunable" in taken else patterns(rest.pop("prunable", None))
    typed = user_code.options(name, "network", rest) if users else {}
    return NetworkChoice(
        name=name,
        width=width,
        prunable=prunable,
        options=typed,
        written=user_code.written(name, "network", typed) if users else (),
    )


def patterns(value: Any) -> tuple[str, ...]:
    """Patterns of tensors' names in one text, `default, -*.patches.weight`; None has none."""
    if value is None:
        return ()
    if not isinstance(value, str):
        raise ValueError(f"prunable takes patterns of tensors' names in one text, not {value!r}")
    found = tuple(re.split(r"\s*,\s*", value.strip()))
    if not all(pattern.removeprefix("-") for pattern in found):
        raise ValueError(f"prunable takes patterns with commas between them, not {value!r}")
    return found


def flat(choices: list[Any]) -> list[Any]:
    """Lists of choices as one list."""
    return [choice for several in choices for choice in listed(several)]


def _replicates(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise ValueError(f"takes how many (at least 1) or a list of seeds, not {value}")
        if value > MOST_NUMBERS:
            raise ValueError(f"takes {MOST_NUMBERS} at most, not {value}")
        return list(range(value))
    return _whole(value)


# ---------------------------------------------------------------- what editors are told


class OrOne:
    """Marks a list in the JSON schema: one value may stand for a list of one."""

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Return the schema of one item, or of the list."""
        listed = handler(core_schema)
        items = handler.resolve_ref_schema(listed).get("items", {})
        return {"anyOf": [items, listed]}


T = TypeVar("T")
OneOrMore = Annotated[list[T], BeforeValidator(listed), OrOne()]


def one_or_more(one: dict[str, Any]) -> dict[str, Any]:
    """Describe one such value, or a list of at least one."""
    return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}


def _in_schema(one: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema(one_or_more(one))


_DECIMAL = r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"
_RANGE = {"type": "string", "pattern": rf"^\s*{_DECIMAL}\s*(\.\.\s*{_DECIMAL}\s*){{1,2}}$"}
_NUMBER = {"anyOf": [{"type": "number"}, _RANGE, {"type": "string", "pattern": f"^{_DECIMAL}$"}]}
_WHOLE = {"anyOf": [{"type": "number", "minimum": 0}, _RANGE]}
_LENGTH = {
    "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^\d+(it|ep)?$"}]
}
_USERS = {"type": "string", "pattern": r"^[\w.]+:[\w.]+$"}
SHARE = WithJsonSchema({"type": "number", "minimum": 0})


def with_options(known: Iterable[str]) -> dict[str, Any]:
    """Describe a name, or a mapping of it to its options; a user's own name has a colon."""
    names = sorted(known)
    body = {"type": ["object", "null"]}
    mapping = {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "properties": dict.fromkeys(names, body),
        "patternProperties": {":": body},
        "additionalProperties": False,
    }
    return {"anyOf": [{"enum": names}, _USERS, mapping]}


# ---------------------------------------------------------------- types


Length = Annotated[str | int, BeforeValidator(_length), WithJsonSchema(_LENGTH)]
Lengths = Annotated[
    list[Length], BeforeValidator(listed), AfterValidator(distinct), _in_schema(_LENGTH)
]
Wholes = Annotated[list[int], BeforeValidator(_whole), AfterValidator(distinct), _in_schema(_WHOLE)]
Numbers = Annotated[
    list[float], BeforeValidator(_expanded), AfterValidator(distinct), _in_schema(_NUMBER)
]
Replicates = Annotated[
    list[int],
    BeforeValidator(_replicates),
    AfterValidator(distinct),
    Field(min_length=1),
    _in_schema(_WHOLE),
]
DatasetName = Annotated[
    str,
    BeforeValidator(_one_of("dataset", tuple(catalog.DATASETS))),
    WithJsonSchema({"anyOf": [{"enum": sorted(catalog.DATASETS)}, _USERS]}),
]


class NetworkChoice(BaseModel):
    """An architecture, how wide, what of it is prunable, and options of a user's own.

    These are typed, and `written` as a key has them.
    """

    model_config = ConfigDict(frozen=True)
    name: str
    width: float = 1.0
    prunable: tuple[str, ...] = ()
    options: dict[str, Any] = {}
    written: user_code.Options = ()


Datasets = Annotated[
    list[DatasetName],
    BeforeValidator(listed),
    AfterValidator(distinct),
    Field(min_length=1),
    OrOne(),
]
Networks = Annotated[
    list[Annotated[Any, BeforeValidator(_network)]],
    BeforeValidator(listed),
    AfterValidator(flat),
    AfterValidator(distinct),
    Field(min_length=1),
    _in_schema(with_options(catalog.NETWORKS)),
]
