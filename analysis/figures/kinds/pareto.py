"""Figure of a metric against the remaining work, with the Pareto front.

Work is multiply-adds, or the measured time of a forward pass.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean, median
from typing import Any

import duckdb
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from analysis import style
from analysis.database.rows import Row
from analysis.figures import axes
from analysis.figures.facts import BaseFacts, base_fields
from analysis.selection import selection, series, split
from analysis.selection.options import ParetoOptions
from analysis.stats import Summary
from analysis.style import Look
from tombola.errors import FigureError

SQL = f"""
SELECT {", ".join(f"t.{name}" for name in selection.COLUMNS)}, t.flops, t.kept_flops,
       t.latency, t.dense_latency, t.latency_device, t.latency_batch_size
FROM trials t WHERE t.sweep = $sweep ORDER BY t.trial
"""

_FRONT = Look("#BBBBBB", "", "Pareto front")
_IMAGES = "images", "image"
_MOST_PANELS = 12
_NEAR = 4
_BELOW = (1, 2, 5), (1, 2, 3, 4, 5, 6, 7, 8, 9)
_ABOVE = (1, 2, 5), (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 7)
_LACKING = {
    "flops": "no multiply-adds to show: its store is too old",
    "latency": "no latency to show; it takes grids with `measure: latency`",
}
_BEST = {
    "flops": " Filled: no other has as few multiply-adds and does better.",
    "latency": " Filled: no other is as fast and does better. Timed without pruned units, in turns "
    "with the dense network.",
}


@dataclass(frozen=True)
class Point:
    """Replicates at one density: mean remaining work, per cent of dense, and the metric.

    `best` if no other point of the panel has less work and is as good, or as little and is better.
    """

    work: float
    shown: Summary
    best: bool = False

    @property
    def x(self) -> float:
        """Position on the horizontal axis."""
        return self.work


@dataclass(frozen=True)
class Curve:
    """Points of one method, densest first."""

    label: str
    look: Look
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Panel:
    """Curves of one network, dataset and device; `work` and `gain` are labels of the axes."""

    problem: str
    work: str
    gain: str
    curves: tuple[Curve, ...]


@dataclass(frozen=True, kw_only=True)
class Facts(BaseFacts):
    """Facts of the figure."""

    panels: tuple[Panel, ...]
    metric: str
    floor: float | None = None
    each_explains: bool = False


def select(connection: duckdb.DuckDBPyConnection, sweep: str, options: ParetoOptions) -> Facts:
    """Select means over replicates at every density; the front is that of the means.

    Raises
    ------
    FigureError
        When no finished trial matches the options.
    """
    chosen = selection.choose(connection, sweep, options, SQL)
    build = _measured if options.against == "latency" else _counted
    by = split.split(chosen.rows)
    panels = tuple(build(chosen, options, by))
    if not panels:
        raise FigureError(f"sweep {sweep} has {_LACKING[options.against]}")
    split.check(sweep, chosen.rows, len(panels), _MOST_PANELS)
    shown = {panel.problem: {curve.label for curve in panel.curves} for panel in panels}
    counts = {p.shown.n for panel in panels for curve in panel.curves for p in curve.points}
    remarks = _BEST[options.against] + split.absent({} if by.each_explains else shown)
    return Facts(
        panels=panels,
        metric=chosen.metric.label,
        floor=options.floor,
        each_explains=by.each_explains,
        **base_fields(chosen, counts, options, remarks),
    )


def draw(facts: Facts) -> Figure:
    """Draw panels with less work to the right and speed-up on the upper axis."""
    curves = {curve.label: curve.look for panel in facts.panels for curve in panel.curves}
    shared = {} if facts.each_explains else curves
    handles = [axes.handle(look, label) for label, look in shared.items()]
    handles.append(axes.handle(_FRONT))
    frame = axes.Frame(facts.width, facts.title, facts.note, handles)
    count = len(facts.panels)
    shape = axes.abreast(count, facts.width, each_explains=facts.each_explains)
    height = axes.tall(2.4, shape, facts.width)
    figure, _, lines = axes.sheet(shape, height, frame)
    spots = [ax for line in lines for ax in line]
    for panel, ax in zip(facts.panels, spots, strict=False):
        _draw_panel(ax, panel, facts.width / shape[1], height)
        if facts.floor is not None:
            ax.set_ylim(100 * facts.floor, 100 + 3 * (1 - facts.floor))
        if facts.each_explains:
            own = [axes.handle(curve.look, curve.label) for curve in panel.curves]
            axes.explained(ax, own, facts.width)
    for line in lines:
        line[0].set_ylabel(facts.metric)
    for spare in spots[count:]:
        spare.remove()
    return figure


# ---------------------------------------------------------------- details


def _counted(
    chosen: selection.Selection, options: ParetoOptions, by: split.Split
) -> Iterator[Panel]:
    """Yield a panel for each network and dataset, against multiply-adds."""
    rows = [row for row in chosen.rows if row["kept_flops"]]
    pruned = [row for row in rows if row["method"] != "dense"]
    for (*problem, _), members in selection.grouped(
        pruned, lambda row: (*_problem(row), by.place(row))
    ).items():
        together = [*by.beside(rows, members), *members]
        total = _abbreviated(members[0]["flops"])
        work = f"Multiply-adds remaining (% of {total})"
        shares = {row["trial"]: 100 * row["kept_flops"] / row["flops"] for row in together}
        title = ", ".join(filter(None, (style.problem(*problem), by.part(members[0]))))
        curves = _curves(together, shares, chosen, options, by)
        yield Panel(title, work, "Theoretical speed-up", curves)


def _measured(
    chosen: selection.Selection, options: ParetoOptions, by: split.Split
) -> Iterator[Panel]:
    """Yield a panel for each network, dataset, device and batch, against measured latency.

    The dense network was timed together with each pruned one, so dense trials are at 100 %.
    """
    pruned = [row for row in chosen.rows if row["latency"] and row["shown"] is not None]
    for (timed, _), members in selection.grouped(
        pruned, lambda row: (_timed(row), by.place(row))
    ).items():
        *problem, device, batch = timed
        dense = by.beside(chosen.rows, members)
        total = median(row["dense_latency"] for row in members)
        work = f"Measured latency (% of {total:.3g} ms for {batch:,} {_IMAGES[batch == 1]})"
        shares = {row["trial"]: 100 * row["latency"] / row["dense_latency"] for row in members}
        shares |= {row["trial"]: 100.0 for row in dense}
        kind = "CPU" if device == "cpu" else device
        where = ", ".join(filter(None, (style.problem(*problem), by.part(members[0]), kind)))
        curves = _curves([*dense, *members], shares, chosen, options, by)
        yield Panel(where, work, "Measured speed-up", curves)


def _problem(row: Row) -> tuple[str, str]:
    return row["network"], row["dataset"]


def _timed(row: Row) -> tuple[Any, ...]:
    return *_problem(row), row["latency_device"], row["latency_batch_size"]


def _curves(
    members: Sequence[Row],
    shares: Mapping[int, float],
    chosen: selection.Selection,
    options: ParetoOptions,
    by: split.Split,
) -> tuple[Curve, ...]:
    named = by.labels(chosen.rows)

    def points(rows: Iterable[Row]) -> tuple[Point, ...]:
        by_density = selection.grouped(rows, lambda row: row["requested_density"])
        return tuple(
            Point(
                mean(shares[row["trial"]] for row in by_density[density]),
                series.summarised(by_density[density], chosen.metric, options.spread),
            )
            for density in sorted(by_density, reverse=True)
        )

    dense = [row for row in members if row["method"] == "dense" and row["shown"] is not None]
    curves = [
        Curve(label, replace(axes.dense_look(n), marker="o"), points(same))
        for n, (label, same) in enumerate(series.dense_recipes(dense))
    ]
    pruned = [row for row in members if row["method"] != "dense"]
    groups = selection.grouped(pruned, split.curve)
    looks = axes.looks([*groups], named, by)
    for (key, ablation), rows in groups.items():
        label = by.curve_name(named[key][0], ablation)
        curves.append(Curve(label, looks[key, ablation], points(rows)))
    return _marked(curves, chosen.metric.sign)


def _marked(curves: Sequence[Curve], sign: int) -> tuple[Curve, ...]:
    """Return the curves with `best` set for points on the front; `sign` −1: less is better."""
    everything = [point for curve in curves for point in curve.points]

    def best(point: Point) -> bool:
        own = sign * point.shown.centre
        return not any(
            (other.work <= point.work and sign * other.shown.centre > own)
            or (other.work < point.work and sign * other.shown.centre >= own)
            for other in everything
        )

    return tuple(
        replace(curve, points=tuple(replace(p, best=best(p)) for p in curve.points))
        for curve in curves
    )


def _draw_panel(ax: Axes, panel: Panel, width: float, height: float) -> None:
    front = sorted(
        (point for curve in panel.curves for point in curve.points if point.best),
        key=lambda point: point.work,
    )
    ax.plot(
        [point.work for point in front],
        [point.shown.centre for point in front],
        drawstyle="steps-pre",
        color=_FRONT.colour,
        linewidth=3.0,
        zorder=1.2,
    )
    for curve in panel.curves:
        axes.curve(ax, curve.points, curve.look, linewidth=0.8)
        best = [point for point in curve.points if point.best]
        ax.plot(
            [point.work for point in best],
            [point.shown.centre for point in best],
            color=curve.look.colour,
            marker=curve.look.marker,
            linestyle="none",
            zorder=3,
        )
    ax.set_xscale("log")
    ax.invert_xaxis()
    ax.xaxis.set_major_locator(_ticks(ax, *_BELOW))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.ticked(ax, 7, height - 0.3)
    ax.set_xlabel(axes.wrapped(panel.work, width - 0.4, 9.0, 0.05))
    above = ax.secondary_xaxis("top", functions=(_inverse, _inverse))
    above.xaxis.set_major_locator(_ticks(ax, *_ABOVE))
    above.xaxis.set_minor_locator(NullLocator())
    above.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    above.set_xlabel(panel.gain)
    above.spines["top"].set_visible(False)
    axes.titled(ax, panel.problem, width)


def _ticks(ax: Axes, far: tuple[float, ...], near: tuple[float, ...]) -> LogLocator:
    """Return ticks at the digits `far`, or `near` if the axis spans less than factor _NEAR."""
    left, right = ax.get_xlim()
    return LogLocator(10, near if left / right < _NEAR else far, numticks=9)


def _inverse(percent: Any) -> Any:
    """Convert per cent of work to speed-up, and back."""
    return 100 / np.maximum(percent, 1e-9)


def _abbreviated(flops: int) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if flops >= size:
            return f"{flops / size:.3g}{unit}"
    return str(flops)
