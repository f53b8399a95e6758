"""What the fields of a sweep file take: lists, ranges, lengths and names."""

import difflib
import math
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from orchestrator.yaml_source import nearest
from tasks import catalog, own
from tasks.spec import LARGEST
from tasks.torchvision_names import PREFIX, torchvision_networks


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
        first, last, *step = [_number(part) for part in item.split("..")]
        by = step[0] if step else 1.0
        if len(step) > 1 or by <= 0 or last < first:
            raise ValueError(f"takes a range a..b or a..b..step that rises, not {item!r}")
        count = math.floor((last - first) / by + 1e-9) + 1
        if count > MOST_NUMBERS:
            raise ValueError(f"range {item} has {count} values; {MOST_NUMBERS} at most")
        if len(numbers) + count > MOST_NUMBERS:
            raise ValueError(f"takes {MOST_NUMBERS} values at most, in all its ranges")
        numbers += [first + i * by for i in range(count)]
    if not numbers:
        raise ValueError("takes at least one value")
    return numbers


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


def _one_of(what: str, known: tuple[str, ...]) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if isinstance(value, str) and ":" in value:
            own.digest(value)
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


def _network(value: Any) -> Any:
    """`resnet20`, or `{resnet20: {width: 2}}`."""
    if isinstance(value, NetworkChoice):
        return value
    name: Any = value
    options: Any = {}
    if isinstance(value, dict) and len(value) == 1:
        [(name, options)] = value.items()
    known = _network_name(name)
    if not isinstance(options, dict) or set(options) - {"width"}:
        raise ValueError(f"{name} takes options as {{width: 2}}, not {options!r}")
    return NetworkChoice(name=known, width=_number(options.get("width", 1.0)))


def _replicates(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise ValueError(f"takes how many (at least 1) or a list of seeds, not {value}")
        if value > MOST_NUMBERS:
            raise ValueError(f"takes {MOST_NUMBERS} at most, not {value}")
        return list(range(value))
    return _whole(value)


Length = Annotated[str | int, BeforeValidator(_length)]
Lengths = Annotated[list[Length], BeforeValidator(listed), AfterValidator(distinct)]
Wholes = Annotated[list[int], BeforeValidator(_whole), AfterValidator(distinct)]
Numbers = Annotated[list[float], BeforeValidator(_expanded), AfterValidator(distinct)]
Replicates = Annotated[
    list[int], BeforeValidator(_replicates), AfterValidator(distinct), Field(min_length=1)
]
DatasetName = Annotated[str, BeforeValidator(_one_of("dataset", tuple(catalog.DATASETS)))]


class NetworkChoice(BaseModel):
    """An architecture, and how wide."""

    model_config = ConfigDict(frozen=True)
    name: str
    width: float = 1.0


NetworkName = Annotated[NetworkChoice, BeforeValidator(_network)]
Datasets = Annotated[
    list[DatasetName], BeforeValidator(listed), AfterValidator(distinct), Field(min_length=1)
]
Networks = Annotated[
    list[NetworkName], BeforeValidator(listed), AfterValidator(distinct), Field(min_length=1)
]
