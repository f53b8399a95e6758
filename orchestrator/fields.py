"""What the fields of a sweep file take: lists, ranges, lengths and names."""

import math
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from orchestrator.yaml_source import nearest
from tasks import catalog, own
from tasks.spec import LARGEST


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


def _expanded(value: Any) -> list[float]:
    """Numbers from a number, `a..b`, `a..b..step`, or a list of these."""
    numbers: list[float] = []
    for item in listed(value):
        if not (isinstance(item, str) and ".." in item):
            numbers.append(_number(item))
            continue
        numbers += _range(item)
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
    """How many examples: a whole number, or a fraction of them such as 0.1."""
    if isinstance(value, float) and 0 < value < 1:
        return value
    number = _number(value)
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


def _one_of(what: str, known: tuple[str, ...]) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if isinstance(value, str) and ":" in value:
            if not value.startswith("torchvision:"):
                own.digest(value)
            return value
        if value not in known:
            raise ValueError(f"no {what} {value!r}; {nearest(str(value), known)}")
        return value

    return check


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
    known = _one_of("network", tuple(catalog.NETWORKS))(name)
    if not isinstance(options, dict) or set(options) - {"width"}:
        raise ValueError(f"{name} takes options as {{width: 2}}, not {options!r}")
    return NetworkChoice(name=known, width=_number(options.get("width", 1.0)))


def _replicates(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise ValueError(f"takes how many (at least 1) or a list of seeds, not {value}")
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
