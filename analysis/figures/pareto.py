"""Accuracy against the multiply-adds that are left, and which methods nothing else beats."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any

import duckdb
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from analysis import style
from analysis.errors import FigureError
from analysis.figures import axes as marks
from analysis.figures import facts as shared
from analysis.figures import selection, series
from analysis.figures.options import ParetoOptions
from analysis.figures.selection import Row
from analysis.stats import Summary
from analysis.style import Look

SQL = f"""
SELECT {", ".join(f"t.{name}" for name in selection.COLUMNS)}, t.flops, t.kept_flops
FROM trials t WHERE t.sweep = $sweep ORDER BY t.trial
"""

_FRONT = Look("#BBBBBB", "", "Pareto front")


@dataclass(frozen=True)
class Point:
    """Replicates at one density: mean multiply-adds left, per cent of dense, and the metric.

    `best` where no other point of the panel has as few and does better, or fewer and as well.
    """

    flops: float
    shown: Summary
    best: bool = False

    @property
    def x(self) -> float:
        """Where it is drawn."""
        return self.flops


@dataclass(frozen=True)
class Curve:
    """One method's points, most multiply-adds first."""

    label: str
    look: Look
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Panel:
    """One network and dataset; `dense_flops` is multiply-adds of one example."""

    problem: str
    dense_flops: int
    curves: tuple[Curve, ...]


@dataclass(frozen=True, kw_only=True)
class Facts(shared.Facts):
    """What is drawn."""

    panels: tuple[Panel, ...]
    metric: str
    floor: float | None = None


def select(connection: duckdb.DuckDBPyConnection, sweep: str, options: ParetoOptions) -> Facts:
    """Means over replicates of every density; the front is that of the means.

    Raises
    ------
    FigureError
        When no trial that the options let pass is done.
    """
    chosen = selection.choose(connection, sweep, options, SQL)
    rows = [row for row in chosen.rows if row["kept_flops"]]
    if not any(row["method"] != "dense" for row in rows):
        raise FigureError(f"sweep {sweep} has no multiply-adds to show: its store is too old")
    problems = selection.grouped(rows, lambda row: (row["network"], row["dataset"]))
    named = selection.labels(rows)
    panels = tuple(
        Panel(
            style.problem(*problem),
            members[0]["flops"],
            _marked(_curves(members, named, chosen, options), chosen.metric.sign),
        )
        for problem, members in problems.items()
    )
    counts = {p.shown.n for panel in panels for one in panel.curves for p in one.points}
    common = shared.common(chosen, counts, options)
    best = " Filled: no other has as few multiply-adds and does better."
    return Facts(
        panels=panels,
        metric=chosen.metric.label,
        floor=options.floor,
        **common | {"note": common["note"] + best},
    )


def draw(facts: Facts) -> Figure:
    """Fewer multiply-adds to the right, as sparser is everywhere; speed-up on the upper axis."""
    curves = {one.label: one.look for panel in facts.panels for one in panel.curves}
    handles = [marks.handle(look, label) for label, look in curves.items()]
    handles.append(marks.handle(_FRONT))
    frame = marks.Frame(facts.width, facts.title, facts.note, handles)
    count = len(facts.panels)
    shape = marks.spread_out(count, 1 if facts.width < 4 else 2)
    figure, _, lines = marks.sheet(shape, 2.4, frame)
    spots = [ax for line in lines for ax in line]
    for panel, ax in zip(facts.panels, spots, strict=False):
        _draw_panel(ax, panel)
        if facts.floor is not None:
            ax.set_ylim(100 * facts.floor, 100 + 3 * (1 - facts.floor))
    for line in lines:
        line[0].set_ylabel(facts.metric)
    for spare in spots[count:]:
        spare.remove()
    return figure


# ---------------------------------------------------------------- details


def _curves(
    members: Sequence[Row],
    named: dict[selection.Setting, tuple[str, int]],
    chosen: selection.Selection,
    options: ParetoOptions,
) -> list[Curve]:
    def points(rows: Iterable[Row]) -> tuple[Point, ...]:
        by_density = selection.grouped(rows, lambda row: row["requested_density"])
        found = [
            Point(
                mean(100 * row["kept_flops"] / row["flops"] for row in same),
                series.summarised(same, chosen.metric, options.spread),
            )
            for same in by_density.values()
        ]
        return tuple(sorted(found, key=lambda point: -point.flops))

    dense = [row for row in members if row["method"] == "dense" and row["shown"] is not None]
    curves = [
        Curve(label, replace(marks.dense_look(n), marker="o"), points(same))
        for n, (label, same) in enumerate(series.dense_recipes(dense))
    ]
    pruned = [row for row in members if row["method"] != "dense"]
    groups = selection.grouped(pruned, lambda row: (selection.setting(row), row["ablation"]))
    for (key, ablation), rows in groups.items():
        label, variant = named[key]
        look = marks.look(key[0], variant, ablation)
        curves.append(Curve(style.ablated(label, ablation), look, points(rows)))
    return curves


def _marked(curves: Sequence[Curve], sign: int) -> tuple[Curve, ...]:
    """Curves whose points know whether they are on the front; `sign` −1 where less is better."""
    everything = [point for one in curves for point in one.points]

    def best(point: Point) -> bool:
        own = sign * point.shown.centre
        return not any(
            (other.flops <= point.flops and sign * other.shown.centre > own)
            or (other.flops < point.flops and sign * other.shown.centre >= own)
            for other in everything
        )

    return tuple(
        replace(one, points=tuple(replace(p, best=best(p)) for p in one.points)) for one in curves
    )


def _draw_panel(ax: Axes, panel: Panel) -> None:
    front = sorted(
        (point for one in panel.curves for point in one.points if point.best),
        key=lambda point: point.flops,
    )
    ax.plot(
        [point.flops for point in front],
        [point.shown.centre for point in front],
        drawstyle="steps-pre",
        color=_FRONT.colour,
        linewidth=3.0,
        zorder=1.2,
    )
    for one in panel.curves:
        marks.curve(ax, one.points, one.look, linewidth=0.8)
        best = [point for point in one.points if point.best]
        ax.plot(
            [point.flops for point in best],
            [point.shown.centre for point in best],
            color=one.look.colour,
            marker=one.look.marker,
            linestyle="none",
            zorder=3,
        )
    ax.set_xscale("log")
    ax.invert_xaxis()
    ax.xaxis.set_major_locator(LogLocator(10, (1, 2, 5), numticks=9))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    ax.set_xlabel(f"Multiply-adds remaining (% of {_counted(panel.dense_flops)})")
    above = ax.secondary_xaxis("top", functions=(_inverse, _inverse))
    above.xaxis.set_major_locator(LogLocator(10, (1, 2, 5), numticks=9))
    above.xaxis.set_minor_locator(NullLocator())
    above.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    above.set_xlabel("Theoretical speed-up")
    above.spines["top"].set_visible(False)
    ax.set_title(panel.problem)


def _inverse(percent: Any) -> Any:
    """Speed-up from per cent of multiply-adds, and back; nothing is left at 0."""
    return 100 / np.maximum(percent, 1e-9)


def _counted(flops: int) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if flops >= size:
            return f"{flops / size:.3g}{unit}"
    return str(flops)
