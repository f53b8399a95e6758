"""Curves of trials: means over replicates, with their spread."""

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
    """Mean of the replicates at one density, in the metric's unit."""

    density: float
    shown: Summary

    @property
    def x(self) -> float:
        """Position on the horizontal axis."""
        return self.density


@dataclass(frozen=True)
class Series:
    """One curve, densest point first: setting number `variant` (from 0) of a method.

    If `plain`, its colour does not show the method; the panel or the legend names the method.
    """

    method: str
    label: str
    variant: int
    ablation: str
    points: tuple[Point, ...]
    plain: bool = False


@dataclass(frozen=True)
class Dense:
    """The dense network trained by one recipe, in the metric's unit."""

    label: str
    shown: Summary


@dataclass(frozen=True)
class Panel:
    """Curves of one network and dataset, and its dense networks.

    `part` names the settings of this panel, if the figure has a panel for each.
    """

    network: str
    dataset: str
    series: tuple[Series, ...]
    dense: tuple[Dense, ...]
    part: str = ""

    @property
    def title(self) -> str:
        """Title of the panel: network, dataset and part."""
        return ", ".join(filter(None, (style.problem(self.network, self.dataset), self.part)))


def panels(selection: Selection, spread: Spread, by: Split | None = None) -> tuple[Panel, ...]:
    """Return a panel for each network, dataset and part of the split, in the sweep's order."""
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
            by.part(members[0]),
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
    """Return the dense networks of these trials, one for each recipe."""
    rows = [row for row in members if row["dense_shown"] is not None]
    return tuple(
        Dense(label, summarised(same, metric, spread, of="dense_"))
        for label, same in dense_recipes(rows)
    )


def dense_recipes(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Return the rows of one network and dataset by the recipe of their dense run.

    Each recipe is named as in the legend.
    """
    varying = {c for c in RECIPE if len({row[c] for row in rows}) > 1}
    return [
        (", ".join([style.DENSE.label, *details(same[0], varying)]), same)
        for same in grouped(rows, lambda row: of(row, RECIPE)).values()
    ]


def summarised(rows: Iterable[Row], metric: Metric, spread: Spread, of: str = "") -> Summary:
    """Return mean and spread of the runs of rows, each run once, within the metric's bounds.

    Rows that train nothing count by their masks. `of="dense_"`: those of the dense runs.
    """
    rows = list(rows)
    values = {row[f"{of}key"] if of else answer(row): row[f"{of}shown"] for row in rows}
    low, high = metric.bounds
    if metric.most and rows:
        high = max(row[metric.most] for row in rows)
    return summary(list(values.values()), spread, (low, high))


def replicates(panels: Iterable[Panel]) -> set[int]:
    """Return the numbers of replicates behind the points of panels."""
    return {p.shown.n for panel in panels for curve in panel.series for p in curve.points}
