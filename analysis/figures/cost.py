"""Accuracy against all that it took to get there, the search for the mask included."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import duckdb
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from analysis import style
from analysis.errors import FigureError
from analysis.figures import axes as marks
from analysis.figures import facts as shared
from analysis.figures import selection, series
from analysis.figures.options import CostOptions
from analysis.figures.selection import Row
from analysis.stats import Summary
from analysis.style import Look

SQL = f"""
SELECT {", ".join(f"t.{name}" for name in selection.COLUMNS)}, c.iterations, c.seconds, c.devices
FROM trials t LEFT JOIN (
    SELECT trial, sum(iterations) AS iterations, sum(b.seconds ORDER BY key) AS seconds,
           list_sort(list(DISTINCT device)) AS devices
    FROM stands_on($sweep) b JOIN tasks USING (key) GROUP BY trial) c USING (trial)
WHERE t.sweep = $sweep ORDER BY t.trial
"""

_MOST = 3
_EQUAL, _APART = 1.04, 1.8
"""Costs within that factor are drawn side by side, so many points apart."""

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
    """A method's replicates at one density: their mean cost, and the metric in its unit."""

    label: str
    look: Look
    cost: float
    shown: Summary


@dataclass(frozen=True)
class Cell:
    """Methods at one density of one network and dataset, beside its dense networks."""

    density: float
    problem: str
    points: tuple[Point, ...]


@dataclass(frozen=True, kw_only=True)
class Facts(shared.Facts):
    """What is drawn: cells by density, densest first; `unit` is what cost is told in."""

    cells: tuple[Cell, ...]
    densities: tuple[float, ...]
    metric: str
    unit: str


def select(connection: duckdb.DuckDBPyConnection, sweep: str, options: CostOptions) -> Facts:
    """Mean cost and metric at the densities nearest to those asked for, or three spread out.

    A trial costs what it would take alone: its own training and every run that its mask and its
    weights stand on, up to the step they are taken from.

    Raises
    ------
    FigureError
        When no trial that the options let pass was trained.
    """
    chosen = selection.choose(connection, sweep, options, SQL)
    rows = [row for row in chosen.rows if row[options.unit] and row["shown"] is not None]
    pruned = [row for row in rows if row["method"] != "dense"]
    if not pruned:
        raise FigureError(f"sweep {sweep} has no cost to show: it takes trials that are trained")
    there_are = (row["requested_density"] for row in pruned)
    wanted = selection.spaced(there_are, options.densities, _MOST)
    chosen = replace(chosen, rows=tuple(rows))
    cells = _cells(chosen, wanted, options)
    counts = {point.shown.n for cell in cells for point in cell.points}
    common = shared.common(chosen, counts, options)
    return Facts(
        cells=cells,
        densities=wanted,
        metric=chosen.metric.label,
        unit=_unit(rows, options.unit),
        **common | {"note": common["note"] + _WHAT[options.unit]},
    )


def draw(facts: Facts) -> Figure:
    """A panel for each density; cost to the right, on a log axis shared by all."""
    looks = {point.label: point.look for cell in facts.cells for point in cell.points}
    handles = [marks.handle(replace(look, line=""), label) for label, look in looks.items()]
    frame = marks.Frame(facts.width, facts.title, facts.note, handles)
    names = {density: f"{style.percent(density)} % of weights" for density in facts.densities}
    problems = tuple(dict.fromkeys(cell.problem for cell in facts.cells))
    grid = marks.Grid(tuple(names.values()), problems, facts.width)
    figure, body, lines = marks.sheet(grid.shape, grid.panel_height, frame, sharex=True)
    placed = {}
    for cell in facts.cells:
        line, column = grid.place(names[cell.density], cell.problem)
        _draw_cell(lines[line][column], cell.points)
        placed[line, column] = names[cell.density]
    grid.finish(lines, placed)
    for ax in body.axes:
        ax.tick_params(labelleft=True)  # each has a scale of its own
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


def _cells(
    chosen: selection.Selection, wanted: Sequence[float], options: CostOptions
) -> tuple[Cell, ...]:
    named = selection.labels(chosen.rows)
    problems = selection.grouped(chosen.rows, lambda row: (row["network"], row["dataset"]))
    cells = []
    for problem, members in problems.items():
        dense = [row for row in members if row["method"] == "dense"]
        beside = tuple(
            _point(label, replace(_DENSE, colour=marks.dense_look(n).colour), same, chosen, options)
            for n, (label, same) in enumerate(series.dense_recipes(dense))
        )
        for density in wanted:
            here = [
                row
                for row in members
                if row["method"] != "dense" and row["requested_density"] == density
            ]
            curves = selection.grouped(here, lambda r: (selection.setting(r), r["ablation"]))
            points = tuple(
                _point(
                    style.ablated(named[key][0], ablation),
                    marks.look(key[0], named[key][1], ablation),
                    rows,
                    chosen,
                    options,
                )
                for (key, ablation), rows in curves.items()
            )
            if points:
                cells.append(Cell(density, style.problem(*problem), (*beside, *points)))
    return tuple(cells)


def _point(
    label: str, look: Look, rows: Sequence[Row], chosen: selection.Selection, options: CostOptions
) -> Point:
    costs = [row[options.unit] for row in rows]
    shown = series.summarised(rows, chosen.metric, options.spread)
    return Point(label, look, sum(costs) / len(costs), shown)


def _draw_cell(ax: Axes, points: Iterable[Point]) -> None:
    for same in _alike(points):
        for number, point in enumerate(same):
            beside = _APART * (number - (len(same) - 1) / 2)
            marks.spot(ax, point.cost, point.shown, point.look, beside)
    ax.set_xscale("log")
    ax.margins(x=0.12, y=0.1)
    ax.xaxis.set_major_locator(LogLocator(10, (1, 2, 5) if _span(ax) < 40 else (1,), numticks=6))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(_said))
    ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))


def _alike(points: Iterable[Point]) -> list[list[Point]]:
    """Points by cost, those together that could not be told apart on paper."""
    found: list[list[Point]] = []
    for point in sorted(points, key=lambda point: point.cost):
        if found and point.cost <= _EQUAL * found[-1][0].cost:
            found[-1].append(point)
        else:
            found.append([point])
    return found


def _said(cost: float, _: int) -> str:
    return _ENGINEERS(cost) if cost >= 1000 else f"{cost:g}"


def _span(ax: Axes) -> float:
    low, high = ax.get_xlim()
    return high / low
