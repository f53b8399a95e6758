"""Options of figures in a sweep file: each one's default, its type and the values it accepts."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from analysis import reference
from analysis.selection.metrics import METRICS
from analysis.stats import Spread
from analysis.style import WIDTHS
from tombola.text import nearest


@dataclass(frozen=True)
class Accepted:
    """Values that an option accepts: in words, and as a test of a value from a sweep file."""

    words: str
    test: Callable[[Any], bool]


# ---------------------------------------------------------------- accepted values


def _one_of(names: Iterable[str]) -> Accepted:
    known = tuple(names)
    return Accepted(", ".join(known), lambda value: isinstance(value, str) and value in known)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_where(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(column, str) and all(isinstance(item, str | int | float) for item in _listed(v))
        for column, v in value.items()
    )


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_counts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_count, value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_densities(value: Any) -> bool:
    return isinstance(value, list) and all(_is_number(item) and 0 < item <= 1 for item in value)


def _is_fraction(value: Any) -> bool:
    return _is_number(value) and 0 <= value < 1


def _is_references(value: Any) -> bool:
    return _is_names(value) and all(name in reference.drawable() for name in value)


def _or_none(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or test(value)


_NAMES = Accepted("a list of names", _is_names)
_FRACTION = Accepted("a number between 0 and 1", _or_none(_is_fraction))
_LAUNCH = "the name of a launch (`SELECT DISTINCT launch FROM tasks`)"
_REFERENCES = f"a list of {', '.join(reference.drawable())}"

Names: TypeAlias = Annotated[tuple[str, ...], _NAMES]
Where: TypeAlias = Annotated[
    tuple[tuple[str, tuple[Any, ...]], ...],
    Accepted("columns of trials with a value or a list of them: {lr: 0.1}", _is_where),
]
Width: TypeAlias = Annotated[str, _one_of(WIDTHS)]
Title: TypeAlias = Annotated[str | None, Accepted("text", _or_none(_is_text))]
Metric: TypeAlias = Annotated[str, _one_of(METRICS)]
Fraction: TypeAlias = Annotated[float | None, _FRACTION]
References: TypeAlias = Annotated[tuple[str, ...], Accepted(_REFERENCES, _is_references)]
Densities: TypeAlias = Annotated[
    tuple[float, ...], Accepted("a list of numbers above 0, up to 1", _is_densities)
]
Trials: TypeAlias = Annotated[tuple[int, ...], Accepted("a list of trials' numbers", _is_counts)]
Trial: TypeAlias = Annotated[int | None, Accepted("the number of a trial", _or_none(_is_count))]
Launch: TypeAlias = Annotated[str | None, Accepted(_LAUNCH, _or_none(_is_text))]

Report: TypeAlias = Literal["last", "best_val", "best"]
"""Reported accuracy: at the last step, at the best validation step, or the best on test."""


@dataclass(frozen=True)
class Options:
    """Options of most figures; an empty filter selects everything.

    `where` has values by column of `trials`, tag or option: `{lr: 0.1, scope: [global]}`.
    """

    methods: Names = ()
    networks: Names = ()
    datasets: Names = ()
    ablations: Names = ()
    where: Where = ()
    spread: Spread = "std"
    report: Report = "last"
    width: Width = "iclr"
    title: Title = None


@dataclass(frozen=True)
class CurveOptions(Options):
    """Options of figures with a `metric` (one of METRICS) on the vertical axis."""

    metric: Metric = "accuracy"


@dataclass(frozen=True)
class StepOptions(CurveOptions):
    """Options of figures with a metric; by default without ablations."""

    ablations: Names = ("none",)


@dataclass(frozen=True)
class AccuracyOptions(StepOptions):
    """Options of `accuracy-vs-sparsity`.

    `chance` draws a line at that accuracy; `floor` is the lower end of the axis (both fractions).
    `reference` names published numbers: their curves of the same dataset, network and method
    are drawn too.
    """

    chance: Fraction = None
    floor: Fraction = None
    reference: References = ()


@dataclass(frozen=True)
class EarlyStoppingOptions(AccuracyOptions):
    """Options of `early-stopping`: by default the iteration of the least validation loss."""

    metric: Metric = "early_stop_step"


@dataclass(frozen=True)
class RankOptions(StepOptions):
    """Options with `densities`, for ranks or panels; empty: all, or a few evenly spaced."""

    densities: Densities = ()


@dataclass(frozen=True)
class BarrierOptions(RankOptions):
    """Options of `barrier`: by default the error barrier."""

    metric: Metric = "barrier"


@dataclass(frozen=True)
class LayerOptions(Options):
    """Options with `densities` of the whole network; empty: a few, evenly spaced."""

    ablations: Names = ("none",)
    densities: Densities = ()


@dataclass(frozen=True)
class LearningOptions(LayerOptions):
    """Options of `learning-curves`: `quantity` on `split`; `densities` empty: at most six.

    `trials` are the numbers of the pruned trials to show; empty: all.
    """

    trials: Trials = ()
    split: Literal["test", "train", "val"] = "test"
    quantity: Literal["accuracy", "loss"] = "accuracy"


@dataclass(frozen=True)
class ParetoOptions(StepOptions):
    """Options of `pareto`: `against` multiply-adds or measured latency.

    `floor` is the lower end of the vertical axis, a fraction, for accuracies.
    """

    against: Literal["flops", "latency"] = "flops"
    floor: Fraction = None


@dataclass(frozen=True)
class CostOptions(RankOptions):
    """Options of `cost`: `unit` is training iterations or measured seconds."""

    unit: Literal["iterations", "seconds"] = "iterations"


@dataclass(frozen=True)
class UnablatedOptions(Options):
    """Options of a figure without a metric; by default without ablations."""

    ablations: Names = ("none",)


@dataclass(frozen=True)
class TimelineOptions:
    """Options of `timeline`: name of the `launch`; default: the latest that computed something."""

    launch: Launch = None
    width: Width = "iclr"
    title: Title = None


@dataclass(frozen=True)
class LineageOptions:
    """Options of `lineage`: number of the `trial`; default: the sparsest of the first IMP chain."""

    trial: Trial = None
    width: Width = "iclr"
    title: Title = None


@dataclass(frozen=True)
class OverlapOptions(LayerOptions):
    """Options of `mask-overlap`: the masks of a pair differ only in `across`."""

    across: Literal["methods", "densities", "replicates"] = "methods"


AnyOptions: TypeAlias = Options | TimelineOptions | LineageOptions


@dataclass(frozen=True)
class Kind:
    """A kind of figure: its module in figures/kinds (`SQL`, `select`, `draw`), and its options."""

    module: str
    options: type[AnyOptions]


FIGURES = {
    "accuracy-vs-sparsity": Kind("accuracy_vs_sparsity", AccuracyOptions),
    "early-stopping": Kind("accuracy_vs_sparsity", EarlyStoppingOptions),
    "accuracy-vs-pruning-step": Kind("accuracy_vs_pruning_step", RankOptions),
    "barrier": Kind("accuracy_vs_pruning_step", BarrierOptions),
    "ablations": Kind("ablations", CurveOptions),
    "density-by-layer": Kind("density_by_layer", LayerOptions),
    "critical-difference": Kind("critical_difference", RankOptions),
    "learning-curves": Kind("learning_curves", LearningOptions),
    "cost": Kind("cost", CostOptions),
    "pareto": Kind("pareto", ParetoOptions),
    "timeline": Kind("timeline", TimelineOptions),
    "lineage": Kind("lineage", LineageOptions),
    "mask-overlap": Kind("mask_overlap", OverlapOptions),
    "layer-collapse": Kind("layer_collapse", UnablatedOptions),
}


def parse(entry: Any) -> tuple[str, dict[str, Any]]:
    """Return name and options of an entry of `figures:`: a name, or {name: {option: value}}.

    Raises
    ------
    ValueError
        When the entry is neither.
    """
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, dict) and len(entry) == 1:
        [(name, options)] = entry.items()
        if isinstance(name, str) and (options is None or isinstance(options, dict)):
            return name, dict(options or {})
    raise ValueError(f"a figure is a name or {{name: {{option: value}}}}, not {entry!r}")


def problems(entry: Any) -> list[str]:
    """Return the mistakes in an entry of `figures:`, a sentence each."""
    try:
        name, given = parse(entry)
    except ValueError as error:
        return [str(error)]
    if name not in FIGURES:
        return [f"no figure {name!r}; {nearest(name, FIGURES)}"]
    known = accepted(FIGURES[name].options)
    mistakes = []
    for option, value in given.items():
        if option not in known:
            mistakes.append(f"{name} has no option {option!r}; {nearest(str(option), known)}")
        elif not known[option].test(value):
            mistakes.append(f"{name}: {option} takes {known[option].words}, not {value!r}")
    return mistakes


def accepted(options: type[AnyOptions]) -> dict[str, Accepted]:
    """Return what each option of a figure accepts, from the types of the fields."""
    hints = get_type_hints(options, include_extras=True)
    return {
        name: _one_of(get_args(hint)) if get_origin(hint) is Literal else hint.__metadata__[0]
        for name, hint in hints.items()
    }


def made(name: str, given: dict[str, Any]) -> AnyOptions:
    """Return the options of a figure from valid values of a sweep file."""
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
    if where := given.get("where"):
        values["where"] = tuple((column, tuple(_listed(v))) for column, v in where.items())
    return replace(FIGURES[name].options(), **values)
