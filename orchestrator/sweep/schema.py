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
    WithJsonSchema,
    field_validator,
    model_validator,
)

from orchestrator.sweep import recipes, yaml_source
from orchestrator.sweep.fields import (
    SHARE,
    DatasetName,
    Datasets,
    Length,
    Lengths,
    Networks,
    Numbers,
    OneOrMore,
    Replicates,
    Wholes,
    combinations,
    distinct,
    flat,
    layer,
    listed,
    named,
    one_or_more,
    share,
    with_options,
)
from orchestrator.sweep.methods import METHODS, AblationName, Density, Scope
from orchestrator.sweep.methods import method as find_method
from orchestrator.sweep.yaml_source import Loc, Source
from tasks.values import user_code
from tasks.values.measurements import MeasurementName
from tasks.values.training import (
    NUMBERS_OF_RECIPES,
    InitScheme,
    LinearScheme,
    SplitName,
    check_number,
)
from tombola.errors import SweepError
from tombola.text import MOST_TAGS, SWEEP_NAME, TAG_NAME, nearest


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
    at: Annotated[OneOrMore[Length], Field(min_length=1)]
    factor: float = 0.1


RateSchedule = ConstantRate | CosineRate | StepDecayRate
_IN_SCHEMA = WithJsonSchema(
    {
        "anyOf": [
            {"enum": ["constant", "cosine"]},
            {
                "type": "object",
                "properties": {"step_decay": StepDecayRate.model_json_schema()},
                "required": ["step_decay"],
                "additionalProperties": False,
            },
        ]
    }
)


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
    """A training procedure. A list in a field makes it an axis of the grid."""

    steps: Annotated[
        Lengths | None,
        Field(description="Iterations, `600` or `600it`, or epochs, `10ep`."),
    ] = None
    batch_size: Annotated[Wholes | None, Field(description="Examples in a batch.")] = None
    lr: Annotated[Numbers | None, Field(description="Learning rate after the warm-up.")] = None
    evaluate_every: Annotated[
        Lengths | None,
        Field(description="Time between two evaluations; a tenth of `steps` by default."),
    ] = None
    momentum: Annotated[Numbers | None, Field(description="Of SGD; 0.9 by default.")] = None
    nesterov: Annotated[
        OneOrMore[bool] | None, Field(description="Nesterov's momentum; false by default.")
    ] = None
    weight_decay: Annotated[
        Numbers | None, Field(description="L2 penalty, added to the gradient; 0 by default.")
    ] = None
    schedule: Annotated[
        OneOrMore[Annotated[RateSchedule, BeforeValidator(_schedule), _IN_SCHEMA]] | None,
        Field(
            description="Learning rate over time: `constant` (the default), `cosine`, or "
            "`{step_decay: {at: [80ep, 120ep], factor: 0.1}}`."
        ),
    ] = None
    warmup: Annotated[
        Lengths | None, Field(description="Time in which the learning rate rises from 0 to `lr`.")
    ] = None
    optimizer: Annotated[
        OneOrMore[Literal["sgd", "adam"]] | None, Field(description="`sgd` by default.")
    ] = None
    augment: Annotated[
        OneOrMore[Literal["none", "flip", "crop_flip", "resized_crop_flip"]] | None,
        Field(description="Random changes of training images; none by default."),
    ] = None
    label_smoothing: Annotated[
        Numbers | None, Field(description="Share of a label given to all classes; 0 by default.")
    ] = None
    ghosts: Annotated[
        OneOrMore[Literal["none", "neurons", "skips", "both"]] | None,
        Field(description="ToST (Jaiswal et al. 2022): soft activations, skip connections."),
    ] = None
    ghost_steps: Annotated[
        Lengths | None, Field(description="Time after which the `ghosts` are gone.")
    ] = None
    rescale_steps: Annotated[
        Lengths | None,
        Field(description="Iterations of GradInit (Zhu et al. 2021) beforehand; 0 by default."),
    ] = None
    precision: Annotated[
        OneOrMore[Literal["float32", "tf32", "bfloat16"]] | None,
        Field(description="Arithmetic; `float32` (the default) is that of IEEE on every device."),
    ] = None

    @field_validator(*NUMBERS_OF_RECIPES)
    @classmethod
    def _possible(cls, numbers: list[float] | None, field: ValidationInfo) -> list[float] | None:
        for number in numbers or ():
            check_number(field.field_name or "", number)
        return numbers


class InitFields(_Model):
    """The initialization of weights; by default, the network's own code for your own networks."""

    weights: Annotated[
        InitScheme | None,
        Field(description="Scheme of weights; `own` is as the network's code draws them."),
    ] = None
    batch_norm: Annotated[
        Literal["ones", "uniform"], Field(description="Scales of batch norm.")
    ] = "ones"
    linear: Annotated[
        LinearScheme,
        Field(description="Scheme of linear layers; `normal_001` is N(0, 0.01²)."),
    ] = "as_weights"


# ---------------------------------------------------------------- grids


Tag = Annotated[str, Field(pattern=TAG_NAME)]
Tags = Annotated[dict[Tag, bool | int | FiniteFloat | str], Field(max_length=MOST_TAGS)]
"""Labels of a user for trials: columns tag_… of `trials`. They enter no key."""


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
        Field(
            min_length=1,
            description="Pruning methods, each a name or `{synflow: {iterations: 100}}`; an option "
            "may be a list. `module:function` is a score of your own.",
        ),
        WithJsonSchema(one_or_more(with_options(METHODS))),
    ]
    sparsity: Annotated[
        Numbers | None, Field(description="Shares of prunable weights that are pruned.")
    ] = None
    density: Annotated[
        Numbers | None, Field(description="Shares of prunable weights that are kept.")
    ] = None
    compression: Annotated[
        Compression | Numbers | None,
        Field(description="1 / density: numbers, or `{log10: 0..3..0.25}`."),
    ] = None
    levels: Annotated[
        Wholes | None,
        Field(description="Level n has density (1 - `prune_fraction`)ⁿ."),
    ] = None
    ablation: Annotated[
        OneOrMore[AblationName],
        AfterValidator(distinct),
        Field(
            min_length=1,
            description="What is done to the mask or the weights before training (Frankle et al. "
            "2021): shuffle the mask within layers or globally, draw new weights, prune the "
            "largest scores.",
        ),
    ] = ["none"]
    prune_step: Annotated[
        Lengths, Field(description="Time in training at which the scores are computed.")
    ] = [0]
    rewind_step: Annotated[
        Lengths, Field(description="Time in training to which weights are rewound after pruning.")
    ] = [0]
    prune_fraction: Annotated[
        float, Field(gt=0, lt=1, description="Share of the remaining weights that a level prunes.")
    ] = 0.2
    scope: Annotated[
        OneOrMore[Scope], Field(description="One threshold for all layers, or one for each.")
    ] = ["global"]
    dataset: Annotated[Datasets | None, Field(description="In place of the sweep's datasets.")] = (
        None
    )
    network: Annotated[Networks | None, Field(description="In place of the sweep's networks.")] = (
        None
    )
    recipe: Annotated[
        RecipeFields, Field(description="Fields in place of those of the sweep's recipe.")
    ] = RecipeFields()
    finetune: Annotated[
        RecipeFields | None,
        Field(
            description="Training after pruning a trained network; by default the last learning "
            "rate, for as long again."
        ),
    ] = None
    keep_dense: Annotated[
        OneOrMore[Annotated[str, AfterValidator(layer)]],
        AfterValidator(distinct),
        Field(
            description="Layers that are not pruned: `first`, `last` or names of tensors. The "
            "others make up for them."
        ),
    ] = []
    layer_rates: Annotated[
        dict[str, Annotated[float, Field(ge=0, lt=1)]],
        Field(
            description="With `scope: layerwise`, layers that are pruned at another rate than "
            "`prune_fraction`: `{conv: 0.1, last: 0.1}`."
        ),
    ] = {}
    found_on: Annotated[
        DatasetName | None,
        Field(description="The dataset on which masks are found; they are trained on `dataset`."),
    ] = None
    train: Annotated[bool, Field(description="`false` computes the masks alone.")] = True
    tags: Annotated[
        Tags, Field(description="Columns `tag_…` of `trials` to find trials by; in no key.")
    ] = {}
    measure: Annotated[
        OneOrMore[MeasurementName],
        AfterValidator(distinct),
        Field(
            description="Measurements: the error barrier to a run in another data order, the "
            "mask's layers as graphs, the time of a forward pass without pruned units."
        ),
    ] = []
    latency_batch_size: Annotated[
        int, Field(ge=1, le=100_000, description="Images in a pass that is timed.")
    ] = 1

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

    name: Annotated[
        str, Field(pattern=SWEEP_NAME, description="The name by which the store knows the sweep.")
    ]
    description: Annotated[str, Field(description="What the sweep asks, for its readers.")] = ""
    dataset: Annotated[
        Datasets, Field(description="Datasets by name, or `module:function` of your own.")
    ]
    network: Annotated[
        Networks,
        Field(
            description="Networks by name, `torchvision:NAME`, or `module:function` of your own; "
            "`{resnet20: {width: 2}}` is twice as wide."
        ),
    ]
    recipe: Annotated[
        RecipeFields,
        Field(
            description="How to train: fields, the name of a published recipe, or "
            "`{from: NAME, lr: 0.05}`."
        ),
    ] = RecipeFields()
    init: Annotated[InitFields, Field(description="How initial weights are drawn.")] = InitFields()
    replicates: Annotated[
        Replicates, Field(description="How many replicates, or their seeds: `5`, `[0, 7]`, `0..9`.")
    ] = [0]
    dense: Annotated[
        bool, Field(description="Adds the dense run of every replicate and recipe.")
    ] = True
    eval: Annotated[
        OneOrMore[SplitName],
        AfterValidator(distinct),
        Field(min_length=1, description="Splits that are evaluated."),
    ] = ["train", "test"]
    validation: Annotated[
        Annotated[int | float, BeforeValidator(share), SHARE] | None,
        Field(
            description="Training examples held out for `val`: a count, or a share such as 0.1 "
            "(the default where `val` is evaluated)."
        ),
    ] = None
    grids: Annotated[
        list[Grid],
        Field(min_length=1, description="Each is a product of its lists; the sweep is all."),
    ]
    keep: Annotated[
        Literal["all", "tickets", "metrics"],
        Field(
            description="What `tombola gc` leaves of a finished sweep: all weights and masks, "
            "`tickets` (masks, and the weights that training starts from), or `metrics` alone."
        ),
    ] = "all"
    tags: Annotated[
        Tags, Field(description="Columns `tag_…` of `trials` to find trials by; in no key.")
    ] = {}
    figures: Annotated[
        list[Any], Field(description="Figures by name, or `{name: {option: value}}`.")
    ] = []

    @model_validator(mode="before")
    @classmethod
    def _published(cls, data: Any) -> Any:
        return recipes.filled(data) if isinstance(data, dict) else data


# ---------------------------------------------------------------- reading, with all mistakes


Check = Callable[[Source], list[str]]
"""A further check of a sweep file: it returns a line for each mistake, with its place."""


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
