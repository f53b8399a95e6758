"""Axes and marks that several figures draw."""

from collections.abc import Iterable
from math import ceil, log10
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from analysis import style
from analysis.figures.series import Point
from analysis.stats import Summary


def grid(
    count: int,
    columns: int,
    size: tuple[float, float],
    note: str,
    title: str | None,
    **shared: Any,
) -> tuple[Figure, SubFigure, list[Axes]]:
    """A figure of `count` panels, `columns` beside each other, in a frame of title and note.

    `size` is the width of the figure and the height of one line of panels, in inches.
    Returns the figure, the part of it that holds the panels, and the panels.
    """
    columns = min(columns, count)
    lines = ceil(count / columns)
    above, inside, below = (0.22 if title else 0.01), size[1] * lines, 0.17
    total = above + inside + below
    figure = Figure(figsize=(size[0], total), layout="constrained")
    parts: Any = figure.subfigures(3, 1, height_ratios=[above, inside, below])
    body: SubFigure = parts[1]
    made = body.subplots(lines, columns, squeeze=False, **shared).flatten().tolist()
    for spare in made[count:]:
        spare.remove()
    figure.text(0.01, 0.05 / total, note, fontsize=6.0, color="#777777", ha="left", va="bottom")
    if title:
        figure.text(0.5, 1 - 0.05 / total, title, fontsize=9.0, ha="center", va="top")
    return figure, body, made[:count]


def cells(
    keys: list[tuple[str, str]], width: float, note: str, title: str | None, **shared: Any
) -> tuple[Figure, SubFigure, dict[tuple[str, str], Axes]]:
    """Small panels for (method, network): in reading order on one network, else a matrix.

    In the matrix each method has a row and each network a column. Panels are titled.
    """
    methods = list(dict.fromkeys(method for method, _ in keys))
    networks = list(dict.fromkeys(network for _, network in keys))
    several = len(networks) > 1
    count = len(methods) * len(networks)
    columns = len(networks) if several else 4 if count > 3 else 3
    height = 2.3 if count <= 3 else 1.5 if several else 1.75
    figure, body, axes = grid(count, columns, (width, height), note, title, **shared)
    places = dict(zip(((m, n) for m in methods for n in networks), axes, strict=True))
    for (method, network), ax in places.items():
        if (method, network) not in keys:
            ax.set_axis_off()
        if not several or method == methods[0]:
            ax.set_title(_wrapped(network if several else method), fontsize=7.5)
        if several and network == networks[0]:
            ax.set_ylabel(_wrapped(method), fontsize=7.5)
    return figure, body, places


def _wrapped(title: str) -> str:
    return title.replace(" (", "\n(", 1).replace(" after ", "\nafter ", 1)


def weights_remaining(axes: Axes, densities: Iterable[float], room: int = 9) -> None:
    """A log axis of density, sparser to the right, with ticks at the data's own values."""
    shown = sorted(set(densities), reverse=True)
    axes.set_xscale("log")
    low, high = shown[-1], max(shown[0], shown[-1] * 1.5)
    margin = (high / low) ** 0.05
    axes.set_xlim(high * margin, low / margin)
    axes.set_xticks(_thinned(shown, room), minor=False)
    axes.set_xticks([], minor=True)
    axes.set_xticklabels([style.percent(tick) for tick in axes.get_xticks()])


def _thinned(densities: list[float], room: int) -> list[float]:
    """Ticks with at least a share of the axis between them, both ends kept."""
    span = log10(densities[0] / densities[-1]) or 1.0
    gap = span / room
    ticks = [densities[-1]]
    for density in reversed(densities[1:-1]):
        if min(log10(density / ticks[-1]), log10(densities[0] / density)) >= gap:
            ticks.append(density)
    return [densities[0], *reversed(ticks)] if len(densities) > 1 else ticks


def curve(axes: Axes, points: Iterable[Point], look: style.Look, **marks: Any) -> None:
    """Means joined by a line, with the spread as a band where there is one."""
    points = list(points)
    densities = [point.density for point in points]
    colour = marks.pop("color", look.colour)
    axes.plot(
        densities,
        [point.accuracy.centre for point in points],
        color=colour,
        marker=look.marker,
        markerfacecolor="white" if look.marker not in "x+" else colour,
        **marks,
    )
    banded = [p for p in points if p.accuracy.low is not None]
    axes.fill_between(
        [p.density for p in banded],
        [p.accuracy.low or 0.0 for p in banded],
        [min(p.accuracy.high or 0.0, 100.0) for p in banded],
        color=colour,
        alpha=0.15,
        linewidth=0,
    )


def dense_line(axes: Axes, dense: Summary | None, label: str | None = None) -> None:
    """The dense network: a dashed line over the whole width, with its spread."""
    if dense is None:
        return
    axes.axhline(dense.centre, color=style.DENSE, linestyle=(0, (4, 2)), linewidth=0.9, label=label)
    if dense.low is not None and dense.high is not None:
        axes.axhspan(dense.low, min(dense.high, 100.0), color=style.DENSE, alpha=0.10, linewidth=0)


def legend(
    body: SubFigure, handles: dict[str, Any], columns: int, title: str | None = None
) -> None:
    """One legend over all panels."""
    body.legend(
        list(handles.values()),
        list(handles),
        loc="outside upper center",
        ncols=columns,
        title=title,
        title_fontsize=7.0,
    )
