"""Figure of ablations ("Missing the Mark"): does it matter which weights a mask keeps?

Each method has a line of panels, each network and dataset a column. Curves are for the
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
    """Curves of one method on one network and dataset: one for each ablation, in order."""

    method: str
    problem: str
    curves: tuple[Series, ...]
    dense: tuple[Dense, ...]


@dataclass(frozen=True, kw_only=True)
class Facts(BaseFacts):
    """Facts of the figure: cells by method, in the sweep's order."""

    cells: tuple[Cell, ...]
    metric: str


def select(connection: duckdb.DuckDBPyConnection, sweep: str, options: CurveOptions) -> Facts:
    """Select the methods with at least two ablations.

    Raises
    ------
    FigureError
        When no method has two ablations.
    """
    chosen = selection.choose(connection, sweep, options)
    panels = series.panels(chosen, options.spread)
    cells = [
        Cell(label, panel.title, curves, panel.dense)
        for panel in panels
        for label in dict.fromkeys(curve.label for curve in panel.series)
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
    """Draw small panels on shared axes under one legend."""
    ablations = {curve.ablation for cell in facts.cells for curve in cell.curves}
    dense = axes.dense_handles(line for cell in facts.cells for line in cell.dense)
    looks = map(style.look_of_ablation, sorted(ablations, key=style.ablation_order))
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
    densities = {p.density for cell in facts.cells for curve in cell.curves for p in curve.points}
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
    """Draw the curves; the unmodified one is last and thin: equal curves stay visible."""
    axes.dense_line(ax, cell.dense, dense)
    for curve in reversed(cell.curves):
        thin = {"linewidth": 0.9, "markersize": 2.4} if curve.ablation == "none" else {}
        axes.curve(ax, curve.points, style.look_of_ablation(curve.ablation), **thin)


def _curves(panel: Panel, label: str) -> tuple[Series, ...]:
    curves = [curve for curve in panel.series if curve.label == label]
    return tuple(sorted(curves, key=lambda curve: style.ablation_order(curve.ablation)))
