"""Figure of a metric against the whole cost of a trial, with the search for its mask."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from analysis import style
from analysis.database.rows import Row
from analysis.figures import axes
from analysis.figures.facts import BaseFacts, base_fields
from analysis.selection import selection, series, split
from analysis.selection.options import CostOptions
from analysis.stats import Summary
from analysis.style import Look
from tombola.errors import FigureError

SQL = f"""
SELECT {", ".join(f"t.{name}" for name in selection.COLUMNS)}, c.iterations, c.seconds, c.devices
FROM trials t LEFT JOIN (
    SELECT trial, sum(iterations) AS iterations, sum(b.seconds ORDER BY key) AS seconds,
           list_sort(list(DISTINCT device)) AS devices
    FROM stands_on($sweep) b JOIN tasks USING (key) GROUP BY trial) c USING (trial)
WHERE t.sweep = $sweep ORDER BY t.trial
"""

_MOST = 3
_MOST_SPLIT = 2
_MOST_PANELS = 18
_EQUAL, _APART, _MOST_APART = 1.04, 1.8, 9.0
"""Costs within factor _EQUAL are drawn side by side, _APART points apart, at most _MOST_APART."""
_FEW, _FAR, _ROOM = 4, 2.0, 1.6
"""Costs that span less than factor _FAR have factor _ROOM of room on either side."""

_ENGINEERS = EngFormatter(sep="")
_WHAT = {
    "iterations": " Cost of each trial alone, with every run that it stands on (scores, which "
    "train nothing, not counted); equal ones are set a little apart.",
    "seconds": " Time of each trial alone, with every task that it stands on; equal ones are set a "
    "little apart.",
}
_DENSE = Look(style.DENSE.colour, "o", style.DENSE.label, filled=True)


@dataclass(frozen=True)
class Point:
    """Replicates of a method at one density: mean cost, and the metric in its unit."""

    label: str
    look: Look
    cost: float
    shown: Summary


@dataclass(frozen=True)
class Cell:
    """Points of one density, network and dataset, with its dense networks.

    `part` names the settings of this cell, if the figure has a panel for each.
    """

    density: float
    problem: str
    part: str
    points: tuple[Point, ...]


@dataclass(frozen=True, kw_only=True)
class Facts(BaseFacts):
    """Facts of the figure: cells by density, densest first; `unit` is the unit of cost."""

    cells: tuple[Cell, ...]
    densities: tuple[float, ...]
    metric: str
    unit: str
    each_explains: bool = False


def select(connection: duckdb.DuckDBPyConnection, sweep: str, options: CostOptions) -> Facts:
    """Select mean cost and metric at the densities of the options, or at three evenly spaced.

    The cost of a trial is its cost alone: its own training, and every run that its mask and its
    weights come from, up to the step that they are taken from.

    Raises
    ------
    FigureError
        When no trial that matches the options was trained.
    """
    chosen = selection.choose(connection, sweep, options, SQL)
    rows = [row for row in chosen.rows if row[options.unit] and row["shown"] is not None]
    pruned = [row for row in rows if row["method"] != "dense"]
    if not pruned:
        raise FigureError(f"sweep {sweep} has no cost to show: it takes trials that are trained")
    densities = {row["requested_density"] for row in pruned}
    by = split.split(chosen.rows)
    most = _MOST if by == split.Split() else _MOST_SPLIT
    wanted = selection.spaced(densities, options.densities, min(most, len(densities)))
    everything = _labels(chosen.rows, wanted, by)
    chosen = replace(chosen, rows=tuple(rows))
    cells = _cells(chosen, wanted, options, by)
    split.check(sweep, chosen.rows, len(cells), _MOST_PANELS)
    counts = {point.shown.n for cell in cells for point in cell.points}
    remarks = _WHAT[options.unit]
    remarks += selection.left_out(densities, wanted) * (by != split.Split())
    remarks += _absent(cells, everything, by)
    return Facts(
        cells=cells,
        densities=wanted,
        metric=chosen.metric.label,
        unit=_unit(rows, options.unit),
        each_explains=by.each_explains,
        **base_fields(chosen, counts, options, remarks),
    )


def draw(facts: Facts) -> Figure:
    """Draw a panel for each density, with cost on a shared log axis."""
    shared = () if facts.each_explains else facts.cells
    looks = {point.label: point.look for cell in shared for point in cell.points}
    handles = [_handle(look, label) for label, look in looks.items()]
    frame = axes.Frame(facts.width, facts.title, facts.note, handles)
    problems = tuple(dict.fromkeys(cell.problem for cell in facts.cells))
    order = sorted(facts.cells, key=lambda cell: -cell.density)
    names = tuple(dict.fromkeys(map(_named, order)))
    if facts.each_explains:
        places = [(n, 0) for n in range(len(facts.cells))]
        titles = [_named(cell, several=len(problems) > 1) for cell in facts.cells]
        shape = len(places), 1
        height = axes.tall(1.7, shape, facts.width)
    else:
        grid = axes.Grid(names, problems, facts.width)
        places = [grid.place(_named(cell), cell.problem) for cell in facts.cells]
        titles = [_named(cell) for cell in facts.cells]
        shape, height = grid.shape, grid.panel_height
    figure, body, lines = axes.sheet(shape, height, frame, sharex=True)
    for cell, (line, column), title in zip(facts.cells, places, titles, strict=True):
        _draw_cell(lines[line][column], cell.points)
        if facts.each_explains:
            own = [_handle(point.look, point.label) for point in cell.points]
            axes.explained(lines[line][column], own, facts.width)
            lines[line][column].set_title(title, fontsize=8.5, loc="left")
    if not facts.each_explains:
        grid.finish(lines, dict(zip(places, titles, strict=True)), beside=0.42)
    for ax in body.axes:
        ax.tick_params(labelleft=True)  # each panel has its own vertical scale
    _scale(body.axes, facts.cells)
    body.supxlabel(f"{facts.unit}, the search for the mask included", fontsize=9)
    body.supylabel(facts.metric, fontsize=9)
    return figure


# ---------------------------------------------------------------- details


def _unit(rows: Iterable[Row], unit: str) -> str:
    if unit == "iterations":
        return "Training iterations"
    devices = {device for row in rows for device in row["devices"]}
    kinds = {"CPU" if device == "cpu" else "GPU" for device in devices}
    return f"{' and '.join(sorted(kinds))} seconds"


def _named(cell: Cell, *, several: bool = False) -> str:
    density = f"{style.percent(cell.density)} % of weights"
    return ", ".join(filter(None, (cell.problem if several else "", cell.part, density)))


def _handle(look: Look, label: str) -> Line2D:
    return axes.handle(replace(look, line=""), label)


def _cells(
    chosen: selection.Selection, wanted: Sequence[float], options: CostOptions, by: split.Split
) -> tuple[Cell, ...]:
    pruned = [row for row in chosen.rows if row["method"] != "dense"]
    named = by.labels(pruned)
    cells = []
    for (*problem, _), members in selection.grouped(pruned, lambda r: _place(r, by)).items():
        dense = by.beside(chosen.rows, members)
        beside = tuple(
            _point(label, replace(_DENSE, colour=axes.dense_look(n).colour), same, chosen, options)
            for n, (label, same) in enumerate(series.dense_recipes(dense))
        )
        looks = axes.looks([*selection.grouped(members, split.curve)], named, by)
        for density in wanted:
            here = [row for row in members if row["requested_density"] == density]
            points = tuple(
                _point(
                    by.curve_name(named[key][0], ablation),
                    looks[key, ablation],
                    rows,
                    chosen,
                    options,
                )
                for (key, ablation), rows in selection.grouped(here, split.curve).items()
            )
            if points:
                part = by.part(members[0])
                cells.append(Cell(density, style.problem(*problem), part, (*beside, *points)))
    return tuple(cells)


def _place(row: Row, by: split.Split) -> tuple[Any, ...]:
    return row["network"], row["dataset"], by.place(row)


def _labels(rows: Iterable[Row], wanted: Sequence[float], by: split.Split) -> set[str]:
    """Return the names of all wanted curves, with or without a cost."""
    pruned = [row for row in rows if row["method"] != "dense"]
    named = by.labels(pruned)
    return {
        by.curve_name(named[selection.setting(row)][0], row["ablation"])
        for row in pruned
        if row["requested_density"] in wanted
    }


def _absent(cells: Sequence[Cell], everything: set[str], by: split.Split) -> str:
    if by.each_explains:
        return ""
    several = len({cell.problem for cell in cells}) > 1
    shown = {_named(cell, several=several): {p.label for p in cell.points} for cell in cells}
    return split.absent(shown, sorted(everything))


def _point(
    label: str, look: Look, rows: Sequence[Row], chosen: selection.Selection, options: CostOptions
) -> Point:
    costs = [row[options.unit] for row in rows]
    shown = series.summarised(rows, chosen.metric, options.spread)
    return Point(label, look, sum(costs) / len(costs), shown)


def _draw_cell(ax: Axes, points: Iterable[Point]) -> None:
    for same in _alike(points):
        apart = min(_APART, _MOST_APART / max(len(same) - 1, 1))
        for number, point in enumerate(same):
            axes.spot(
                ax, point.cost, point.shown, point.look, apart * (number - (len(same) - 1) / 2)
            )
    ax.set_xscale("log")
    ax.margins(y=0.1)
    ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))


def _scale(panels: Sequence[Axes], cells: Sequence[Cell]) -> None:
    """Set the same log axis for all panels, with room at both ends for shifted marks."""
    costs = [point.cost for cell in cells for point in cell.points]
    ratio = max(costs) / min(costs)
    most = max(len(same) for cell in cells for same in _alike(cell.points))
    room = ratio ** (0.12 if most <= _FEW else 0.2) if ratio >= _FAR else _ROOM
    inner = (1, 2, 5) if ratio * room**2 < 40 else (1,)
    for ax in panels:
        ax.set_xlim(min(costs) / room, max(costs) * room)
        ax.xaxis.set_major_locator(LogLocator(10, inner, numticks=6))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(_tick))


def _alike(points: Iterable[Point]) -> list[list[Point]]:
    """Group points of nearly equal cost, in the order of cost."""
    groups: list[list[Point]] = []
    for point in sorted(points, key=lambda point: point.cost):
        if groups and point.cost <= _EQUAL * groups[-1][0].cost:
            groups[-1].append(point)
        else:
            groups.append([point])
    return groups


def _tick(cost: float, _: int) -> str:
    return _ENGINEERS(cost) if cost >= 1000 else f"{cost:g}"
