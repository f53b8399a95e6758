"""Accuracy against weights remaining: one curve for each method, the dense network beside."""

from dataclasses import dataclass
from typing import Any

import duckdb
from matplotlib.figure import Figure

from analysis import style
from analysis.figures import axes as marks
from analysis.figures import series
from analysis.figures.series import Panel

SQL = series.SQL


@dataclass(frozen=True)
class Facts:
    """What is drawn: panels, and what the footnote says."""

    panels: tuple[Panel, ...]
    note: str
    width: float
    title: str | None = None
    chance: float | None = None
    floor: float | None = None


def select(connection: duckdb.DuckDBPyConnection, sweep: str, options: dict[str, Any]) -> Facts:
    """Unmodified masks of every method; means over replicates, accuracy in per cent."""
    found = [r for r in series.rows(connection, sweep, options) if r["ablation"] == "none"]
    spread = options.get("spread", "std")
    made = series.panels(found, spread)
    return Facts(
        panels=tuple(made),
        note=series.footnote(connection, sweep, made, spread),
        width=style.WIDTHS[options.get("width", "iclr")],
        title=options.get("title"),
        chance=options.get("chance"),
        floor=options.get("floor"),
    )


def draw(facts: Facts) -> Figure:
    """Panels side by side under one legend."""
    figure, body, axes = marks.grid(
        len(facts.panels), 2, (facts.width, 2.9), facts.note, facts.title, sharey=True
    )
    handles: dict[str, Any] = {}
    for panel, ax in zip(facts.panels, axes, strict=True):
        marks.dense_line(ax, panel.dense, label="Dense")
        for one in panel.series:
            look = style.look(one.method)
            colour = style.lighter(look.colour, min(0.6, 0.35 * one.shade))
            lines = "-" if one.shade == 0 else (0, (5, 1.5))
            marks.curve(ax, one.points, look, color=colour, linestyle=lines, label=one.label)
        densities = {p.density for one in panel.series for p in one.points}
        marks.weights_remaining(ax, densities | {1.0}, room=9 if len(axes) == 1 else 6)
        if facts.chance is not None:
            ax.axhline(100 * facts.chance, color="#999999", linestyle=":", linewidth=0.8)
        ax.set_title(panel.title)
        ax.set_xlabel("Weights remaining (%)")
        found_handles, found_labels = ax.get_legend_handles_labels()
        handles.update(dict(zip(found_labels, found_handles, strict=True)))
    for ax in axes[:: min(2, len(axes))]:
        ax.set_ylabel("Test accuracy (%)")
    if len(axes) == 1:
        body.legend(handles.values(), handles.keys(), loc="outside right center")
    else:
        marks.legend(body, handles, columns=4)
    if facts.floor is not None:
        axes[0].set_ylim(100 * facts.floor, 100.4)
    return figure
