"""From trials to curves: means over replicates, with their spread."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from analysis import style
from analysis.figures.metrics import Metric
from analysis.figures.selection import (
    RECIPE,
    Row,
    Selection,
    Setting,
    answer,
    details,
    grouped,
    labels,
    of,
    setting,
)
from analysis.stats import Spread, Summary, summary


@dataclass(frozen=True)
class Point:
    """Replicates at one density, in the metric's unit."""

    density: float
    shown: Summary

    @property
    def x(self) -> float:
        """Where it is drawn."""
        return self.density


@dataclass(frozen=True)
class Series:
    """One curve, densest point first: the `variant`-th setting of a method, from 0."""

    method: str
    label: str
    variant: int
    ablation: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Dense:
    """The dense network under one recipe, in the metric's unit."""

    label: str
    shown: Summary


@dataclass(frozen=True)
class Panel:
    """One network and dataset: its curves, and the dense networks."""

    network: str
    dataset: str
    series: tuple[Series, ...]
    dense: tuple[Dense, ...]

    @property
    def title(self) -> str:
        """Network and dataset as people write them."""
        return style.problem(self.network, self.dataset)


def panels(selection: Selection, spread: Spread) -> tuple[Panel, ...]:
    """A panel for each network and dataset, in the sweep's order."""
    named = labels(selection.rows)
    groups = grouped(selection.rows, lambda row: (row["network"], row["dataset"]))
    return tuple(
        Panel(
            network,
            dataset,
            _series(members, named, selection.metric, spread),
            _dense(members, selection.metric, spread),
        )
        for (network, dataset), members in groups.items()
        if any(row["method"] != "dense" for row in members)
    )


def _series(
    members: Sequence[Row],
    named: dict[Setting, tuple[str, int]],
    metric: Metric,
    spread: Spread,
) -> tuple[Series, ...]:
    pruned = [row for row in members if row["method"] != "dense"]
    curves = grouped(pruned, lambda row: (setting(row), row["ablation"]))
    return tuple(
        Series(key[0], *named[key], ablation, _points(rows, metric, spread))
        for (key, ablation), rows in curves.items()
    )


def _points(rows: Sequence[Row], metric: Metric, spread: Spread) -> tuple[Point, ...]:
    by_density = grouped(rows, lambda row: row["requested_density"])
    return tuple(
        Point(density, summarised(by_density[density], metric, spread))
        for density in sorted(by_density, reverse=True)
    )


def _dense(members: Sequence[Row], metric: Metric, spread: Spread) -> tuple[Dense, ...]:
    found = [row for row in members if row["dense_shown"] is not None]
    return tuple(
        Dense(label, summarised(rows, metric, spread, of="dense_"))
        for label, rows in dense_recipes(found)
    )


def dense_recipes(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Rows of one network and dataset by the recipe of their dense run, as a legend says it."""
    varying = {c for c in RECIPE if len({row[c] for row in rows}) > 1}
    return [
        (", ".join([style.DENSE.label, *details(same[0], varying)]), same)
        for same in grouped(rows, lambda row: of(row, RECIPE)).values()
    ]


def summarised(rows: Iterable[Row], metric: Metric, spread: Spread, of: str = "") -> Summary:
    """Mean and spread of runs (`of` dense_: of the dense runs), each once, within the bounds.

    Where nothing was trained, each mask once.
    """
    values = {row[f"{of}key"] if of else answer(row): row[f"{of}shown"] for row in rows}
    return summary(list(values.values()), spread, metric.bounds)


def replicates(made: Iterable[Panel]) -> set[int]:
    """How many replicates the points of these panels are means of."""
    return {p.shown.n for panel in made for one in panel.series for p in one.points}
