"""What a sweep file may say of a figure: its options, and what each takes. Nothing heavy."""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias

from analysis import reference
from analysis.selection.metrics import METRICS
from analysis.stats import SPREADS, Spread
from analysis.style import WIDTHS

Report: TypeAlias = Literal["last", "best_val", "best"]
"""Accuracy at the last step, at the step best on validation, or the best on test."""


@dataclass(frozen=True)
class Options:
    """Options of every figure; an empty filter lets everything pass.

    `where` are values by column of `trials`, tag or option: `{lr: 0.1, scope: [global]}`.
    """

    methods: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    ablations: tuple[str, ...] = ()
    where: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    spread: Spread = "std"
    report: Report = "last"
    width: str = "iclr"
    title: str | None = None


@dataclass(frozen=True)
class CurveOptions(Options):
    """`metric` is what the upright axis shows, one of METRICS."""

    metric: str = "accuracy"


@dataclass(frozen=True)
class StepOptions(CurveOptions):
    """Ablations are left out unless asked for."""

    ablations: tuple[str, ...] = ("none",)


@dataclass(frozen=True)
class AccuracyOptions(StepOptions):
    """`chance` draws a line at that accuracy; `floor` is where the axis begins (fractions).

    `reference` names published numbers to lay beside one's own, where there are any of the
    same dataset, network and method.
    """

    chance: float | None = None
    floor: float | None = None
    reference: tuple[str, ...] = ()


@dataclass(frozen=True)
class EarlyStoppingOptions(AccuracyOptions):
    """Shows the iteration of the least validation loss unless asked otherwise."""

    metric: str = "early_stop_step"


@dataclass(frozen=True)
class RankOptions(StepOptions):
    """`densities` to rank at, or to give panels; empty: all, or a few spread out."""

    densities: tuple[float, ...] = ()


@dataclass(frozen=True)
class BarrierOptions(RankOptions):
    """Shows the barrier unless asked otherwise."""

    metric: str = "barrier"


@dataclass(frozen=True)
class LayerOptions(Options):
    """`densities` of the whole network to show; empty: three, spread over what there is."""

    ablations: tuple[str, ...] = ("none",)
    densities: tuple[float, ...] = ()


@dataclass(frozen=True)
class LearningOptions(LayerOptions):
    """`quantity` of `split` to show; `densities`: empty: at most six, spread out.

    `trials`: of these numbers alone, besides the dense ones; empty: all.
    """

    trials: tuple[int, ...] = ()
    split: Literal["test", "train", "val"] = "test"
    quantity: Literal["accuracy", "loss"] = "accuracy"


@dataclass(frozen=True)
class ParetoOptions(StepOptions):
    """Against multiply-adds, or measured latency; `floor`: where the upright axis begins.

    `floor` is a fraction, of accuracies.
    """

    against: Literal["flops", "latency"] = "flops"
    floor: float | None = None


@dataclass(frozen=True)
class CostOptions(RankOptions):
    """`unit` of cost: training iterations or measured seconds; `densities`: empty: three."""

    unit: Literal["iterations", "seconds"] = "iterations"


@dataclass(frozen=True)
class UnablatedOptions(Options):
    """Ablations are left out unless asked for."""

    ablations: tuple[str, ...] = ("none",)


@dataclass(frozen=True)
class TimelineOptions:
    """`launch` by its name; by default the latest that computed something for the sweep."""

    launch: str | None = None
    width: str = "iclr"
    title: str | None = None


@dataclass(frozen=True)
class LineageOptions:
    """`trial` by its number; by default the sparsest of the first IMP chain that is done."""

    trial: int | None = None
    width: str = "iclr"
    title: str | None = None


@dataclass(frozen=True)
class OverlapOptions(LayerOptions):
    """`across` says what the two masks of a pair differ in; everything else is the same."""

    across: Literal["methods", "densities", "replicates"] = "methods"


AnyOptions: TypeAlias = Options | TimelineOptions | LineageOptions


@dataclass(frozen=True)
class Kind:
    """A figure by name: the module that has its `SQL`, `select` and `draw`, and its options."""

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
    """Name and options of one entry of `figures:`; a name, or {name: {option: value}}.

    Raises
    ------
    ValueError
        When it is neither.
    """
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, dict) and len(entry) == 1:
        [(name, options)] = entry.items()
        if isinstance(name, str) and (options is None or isinstance(options, dict)):
            return name, dict(options or {})
    raise ValueError(f"a figure takes a name or {{name: {{option: value}}}}, not {entry!r}")


def problems(entry: Any) -> list[str]:
    """What is wrong with one entry of `figures:`, a sentence each."""
    try:
        name, given = parse(entry)
    except ValueError as error:
        return [str(error)]
    if name not in FIGURES:
        return [f"no figure {name!r}; {_near(name, FIGURES)}"]
    known = [field.name for field in fields(FIGURES[name].options)]
    found = []
    for option, value in given.items():
        if option not in known:
            found.append(f"{name} has no option {option!r}; {_near(str(option), known)}")
        elif not _TAKES[option][1](value):
            found.append(f"{name}: {option} takes {_TAKES[option][0]}, not {value!r}")
    return found


def made(name: str, given: dict[str, Any]) -> AnyOptions:
    """Options of that figure from a sweep file's values, which have no problems."""
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
    if where := given.get("where"):
        values["where"] = tuple((column, tuple(_listed(v))) for column, v in where.items())
    return replace(FIGURES[name].options(), **values)


def _near(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(names)}"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_where(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(column, str) and all(isinstance(one, str | int | float) for one in _listed(v))
        for column, v in value.items()
    )


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(one) is int and one >= 0 for one in value)


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_count(value: Any) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)


def _is_densities(value: Any) -> bool:
    return isinstance(value, list) and all(_is_number(one) and 0 < one <= 1 for one in value)


def _is_fraction(value: Any) -> bool:
    return value is None or (_is_number(value) and 0 <= value < 1)


def _is_references(value: Any) -> bool:
    return _is_names(value) and all(name in reference.drawable() for name in value)


def _one_of(*known: str) -> tuple[str, Callable[[Any], bool]]:
    return ", ".join(known), lambda value: isinstance(value, str) and value in known


_NAMES = ("a list of names", _is_names)
_FRACTION = ("a number between 0 and 1", _is_fraction)
_TAKES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "methods": _NAMES,
    "networks": _NAMES,
    "datasets": _NAMES,
    "ablations": _NAMES,
    "where": ("columns of trials with a value or a list of them: {lr: 0.1}", _is_where),
    "spread": _one_of(*SPREADS),
    "report": _one_of("last", "best_val", "best"),
    "width": _one_of(*WIDTHS),
    "title": ("text", _is_text),
    "metric": _one_of(*METRICS),
    "chance": _FRACTION,
    "floor": _FRACTION,
    "reference": (f"a list of {', '.join(reference.drawable())}", _is_references),
    "trials": ("a list of trials' numbers", _is_numbers),
    "split": _one_of("test", "train", "val"),
    "quantity": _one_of("accuracy", "loss"),
    "across": _one_of("methods", "densities", "replicates"),
    "launch": ("the name of a launch (`SELECT DISTINCT launch FROM tasks`)", _is_text),
    "trial": ("the number of a trial", _is_count),
    "unit": _one_of("iterations", "seconds"),
    "against": _one_of("flops", "latency"),
    "densities": ("a list of numbers above 0, up to 1", _is_densities),
}
