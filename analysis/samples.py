"""Replicates of each method at each density: what tables and comparisons are made of.

Trials come through `figures.selection`, so settings never mix. Values are in the metric's
shown unit: accuracies in per cent.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, isclose, isfinite
from statistics import mean, stdev
from typing import Any

from analysis import style
from analysis.errors import TableError
from analysis.figures import selection
from analysis.figures.metrics import METRICS, Metric
from analysis.figures.options import StepOptions
from analysis.figures.selection import Row


@dataclass(frozen=True)
class Sample:
    """Replicates of one method (`name`: with its setting and ablation) at one density.

    `values` and `dense` (the dense runs of the same recipe) are by replicate; a run that
    answers several trials is in `values` once.
    """

    network: str
    dataset: str
    density: float
    name: str
    values: dict[int, float]
    dense: dict[int, float]

    @property
    def n(self) -> int:
        """Replicates."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Mean over replicates."""
        return mean(self.values.values())

    @property
    def std(self) -> float | None:
        """Standard deviation (ddof 1); None for one replicate."""
        return stdev(self.values.values()) if self.n > 1 else None


Column = tuple[str, str, float]
"""Network, dataset and density: where methods are compared."""


@dataclass(frozen=True)
class Study:
    """Samples of a sweep, densest first within each network and dataset."""

    sweep: str
    metric: Metric
    samples: tuple[Sample, ...]
    chosen: selection.Selection

    def columns(self) -> dict[Column, list[Sample]]:
        """Samples by network, dataset and density."""
        return selection.grouped(self.samples, lambda one: (one.network, one.dataset, one.density))

    def best(self, samples: Iterable[Sample]) -> Sample:
        """The sample with the best mean; of equal ones the first."""
        return max(
            samples, key=lambda one: self.metric.sign * one.mean if isfinite(one.mean) else -inf
        )


def read(
    connection: Any, sweep: str, options: StepOptions | None = None, densities: Sequence[float] = ()
) -> Study:
    """Samples of the finished trials that the options let pass; `densities` empty: all.

    Raises
    ------
    FigureError
        When no trial is.
    TableError
        When the metric or a density is none that the sweep has.
    """
    options = options or StepOptions()
    if options.metric not in METRICS:
        raise TableError(f"no metric {options.metric!r}; known: {', '.join(METRICS)}")
    chosen = selection.choose(connection, sweep, options)
    rows = [row for row in chosen.rows if row["method"] != "dense"]
    named = selection.labels(rows)
    kept = _at(densities, {row["requested_density"] for row in rows})
    groups = selection.grouped(
        (row for row in rows if row["requested_density"] in kept),
        lambda row: (
            *(row["network"], row["dataset"], row["requested_density"]),
            style.ablated(named[selection.setting(row)][0], row["ablation"]),
        ),
    )
    samples = [_sample(key, members) for key, members in groups.items()]
    problems = list(dict.fromkeys((one.network, one.dataset) for one in samples))
    samples.sort(key=lambda one: (problems.index((one.network, one.dataset)), -one.density))
    return Study(sweep, chosen.metric, tuple(samples), chosen)


# ---------------------------------------------------------------- details


def _sample(of: tuple[str, str, float, str], rows: Sequence[Row]) -> Sample:
    values: dict[int, float] = {}
    dense: dict[int, float] = {}
    seen: set[str] = set()
    for row in rows:
        if row["dense_shown"] is not None:
            dense[row["replicate"]] = row["dense_shown"]
        if selection.answer(row) not in seen:
            seen.add(selection.answer(row))
            values[row["replicate"]] = row["shown"]
    return Sample(*of, values, dense)


def _at(asked: Sequence[float], there: set[float]) -> set[float]:
    """Densities of the sweep that were asked for, to the three digits that people read."""
    if not asked:
        return there
    found = {one: {d for d in there if isclose(one, d, rel_tol=5e-3)} for one in asked}
    for one, near in found.items():
        if not near:
            known = ", ".join(f"{d:.3g}" for d in sorted(there, reverse=True))
            raise TableError(f"no trial at density {one:g}; there are {known}")
    return set().union(*found.values())
