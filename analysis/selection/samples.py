"""Samples for tables and comparisons: replicates of one method at one density.

Trials are selected by selection.py, so a sample never mixes settings. Values are in the metric's
shown unit: accuracies in per cent.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, isclose, isfinite
from statistics import mean
from typing import Any

from analysis import stats, style
from analysis.database.rows import Row
from analysis.selection import selection, series
from analysis.selection.metrics import METRICS, Metric
from analysis.selection.options import StepOptions
from tombola.errors import TableError

_ANSWERED = (
    "SELECT DISTINCT method FROM trials"
    " WHERE sweep = ? AND status = 'done' AND method != 'dense' ORDER BY method"
)


@dataclass(frozen=True)
class Sample:
    """Replicates of one method at one density; `name` includes its setting and ablation.

    `values` and `dense` (the dense runs of the same recipe) are by replicate. A run that several
    trials share is in `values` once.
    """

    network: str
    dataset: str
    density: float
    name: str
    values: dict[int, float]
    dense: dict[int, float]

    @property
    def n(self) -> int:
        """Number of replicates."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Mean over replicates."""
        return mean(self.values.values())

    @property
    def std(self) -> float | None:
        """Standard deviation over replicates (ddof 1); None for one replicate."""
        return stats.deviation([*self.values.values()]) if self.n > 1 else None


Column = tuple[str, str, float]
"""Network, dataset and density; methods are compared within a column."""


@dataclass(frozen=True)
class Study:
    """Samples of a sweep, densest first within each network and dataset.

    `dense` are samples of the dense networks, one for each recipe. `runs` are the keys of all runs.
    """

    sweep: str
    samples: tuple[Sample, ...]
    dense: tuple[Sample, ...]
    runs: tuple[str, ...]
    chosen: selection.Selection

    @property
    def metric(self) -> Metric:
        """Metric of the samples."""
        return self.chosen.metric

    def columns(self) -> dict[Column, list[Sample]]:
        """Return the samples by network, dataset and density."""
        return selection.grouped(self.samples, lambda s: (s.network, s.dataset, s.density))

    def best(self, samples: Iterable[Sample]) -> Sample:
        """Return the sample with the best mean; the first of equal ones."""
        return max(samples, key=lambda s: self.metric.sign * s.mean if isfinite(s.mean) else -inf)


def read(
    connection: Any, sweep: str, options: StepOptions | None = None, densities: Sequence[float] = ()
) -> Study:
    """Return samples of the finished trials that match the options.

    An empty `densities` selects all.

    Raises
    ------
    FigureError
        When no finished trial matches.
    TableError
        When the sweep has no such metric, method or density.
    """
    options = options or StepOptions()
    if options.metric not in METRICS:
        raise TableError(f"no metric {options.metric!r}; known: {', '.join(METRICS)}")
    chosen = selection.choose(connection, sweep, options)
    rows = [row for row in chosen.rows if row["method"] != "dense"]
    _check_methods(connection, sweep, options.methods)
    named = selection.labels(rows)
    kept = _at(densities, {row["requested_density"] for row in rows})
    rows = [row for row in rows if row["requested_density"] in kept]
    samples = []
    for (network, dataset), members in selection.grouped(rows, _problem).items():
        by_density = selection.grouped(members, lambda row: row["requested_density"])
        for density in sorted(by_density, reverse=True):
            names = selection.grouped(by_density[density], lambda row: _name(row, named))
            samples += [
                _sample(network, dataset, density, name, same) for name, same in names.items()
            ]
    return Study(sweep, tuple(samples), tuple(_dense(chosen.rows)), _runs(rows), chosen)


# ---------------------------------------------------------------- details


def _problem(row: Row) -> tuple[str, str]:
    return row["network"], row["dataset"]


def _name(row: Row, named: dict[selection.Setting, tuple[str, int]]) -> str:
    return style.ablated(named[selection.setting(row)][0], row["ablation"])


def _sample(network: str, dataset: str, density: float, name: str, rows: list[Row]) -> Sample:
    values = _once(rows, selection.answer, "shown")
    dense = {row["replicate"]: row["dense_shown"] for row in rows if _has_dense(row)}
    return Sample(network, dataset, density, name, values, dense)


def _dense(rows: Sequence[Row]) -> Iterator[Sample]:
    paired = [row for row in rows if _has_dense(row)]
    for (network, dataset), members in selection.grouped(paired, _problem).items():
        for label, same in series.dense_recipes(members):
            values = _once(same, lambda row: row["dense_key"], "dense_shown")
            yield Sample(network, dataset, 1.0, label, values, values)


def _once(rows: Iterable[Row], run: Callable[[Row], str], column: str) -> dict[int, float]:
    """Return a column by replicate, each run once."""
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(run(row), row)
    return {row["replicate"]: row[column] for row in first.values()}


def _has_dense(row: Row) -> bool:
    return row["dense_shown"] is not None


def _runs(rows: Sequence[Row]) -> tuple[str, ...]:
    dense = {row["dense_key"] for row in rows if _has_dense(row)}
    return tuple(sorted(dense.union(map(selection.answer, rows))))


def _check_methods(connection: Any, sweep: str, wanted: Sequence[str]) -> None:
    """Raise TableError for a method without results, which would be missing from the table."""
    rows = connection.execute(_ANSWERED, [sweep]).fetchall()
    finished = [method for (method,) in rows]
    for name in wanted:
        if name not in finished:
            known = ", ".join(finished)
            raise TableError(f"sweep {sweep} has no finished trial of {name}; it has {known}")


def _at(wanted: Sequence[float], present: set[float]) -> set[float]:
    """Return the sweep's densities that equal a wanted one to three digits."""
    if not wanted:
        return present
    matches = {
        density: {d for d in present if isclose(density, d, rel_tol=5e-3)} for density in wanted
    }
    for density, near in matches.items():
        if not near:
            known = ", ".join(f"{d:.3g}" for d in sorted(present, reverse=True))
            raise TableError(f"no trial at density {density:g}; there are {known}")
    return set().union(*matches.values())
