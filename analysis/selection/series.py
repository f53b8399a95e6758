"""From trials to curves: means over replicates, with their spread."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from analysis import style
from analysis.database.rows import Row
from analysis.selection.metrics import Metric
from analysis.selection.selection import Selection, Setting, answer, grouped, of, setting
from analysis.selection.split import Split
from analysis.stats import Spread, Summary, summary
from tombola.store.settings import RECIPE, details


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
    """One curve, densest point first: the `variant`-th setting of a method, from 0.

    `plain`: its colour says nothing of the method, which the panel or the legend tells.
    """

    method: str
    label: str
    variant: int
    ablation: str
    points: tuple[Point, ...]
    plain: bool = False


@dataclass(frozen=True)
class Dense:
    """The dense network under one recipe, in the metric's unit."""

    label: str
    shown: Summary


@dataclass(frozen=True)
class Panel:
    """One network and dataset: its curves, and the dense networks.

    `part`: which of the settings that panels tell, where a figure is split.
    """

    network: str
    dataset: str
    series: tuple[Series, ...]
    dense: tuple[Dense, ...]
    part: str = ""

    @property
    def title(self) -> str:
        """Network and dataset as people write them, and the part."""
        return ", ".join(filter(None, (style.problem(self.network, self.dataset), self.part)))


def panels(selection: Selection, spread: Spread, by: Split | None = None) -> tuple[Panel, ...]:
    """A panel for each network, dataset and part of the split, in the sweep's order."""
    by = by or Split()
    pruned = [row for row in selection.rows if row["method"] != "dense"]
    named = by.labels(pruned)
    groups = grouped(pruned, lambda row: (row["network"], row["dataset"], by.place(row)))
    return tuple(
        Panel(
            network,
            dataset,
            _series(members, named, selection.metric, spread, by),
            dense([*members, *by.beside(selection.rows, members)], selection.metric, spread),
            by.said(members[0]),
        )
        for (network, dataset, _), members in groups.items()
    )


def _series(
    members: Sequence[Row],
    named: dict[Setting, tuple[str, int]],
    metric: Metric,
    spread: Spread,
    by: Split,
) -> tuple[Series, ...]:
    curves = grouped(members, lambda row: (setting(row), row["ablation"]))
    plain = by.recoloured([key[0] for key, _ in curves])
    return tuple(
        Series(
            key[0],
            named[key][0],
            n if plain and by.each_explains else named[key][1],
            "none" if "ablation" in by.columns else ablation,
            _points(rows, metric, spread),
            plain,
        )
        for n, ((key, ablation), rows) in enumerate(curves.items())
    )


def _points(rows: Sequence[Row], metric: Metric, spread: Spread) -> tuple[Point, ...]:
    by_density = grouped(rows, lambda row: row["requested_density"])
    return tuple(
        Point(density, summarised(by_density[density], metric, spread))
        for density in sorted(by_density, reverse=True)
    )


def dense(members: Sequence[Row], metric: Metric, spread: Spread) -> tuple[Dense, ...]:
    """The dense networks behind these trials, one for each recipe."""
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
    rows = list(rows)
    values = {row[f"{of}key"] if of else answer(row): row[f"{of}shown"] for row in rows}
    low, high = metric.bounds
    if metric.most and rows:
        high = max(row[metric.most] for row in rows)
    return summary(list(values.values()), spread, (low, high))


def replicates(made: Iterable[Panel]) -> set[int]:
    """How many replicates the points of these panels are means of."""
    return {p.shown.n for panel in made for one in panel.series for p in one.points}
