"""Accuracy, or another metric, against the step of pruning ("Missing the Mark", section 6)."""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis import style
from analysis.figures import axes as marks
from analysis.figures import selection, series
from analysis.figures.metrics import Metric
from analysis.figures.options import StepOptions
from analysis.figures.selection import Row
from analysis.stats import Spread, Summary

SQL = selection.SQL


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


@dataclass(frozen=True)
class Panel:
    """One network and dataset at one density."""

    title: str
    curves: tuple[Curve, ...]
    dense: tuple[series.Dense, ...]


@dataclass(frozen=True)
class Facts:
    """What is drawn."""

    panels: tuple[Panel, ...]
    runs: tuple[str, ...]
    note: str
    width: float
    metric: str
    title: str | None = None


def select(connection: duckdb.DuckDBPyConnection, sweep: str, options: StepOptions) -> Facts:
    """Means over replicates; a method that rewinds is shown at the step it rewinds to.

    Raises
    ------
    FigureError
        When no trial that the options let pass is done.
    """
    chosen = selection.choose(connection, sweep, options)
    rows = [_placed(row) for row in chosen.rows if row["method"] != "dense"]
    named = selection.labels(rows)
    dense = {(p.network, p.dataset): p.dense for p in series.panels(chosen, options.spread)}
    groups = selection.grouped(
        rows, lambda row: (row["network"], row["dataset"], row["requested_density"])
    )
    panels = []
    for (network, dataset, density), members in groups.items():
        curves = tuple(
            Curve(
                members_[0]["method"], *named[key], _points(members_, chosen.metric, options.spread)
            )
            for key, members_ in selection.grouped(members, selection.setting).items()
        )
        title = f"{style.problem(network, dataset)}, {style.percent(density)}% left"
        panels.append(Panel(title, curves, dense[network, dataset]))
    counts = {p.shown.n for panel in panels for one in panel.curves for p in one.points}
    return Facts(
        panels=tuple(panels),
        runs=chosen.runs,
        note=selection.footnote(chosen, counts, options.spread),
        width=style.WIDTHS[options.width],
        metric=chosen.metric.label,
        title=options.title,
    )


def draw(facts: Facts) -> Figure:
    """Panels side by side under one legend; early steps have as much room as late ones."""
    shape = marks.spread_out(len(facts.panels), 1 if facts.width < 4 else 2)
    dense = marks.dense_handles(one for panel in facts.panels for one in panel.dense)
    curves = {one.label: one for panel in facts.panels for one in panel.curves}
    handles = [marks.handle(_look(one), one.label) for one in curves.values()]
    frame = marks.Frame(facts.width, facts.title, facts.note, [*dense, *handles])
    figure, _, lines = marks.sheet(shape, 2.1, frame)
    spots = [ax for line in lines for ax in line]
    for panel, ax in zip(facts.panels, spots, strict=False):
        marks.dense_line(ax, panel.dense, [str(line.get_label()) for line in dense])
        for one in panel.curves:
            marks.curve(ax, one.points, _look(one))
        _step_axis(ax, {p.step for one in panel.curves for p in one.points})
        ax.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
        ax.set_title(panel.title)
    for ax in lines[-1]:
        ax.set_xlabel("Step of pruning or rewinding (iterations)")
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


def _look(one: Curve) -> style.Look:
    return style.variant(style.look(one.method), one.variant)


def _step_axis(ax: Axes, steps: set[int]) -> None:
    """Step 0 and a logarithm after it."""
    ordered = sorted(steps)
    first = next((step for step in ordered if step), 1)
    ax.set_xscale("symlog", linthresh=first)
    ax.set_xticks(ordered, [f"{step:,}" for step in ordered])
    ax.set_xticks([], minor=True)
