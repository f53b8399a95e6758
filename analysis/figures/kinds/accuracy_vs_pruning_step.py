"""Figure of a metric against the step of pruning ("Missing the Mark", section 6)."""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import style
from analysis.database.rows import Row
from analysis.figures import axes
from analysis.figures.facts import BaseFacts, base_fields
from analysis.selection import selection, series, split
from analysis.selection.metrics import Metric
from analysis.selection.options import RankOptions
from analysis.stats import Spread, Summary

SQL = selection.SQL

_MOST, _MOST_SPLIT = 6, 3
"""Densities with panels by default; fewer if settings have panels too."""
_MOST_PANELS = 18


@dataclass(frozen=True)
class Point:
    """Mean of replicates pruned at, or rewound to, one step, in the metric's unit."""

    step: int
    shown: Summary

    @property
    def x(self) -> float:
        """Position on the horizontal axis."""
        return float(self.step)


@dataclass(frozen=True)
class Curve:
    """Curve of one method, in its setting number `variant`, from 0."""

    method: str
    label: str
    variant: int
    points: tuple[Point, ...]
    plain: bool = False
    ablation: str = "none"


@dataclass(frozen=True)
class Panel:
    """Curves of one network and dataset at one density."""

    title: str
    curves: tuple[Curve, ...]
    dense: tuple[series.Dense, ...]


@dataclass(frozen=True, kw_only=True)
class Facts(BaseFacts):
    """Facts of the figure."""

    panels: tuple[Panel, ...]
    metric: str
    each_explains: bool = False


def select(connection: duckdb.DuckDBPyConnection, sweep: str, options: RankOptions) -> Facts:
    """Select means over replicates, at the densities of the options or a few evenly spaced.

    A method that rewinds is shown at the step it rewinds to.

    Raises
    ------
    FigureError
        When no finished trial matches the options.
    """
    chosen = selection.choose(connection, sweep, options)
    rows = [_placed(row) for row in chosen.rows if row["method"] != "dense"]
    by = split.split(rows)
    named = by.labels(rows)
    places = selection.grouped(rows, lambda r: (r["network"], r["dataset"], by.place(r)))
    dense = {
        place: series.dense(
            [*members, *by.beside(chosen.rows, members)], chosen.metric, options.spread
        )
        for place, members in places.items()
    }
    densities = {row["requested_density"] for row in rows}
    most = _MOST if by == split.Split() else _MOST_SPLIT
    wanted = selection.spaced(densities, options.densities, min(most, len(densities)))
    groups = selection.grouped(
        (row for row in rows if row["requested_density"] in wanted),
        lambda row: (row["network"], row["dataset"], by.place(row), row["requested_density"]),
    )
    split.check(sweep, rows, len(groups), _MOST_PANELS)
    panels = []
    for (network, dataset, place, density), members in groups.items():
        part = by.part(members[0])
        left = f"{style.percent(density)}% left"
        title = ", ".join(filter(None, (style.problem(network, dataset), part, left)))
        curves = _curves(members, named, by, chosen.metric, options.spread)
        panels.append(Panel(title, curves, dense[network, dataset, place]))
    counts = {p.shown.n for panel in panels for curve in panel.curves for p in curve.points}
    shown = {p.title: {c.label for c in p.curves} for p in panels}
    remarks = selection.left_out(densities, wanted) + split.absent(
        {} if by.each_explains else shown
    )
    return Facts(
        panels=tuple(panels),
        metric=chosen.metric.label,
        each_explains=by.each_explains,
        **base_fields(chosen, counts, options, remarks),
    )


def draw(facts: Facts) -> Figure:
    """Draw panels under one legend, with a symmetric log axis of steps."""
    count = len(facts.panels)
    shape = axes.abreast(count, facts.width, each_explains=facts.each_explains)
    height = axes.tall(2.1, shape, facts.width)
    dense = axes.dense_handles(line for panel in facts.panels for line in panel.dense)
    curves = {curve.label: curve for panel in facts.panels for curve in panel.curves}
    handles = [] if facts.each_explains else [_handle(curve) for curve in curves.values()]
    frame = axes.Frame(facts.width, facts.title, facts.note, [*dense, *handles])
    names = [str(line.get_label()) for line in dense]
    figure, _, lines = axes.sheet(shape, height, frame)
    spots = [ax for line in lines for ax in line]
    for panel, ax in zip(facts.panels, spots, strict=False):
        axes.dense_line(ax, panel.dense, names)
        for curve in panel.curves:
            axes.curve(ax, curve.points, _look(curve))
        _step_axis(ax, {p.step for curve in panel.curves for p in curve.points}, shape[1])
        axes.ticked(ax, 7, height)
        axes.titled(ax, panel.title, facts.width / shape[1])
        if facts.each_explains:
            axes.explained(ax, [_handle(curve) for curve in panel.curves], facts.width)
    for ax in lines[-1]:
        words = "Step of pruning or rewinding (iterations)"
        ax.set_xlabel(axes.wrapped(words, facts.width / shape[1] - 0.4, 9.0, 0.05))
    for line in lines:
        line[0].set_ylabel(facts.metric)
    for spare in spots[len(facts.panels) :]:
        spare.remove()
    return figure


# ---------------------------------------------------------------- details


def _placed(row: Row) -> Row:
    """Return a row with `step`, and without the columns that would separate curves by step."""
    step = row["prune_step"] if row["rewind_step"] is None else row["rewind_step"]
    return {**row, "step": step, "prune_step": None, "rewind_step": None}


def _points(rows: Sequence[Row], metric: Metric, spread: Spread) -> tuple[Point, ...]:
    by_step = selection.grouped(rows, lambda row: row["step"])
    return tuple(
        Point(step, series.summarised(by_step[step], metric, spread)) for step in sorted(by_step)
    )


def _curves(
    members: Sequence[Row],
    named: dict[selection.Setting, tuple[str, int]],
    by: split.Split,
    metric: Metric,
    spread: Spread,
) -> tuple[Curve, ...]:
    """Return a curve for each setting and ablation of one panel."""
    groups = selection.grouped(members, split.curve)
    plain = by.recoloured([key[0] for key, _ in groups])
    curves = []
    for n, ((key, ablation), rows) in enumerate(groups.items()):
        label, variant = named[key]
        shown = "none" if "ablation" in by.columns else ablation
        number = n if plain and by.each_explains else variant
        points = _points(rows, metric, spread)
        curves.append(Curve(key[0], style.ablated(label, shown), number, points, plain, shown))
    return tuple(curves)


def _look(curve: Curve) -> style.Look:
    return axes.look(curve.method, curve.variant, curve.ablation, plain=curve.plain)


def _handle(curve: Curve) -> Line2D:
    return axes.handle(_look(curve), curve.label)


def _step_axis(ax: Axes, steps: set[int], columns: int) -> None:
    """Set an axis that is linear up to the first step after 0, then logarithmic."""
    ordered = sorted(steps)
    first = next((step for step in ordered if step), 1)
    ax.set_xscale("symlog", linthresh=first)
    low, high = (float(ax.transData.transform((x, 0))[0]) for x in (ordered[0], ordered[-1]))
    room = (high - low) / (12 if columns == 1 else 6)
    ticks: list[int] = []
    for step in ordered:
        place = float(ax.transData.transform((step, 0))[0])
        if not ticks or place - float(ax.transData.transform((ticks[-1], 0))[0]) >= room:
            ticks.append(step)
    ax.set_xticks(ticks, [f"{step:,}" for step in ticks])
    ax.set_xticks([], minor=True)
