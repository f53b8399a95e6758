"""Accuracy, or another metric, against the step of pruning ("Missing the Mark", section 6)."""

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
"""Densities that have panels unless others are asked for; fewer where settings have panels too."""
_MOST_PANELS = 18


@dataclass(frozen=True)
class Point:
    """Replicates pruned (or rewound to) at one step, in the metric's unit."""

    step: int
    shown: Summary

    @property
    def x(self) -> float:
        """Where it is drawn."""
        return float(self.step)


@dataclass(frozen=True)
class Curve:
    """One method: the `variant`-th setting of it, from 0."""

    method: str
    label: str
    variant: int
    points: tuple[Point, ...]
    plain: bool = False
    ablation: str = "none"


@dataclass(frozen=True)
class Panel:
    """One network and dataset at one density."""

    title: str
    curves: tuple[Curve, ...]
    dense: tuple[series.Dense, ...]


@dataclass(frozen=True, kw_only=True)
class Facts(BaseFacts):
    """What is drawn."""

    panels: tuple[Panel, ...]
    metric: str
    each_explains: bool = False


def select(connection: duckdb.DuckDBPyConnection, sweep: str, options: RankOptions) -> Facts:
    """Means over replicates; a method that rewinds is shown at the step it rewinds to.

    At the densities nearest to those asked for, or at a few spread out.

    Raises
    ------
    FigureError
        When no trial that the options let pass is done.
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
    there_are = {row["requested_density"] for row in rows}
    most = _MOST if by == split.Split() else _MOST_SPLIT
    wanted = selection.spaced(there_are, options.densities, min(most, len(there_are)))
    groups = selection.grouped(
        (row for row in rows if row["requested_density"] in wanted),
        lambda row: (row["network"], row["dataset"], by.place(row), row["requested_density"]),
    )
    split.check(sweep, rows, len(groups), _MOST_PANELS)
    panels = []
    for (network, dataset, place, density), members in groups.items():
        part = by.said(members[0])
        left = f"{style.percent(density)}% left"
        title = ", ".join(filter(None, (style.problem(network, dataset), part, left)))
        curves = _curves(members, named, by, chosen.metric, options.spread)
        panels.append(Panel(title, curves, dense[network, dataset, place]))
    counts = {p.shown.n for panel in panels for one in panel.curves for p in one.points}
    shown = {p.title: {c.label for c in p.curves} for p in panels}
    remarks = selection.left_out(there_are, wanted) + split.absent(
        {} if by.each_explains else shown
    )
    return Facts(
        panels=tuple(panels),
        metric=chosen.metric.label,
        each_explains=by.each_explains,
        **base_fields(chosen, counts, options, remarks),
    )


def draw(facts: Facts) -> Figure:
    """Panels side by side under one legend; early steps have as much room as late ones."""
    count = len(facts.panels)
    shape = axes.abreast(count, facts.width, each_explains=facts.each_explains)
    height = axes.tall(2.1, shape, facts.width)
    dense = axes.dense_handles(one for panel in facts.panels for one in panel.dense)
    curves = {one.label: one for panel in facts.panels for one in panel.curves}
    handles = [] if facts.each_explains else [_handle(one) for one in curves.values()]
    frame = axes.Frame(facts.width, facts.title, facts.note, [*dense, *handles])
    names = [str(line.get_label()) for line in dense]
    figure, _, lines = axes.sheet(shape, height, frame)
    spots = [ax for line in lines for ax in line]
    for panel, ax in zip(facts.panels, spots, strict=False):
        axes.dense_line(ax, panel.dense, names)
        for one in panel.curves:
            axes.curve(ax, one.points, _look(one))
        _step_axis(ax, {p.step for one in panel.curves for p in one.points}, shape[1])
        axes.ticked(ax, 7, height)
        axes.titled(ax, panel.title, facts.width / shape[1])
        if facts.each_explains:
            axes.explained(ax, [_handle(one) for one in panel.curves], facts.width)
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
    """A row with its step apart from what sets curves apart."""
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
    """A curve for each setting and ablation of one panel."""
    groups = selection.grouped(members, split.curve)
    plain = by.recoloured([key[0] for key, _ in groups])
    found = []
    for n, ((key, ablation), rows) in enumerate(groups.items()):
        label, variant = named[key]
        told = "none" if "ablation" in by.columns else ablation
        number = n if plain and by.each_explains else variant
        points = _points(rows, metric, spread)
        found.append(Curve(key[0], style.ablated(label, told), number, points, plain, told))
    return tuple(found)


def _look(one: Curve) -> style.Look:
    return axes.look(one.method, one.variant, one.ablation, plain=one.plain)


def _handle(one: Curve) -> Line2D:
    return axes.handle(_look(one), one.label)


def _step_axis(ax: Axes, steps: set[int], columns: int) -> None:
    """Step 0 and a logarithm after it."""
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
