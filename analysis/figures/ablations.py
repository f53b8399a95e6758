"""The ablation grid of "Missing the Mark": does it matter which weights a mask keeps?

A panel for each method; curves for the unmodified, shuffled, reinitialised and inverted mask.
"""

from dataclasses import dataclass
from typing import Any

import duckdb
from matplotlib.figure import Figure

from analysis import style
from analysis.errors import FigureError
from analysis.figures import axes as marks
from analysis.figures import series
from analysis.figures.series import Series
from analysis.stats import Summary

SQL = series.SQL


@dataclass(frozen=True)
class Cell:
    """One method on one network and dataset (`panel`): a curve for each ablation."""

    title: str
    panel: str
    curves: tuple[Series, ...]
    dense: Summary | None


@dataclass(frozen=True)
class Facts:
    """What is drawn: cells in reading order."""

    cells: tuple[Cell, ...]
    note: str
    width: float
    title: str | None = None


def select(connection: duckdb.DuckDBPyConnection, sweep: str, options: dict[str, Any]) -> Facts:
    """Methods that were run under at least two ablations; accuracy in per cent.

    Raises
    ------
    FigureError
        When no method was.
    """
    spread = options.get("spread", "std")
    panels = series.panels(series.rows(connection, sweep, options), spread)
    cells = []
    for panel in panels:
        for label in dict.fromkeys(one.label for one in panel.series):
            curves = tuple(one for one in panel.series if one.label == label)
            if len(curves) > 1:
                cells.append(Cell(label, panel.title, curves, panel.dense))
    if not cells:
        raise FigureError(
            f"sweep {sweep} has no method with two ablations done: nothing to compare"
        )
    return Facts(
        cells=tuple(cells),
        note=series.footnote(connection, sweep, panels, spread),
        width=style.WIDTHS[options.get("width", "iclr")],
        title=options.get("title"),
    )


def draw(facts: Facts) -> Figure:
    """Small panels on shared axes under one legend."""
    keys = [(cell.title, cell.panel) for cell in facts.cells]
    figure, body, places = marks.cells(
        keys, facts.width, facts.note, facts.title, sharex=True, sharey=True
    )
    densities = {p.density for cell in facts.cells for one in cell.curves for p in one.points}
    handles: dict[str, Any] = {}
    for cell in facts.cells:
        ax = places[cell.title, cell.panel]
        marks.dense_line(ax, cell.dense, label="Dense")
        for one in sorted(cell.curves, key=lambda one: list(style.ABLATIONS).index(one.ablation)):
            look = style.ABLATIONS[one.ablation]
            marks.curve(ax, one.points, look, label=look.label)
        marks.weights_remaining(ax, densities | {1.0}, room=max(4, 9 // len(places)))
        ax.tick_params(labelbottom=True)
        found_handles, found_labels = ax.get_legend_handles_labels()
        handles.update(dict(zip(found_labels, found_handles, strict=True)))
    body.supxlabel("Weights remaining (%)", fontsize=8)
    body.supylabel("Test accuracy (%)", fontsize=8)
    marks.legend(body, handles, columns=5)
    return figure
