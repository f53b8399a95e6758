"""From trials to curves: means over replicates, with their spread."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from analysis import style
from analysis.figures.selection import (
    RECIPE,
    Row,
    Selection,
    Setting,
    details,
    grouped,
    labels,
    of,
    setting,
)
from analysis.stats import Spread, Summary, summary


@dataclass(frozen=True)
class Point:
    """Replicates at one density; accuracy in per cent."""

    density: float
    accuracy: Summary

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
    """The dense network under one recipe; accuracy in per cent."""

    label: str
    accuracy: Summary


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
        Panel(network, dataset, _series(members, named, spread), _dense(members, spread))
        for (network, dataset), members in groups.items()
        if any(row["method"] != "dense" for row in members)
    )


def _series(
    members: Sequence[Row], named: dict[Setting, tuple[str, int]], spread: Spread
) -> tuple[Series, ...]:
    pruned = [row for row in members if row["method"] != "dense"]
    curves = grouped(pruned, lambda row: (setting(row), row["ablation"]))
    return tuple(
        Series(key[0], *named[key], ablation, _points(rows, spread))
        for (key, ablation), rows in curves.items()
    )


def _points(rows: Sequence[Row], spread: Spread) -> tuple[Point, ...]:
    by_density = grouped(rows, lambda row: row["requested_density"])
    return tuple(
        Point(density, summary(percent(by_density[density], "run_key", "accuracy"), spread))
        for density in sorted(by_density, reverse=True)
    )


def _dense(members: Sequence[Row], spread: Spread) -> tuple[Dense, ...]:
    found = [row for row in members if row["dense_accuracy"] is not None]
    recipes = grouped(found, lambda row: of(row, RECIPE))
    varying = {c for c in RECIPE if len({row[c] for row in found}) > 1}
    return tuple(
        Dense(
            ", ".join([style.DENSE.label, *details(rows[0], varying)]),
            summary(percent(rows, "dense_key", "dense_accuracy"), spread),
        )
        for rows in recipes.values()
    )


def percent(rows: Iterable[Row], key: str, value: str) -> list[float]:
    """Each run once, however many trials it answers."""
    return [100 * one for one in {row[key]: row[value] for row in rows}.values()]


def replicates(made: Iterable[Panel]) -> set[int]:
    """How many replicates the points of these panels are means of."""
    return {p.accuracy.n for panel in made for one in panel.series for p in one.points}
