"""The sweep file: what a researcher may write, checked before anything is planned.

`read` gives the file as a `Sweep` or every mistake at once, each with its file and line.
What a sweep means is in trials.py.
"""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from orchestrator.sweep import recipes, yaml_source
from orchestrator.sweep.fields import (
    DatasetName,
    Datasets,
    Length,
    Lengths,
    Networks,
    Numbers,
    Replicates,
    Wholes,
    combinations,
    distinct,
    flat,
    layer,
    listed,
    named,
    share,
)
from orchestrator.sweep.methods import METHODS, AblationName, Density, Scope
from orchestrator.sweep.methods import method as find_method
from orchestrator.sweep.yaml_source import Loc, Source, nearest
from tasks.values import user_code
from tasks.values.records import (
    NUMBERS_OF_RECIPES,
    InitScheme,
    LinearScheme,
    SplitName,
    check_number,
)
from tombola.errors import SweepError
from tombola.text import MOST_TAGS, SWEEP_NAME, TAG_NAME


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


# ---------------------------------------------------------------- recipes


class ConstantRate(_Model):
    """Written `constant`."""

    kind: Literal["constant"] = "constant"


class CosineRate(_Model):
    """Written `cosine`."""

    kind: Literal["cosine"] = "cosine"


class StepDecayRate(_Model):
    """Written `{step_decay: {at: [80ep, 120ep], factor: 0.1}}`."""

    kind: Literal["step_decay"] = "step_decay"
    at: Annotated[list[Length], BeforeValidator(listed), Field(min_length=1)]
    factor: float = 0.1


RateSchedule = ConstantRate | CosineRate | StepDecayRate


def _schedule(value: Any) -> Any:
    if isinstance(value, _Model):
        return value
    if value == "constant":
        return ConstantRate()
    if value == "cosine":
        return CosineRate()
    if isinstance(value, dict) and list(value) == ["step_decay"]:
        body = value["step_decay"]
        if isinstance(body, dict):
            try:
                return StepDecayRate.model_validate(body)
            except ValidationError as error:
                first = error.errors()[0]
                name = ".".join(map(str, first["loc"]))
                raise ValueError(f"step_decay: {name}: {_plain(first['msg'])}") from None
    raise ValueError(
        f"takes constant, cosine or {{step_decay: {{at: [300, 450], factor: 0.1}}}}, not {value!r}"
    )


class RecipeFields(_Model):
    """How to train. Any field may be a list, which makes it an axis of the grid."""

    steps: Lengths | None = None
    batch_size: Wholes | None = None
    lr: Numbers | None = None
    evaluate_every: Lengths | None = None
    momentum: Numbers | None = None
    nesterov: Annotated[list[bool], BeforeValidator(listed)] | None = None
    weight_decay: Numbers | None = None
    schedule: (
        Annotated[
            list[Annotated[RateSchedule, BeforeValidator(_schedule)]], BeforeValidator(listed)
        ]
        | None
    ) = None
    warmup: Lengths | None = None
    optimizer: Annotated[list[Literal["sgd", "adam"]], BeforeValidator(listed)] | None = None
    augment: (
        Annotated[
            list[Literal["none", "flip", "crop_flip", "resized_crop_flip"]],
            BeforeValidator(listed),
        ]
        | None
    ) = None
    label_smoothing: Numbers | None = None
    ghosts: (
        Annotated[list[Literal["none", "neurons", "skips", "both"]], BeforeValidator(listed)] | None
    ) = None
    ghost_steps: Lengths | None = None
    rescale_steps: Lengths | None = None
    precision: (
        Annotated[list[Literal["float32", "tf32", "bfloat16"]], BeforeValidator(listed)] | None
    ) = None

    @field_validator(*NUMBERS_OF_RECIPES)
    @classmethod
    def _possible(cls, numbers: list[float] | None, field: ValidationInfo) -> list[float] | None:
        for number in numbers or ():
            check_number(field.field_name or "", number)
        return numbers


class InitFields(_Model):
    """How initial weights are drawn; by the network's own code where one's own says nothing."""

    weights: InitScheme | None = None
    batch_norm: Literal["ones", "uniform"] = "ones"
    linear: LinearScheme = "as_weights"


# ---------------------------------------------------------------- grids


Tag = Annotated[str, Field(pattern=TAG_NAME)]
Tags = Annotated[dict[Tag, bool | int | FiniteFloat | str], Field(max_length=MOST_TAGS)]
"""What a user wants to find trials by, columns tag_… of `trials`; in no key."""


class Compression(_Model):
    """Compression on a logarithmic grid: `{log10: 0..3..0.25}`."""

    log10: Numbers


class MethodChoice(_Model):
    """A method and its own options: `synflow`, or `{synflow: {iterations: 1}}`."""

    name: str
    options: dict[str, Any] = {}


def _method(value: Any) -> Any:
    """`snip`, or `{snip: {per_class: [1, 10]}}`: as many choices as there are combinations."""
    if isinstance(value, MethodChoice):
        return [value]
    name, options = named(value)
    if not isinstance(name, str) or (name not in METHODS and ":" not in name):
        raise ValueError(f"no method {name!r}; {nearest(str(name), tuple(METHODS))}")
    if not isinstance(options, dict):
        raise ValueError(f"{name} takes options as {{option: value}}, not {options!r}")
    if ":" in name:
        user_code.check(name, "score")
    return [
        MethodChoice(name=name, options=find_method(name).typed(name, one))
        for one in combinations(options)
    ]


class Grid(_Model):
    """Every combination of its lists is a trial, for each replicate."""

    method: Annotated[
        list[Annotated[Any, BeforeValidator(_method)]],
        BeforeValidator(listed),
        AfterValidator(flat),
        Field(min_length=1),
    ]
    sparsity: Numbers | None = None
    density: Numbers | None = None
    compression: Compression | Numbers | None = None
    levels: Wholes | None = None
    ablation: Annotated[
        list[AblationName],
        BeforeValidator(listed),
        AfterValidator(distinct),
        Field(min_length=1),
    ] = ["none"]
    prune_step: Lengths = [0]
    rewind_step: Lengths = [0]
    prune_fraction: float = Field(default=0.2, gt=0, lt=1)
    scope: Annotated[list[Scope], BeforeValidator(listed)] = ["global"]
    dataset: Datasets | None = None
    network: Networks | None = None
    recipe: RecipeFields = RecipeFields()
    finetune: RecipeFields | None = None
    keep_dense: Annotated[
        list[Annotated[str, AfterValidator(layer)]],
        BeforeValidator(listed),
        AfterValidator(distinct),
    ] = []
    layer_rates: dict[str, Annotated[float, Field(ge=0, lt=1)]] = {}
    found_on: DatasetName | None = None
    train: bool = True
    tags: Tags = {}
    measure: Annotated[
        list[Literal["barrier", "ramanujan", "latency"]],
        BeforeValidator(listed),
        AfterValidator(distinct),
    ] = []
    latency_batch_size: Annotated[int, Field(ge=1, le=100_000)] = 1

    @model_validator(mode="after")
    def _consistent(self) -> "Grid":
        names = ["sparsity", "density", "compression", "levels"]
        said = [name for name in names if getattr(self, name) is not None]
        if len(said) != 1:
            got = " and ".join(said) or "none"
            raise ValueError(f"takes one of sparsity, density, compression or levels, not {got}")
        if "barrier" in self.measure and not self.train:
            raise ValueError("measure: barrier lies between trained networks: it takes train: true")
        if "latency_batch_size" in self.model_fields_set and "latency" not in self.measure:
            raise ValueError("latency_batch_size goes with measure: latency")
        for method in self.method:
            self._check_axes(method.name)
        self.densities()
        return self

    def _check_axes(self, method: str) -> None:
        takes = find_method(method).takes
        written = self.model_fields_set
        for axis in ("prune_step", "rewind_step", "finetune", "keep_dense", "layer_rates"):
            if axis in written and axis not in takes:
                raise ValueError(f"{axis} does not apply to {method}; give it a grid of its own")
        if "prune_fraction" in takes and self.levels is None:
            raise ValueError(
                f"{method} takes levels: 0..n (density {1 - self.prune_fraction:g}^n), "
                "since each level is pruned from the one before"
            )

    def densities(self) -> tuple[Density, ...]:
        """The densities asked for, in the file's order."""
        if self.levels is not None:
            return tuple(Density((1 - self.prune_fraction) ** n, level=n) for n in self.levels)
        if self.sparsity is not None:
            return _densities("sparsity", self.sparsity, lambda s: 1 - s)
        if self.density is not None:
            return _densities("density", self.density, lambda d: d)
        if isinstance(self.compression, Compression):
            return _densities("log10", self.compression.log10, lambda x: 10.0**-x)
        return _densities("compression", self.compression or [], lambda c: 1 / c if c else 2)


def _densities(
    name: str, values: list[float], density: Callable[[float], float]
) -> tuple[Density, ...]:
    impossible = [v for v in values if not 0 < density(v) <= 1]
    if impossible:
        bounds = {
            "sparsity": "from 0 to below 1",
            "density": "above 0, up to 1",
            "log10": "of 0 or more",
            "compression": "of 1 or more",
        }
        raise ValueError(f"{name} takes numbers {bounds[name]}, not {impossible[0]:g}")
    return tuple(Density(float(f"{density(v):.12g}")) for v in values)


class Sweep(_Model):
    """A sweep file. `recipe` must name steps, batch_size and lr, here or in every grid."""

    name: Annotated[str, Field(pattern=SWEEP_NAME)]
    description: str = ""
    dataset: Datasets
    network: Networks
    recipe: RecipeFields = RecipeFields()
    init: InitFields = InitFields()
    replicates: Replicates = [0]
    dense: bool = True
    eval: Annotated[
        list[SplitName], BeforeValidator(listed), AfterValidator(distinct), Field(min_length=1)
    ] = ["train", "test"]
    validation: Annotated[int | float, BeforeValidator(share)] | None = None
    grids: Annotated[list[Grid], Field(min_length=1)]
    keep: Literal["all", "tickets", "metrics"] = "all"
    tags: Tags = {}
    figures: list[Any] = []

    @model_validator(mode="before")
    @classmethod
    def _published(cls, data: Any) -> Any:
        return recipes.filled(data) if isinstance(data, dict) else data


# ---------------------------------------------------------------- reading, with all mistakes


Check = Callable[[Source], list[str]]
"""What else is wrong with a sweep file: a line for each mistake, with its place."""


def read(
    path: Path, overrides: tuple[str, ...] = (), also: Check = lambda _: []
) -> tuple[Sweep, Source]:
    """The sweep of a file, with where each of its values was written.

    Raises
    ------
    SweepError
        With a line for every mistake, those that `also` finds too: file, line, name, what is
        wrong, what would be right.
    """
    source = yaml_source.load(path, overrides)
    try:
        sweep = Sweep.model_validate(source.data)
    except ValidationError as error:
        raise SweepError([*_problems(error, source), *also(source)]) from None
    if problems := also(source):
        raise SweepError(problems)
    return sweep, source


_ALIASES = {"architecture": "network", "arch": "network", "model": "network", "seeds": "replicates"}
_SIMPLER = {
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "string_type": "text",
    "string_pattern_mismatch": "lower-case letters, digits, - and _",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "too_short": "at least one value",
}
"""Pydantic's kinds of mistake, and what would have been right."""


def _problems(error: ValidationError, source: Source) -> list[str]:
    """A line for each mistake; a value that may be of several types makes one mistake."""
    lines: dict[tuple[Loc, str], str] = {}
    right: dict[Loc, dict[str, None]] = {}
    for item in error.errors():
        loc = _written(item["loc"], source.data)
        if item["type"] in _SIMPLER:
            words = right.setdefault(loc, {})
            words[_SIMPLER[item["type"]]] = None
            message = f"{_dotted(loc)} takes {' or '.join(words)}, not {_shown(item['input'])}"
            lines[loc, "type"] = message
        else:
            message = _message(item, loc)
            lines[loc, message] = message
    return [f"{source.place(loc)}: {message}" for (loc, _), message in lines.items()]


def _shown(value: Any) -> str:
    """A value as its writer knows it; YAML reads 2024-05-01 as a date."""
    return f"the date {value}: write it in quotes" if isinstance(value, date) else repr(value)


def _message(item: Any, loc: Loc) -> str:
    name = _dotted(loc)
    if item["type"] == "extra_forbidden":
        return f"unknown key {loc[-1]!r}{_of(loc)}; {_suggest(loc)}"
    if item["type"] == "missing":
        return f"{name} is missing"
    return f"{name + ': ' if name else ''}{_plain(item['msg'])}"


def _written(loc: Loc, data: Any) -> Loc:
    """Pydantic's path without the names of union members, which nobody wrote."""
    kept: list[str | int] = []
    for position, part in enumerate(loc):
        known = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if known or (isinstance(data, dict) and part in data):
            kept, data = [*kept, part], data[part]
        elif isinstance(data, dict) and position == len(loc) - 1:
            kept.append(part)
    return tuple(kept)


def _suggest(loc: Loc) -> str:
    models: dict[str, type[BaseModel]] = {
        "recipe": RecipeFields,
        "finetune": RecipeFields,
        "init": InitFields,
    }
    above = loc[-2] if len(loc) > 1 else None
    model: type[BaseModel] = Sweep
    if isinstance(above, int):
        model = Grid
    elif above == "compression":
        model = Compression
    elif above in models:
        model = models[str(above)]
    known = [*model.model_fields, *(["extends"] if model is Sweep else [])]
    alias = _ALIASES.get(str(loc[-1]))
    return f"did you mean {alias}?" if alias in known else nearest(str(loc[-1]), known)


def _of(loc: Loc) -> str:
    return f" in {_dotted(loc[:-1])}" if len(loc) > 1 else ""


def _dotted(loc: Loc) -> str:
    return ".".join(map(str, loc))


def _plain(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message[0].lower() + message[1:] if message.startswith(("Input", "List")) else message
