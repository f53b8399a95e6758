"""The ablation grid of "Missing the Mark": does it matter which weights a mask keeps?

A line of panels for each method, a column for each network and dataset; curves for the
unmodified, shuffled, reinitialized and inverted mask.
"""

from dataclasses import dataclass

import duckdb
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis import style
from analysis.figures import axes
from analysis.figures.facts import BaseFacts, base_fields
from analysis.selection import selection, series, split
from analysis.selection.options import CurveOptions
from analysis.selection.series import Dense, Panel, Series
from tombola.errors import FigureError

SQL = selection.SQL


@dataclass(frozen=True)
class Cell:
    """One method on one network and dataset: a curve for each ablation, in their order."""

    method: str
    problem: str
    curves: tuple[Series, ...]
    dense: tuple[Dense, ...]


@dataclass(frozen=True, kw_only=True)
class Facts(BaseFacts):
    """What is drawn: cells by method, in the sweep's order."""

    cells: tuple[Cell, ...]
    metric: str


def select(connection: duckdb.DuckDBPyConnection, sweep: str, options: CurveOptions) -> Facts:
    """Methods that were run under at least two ablations.

    Raises
    ------
    FigureError
        When no method was.
    """
    chosen = selection.choose(connection, sweep, options)
    panels = series.panels(chosen, options.spread)
    cells = [
        Cell(label, panel.title, curves, panel.dense)
        for panel in panels
        for label in dict.fromkeys(one.label for one in panel.series)
        if len(curves := _curves(panel, label)) > 1
    ]
    if not cells:
        raise FigureError(
            f"sweep {sweep} has no method with two ablations done: nothing to compare"
        )
    split.check(sweep, chosen.rows, len(cells))
    return Facts(
        cells=tuple(cells),
        metric=chosen.metric.label,
        **base_fields(chosen, series.replicates(panels), options),
    )


def draw(facts: Facts) -> Figure:
    """Small panels on shared axes under one legend."""
    there = {one.ablation for cell in facts.cells for one in cell.curves}
    dense = axes.dense_handles(one for cell in facts.cells for one in cell.dense)
    looks = map(style.look_of_ablation, sorted(there, key=style.ablation_order))
    handles = [axes.handle(look) for look in looks]
    frame = axes.Frame(facts.width, facts.title, facts.note, [*dense, *handles])
    grid = axes.Grid(
        tuple(dict.fromkeys(cell.method for cell in facts.cells)),
        tuple(dict.fromkeys(cell.problem for cell in facts.cells)),
        facts.width,
    )
    shared = {"sharex": True, "sharey": True}
    figure, body, lines = axes.sheet(grid.shape, grid.panel_height, frame, **shared)
    names = [str(line.get_label()) for line in dense]
    densities = {p.density for cell in facts.cells for one in cell.curves for p in one.points}
    shown = {}
    for cell in facts.cells:
        line, column = grid.place(cell.method, cell.problem)
        ax = lines[line][column]
        _draw_cell(ax, cell, names)
        axes.weights_remaining(ax, densities, room=int(2.4 * facts.width / grid.shape[1]))
        ax.yaxis.set_major_locator(MaxNLocator(grid.ticks, steps=[1, 2, 2.5, 5, 10]))
        shown[line, column] = cell.method
    grid.finish(lines, shown)
    body.supxlabel("Weights remaining (%)", fontsize=9)
    body.supylabel(facts.metric, fontsize=9)
    return figure


def _draw_cell(ax: Axes, cell: Cell, dense: list[str]) -> None:
    """The unmodified curve is drawn last, thinner: where others meet it, they show around."""
    axes.dense_line(ax, cell.dense, dense)
    for one in reversed(cell.curves):
        thin = {"linewidth": 0.9, "markersize": 2.4} if one.ablation == "none" else {}
        axes.curve(ax, one.points, style.look_of_ablation(one.ablation), **thin)


def _curves(panel: Panel, label: str) -> tuple[Series, ...]:
    curves = [one for one in panel.series if one.label == label]
    return tuple(sorted(curves, key=lambda one: style.ablation_order(one.ablation)))
