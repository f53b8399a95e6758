"""Figure of accuracy or loss during training: a panel a method, a curve a density."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis import style
from analysis.database.rows import Row
from analysis.figures import axes
from analysis.figures.facts import BaseFacts, base_fields
from analysis.selection import selection, split
from analysis.selection.options import LearningOptions
from analysis.stats import Spread, Summary, summary
from tombola.errors import FigureError

_EVALS = """
SELECT run_key, step, accuracy, loss FROM evals
WHERE split = $split AND run_key IN
    (SELECT unnest([run_key, dense_key]) FROM trials WHERE sweep = $sweep)
ORDER BY run_key, step
"""
SQL = f"{selection.SQL}; {_EVALS}"

_MOST = 6
_SPLITS = {"test": "Test", "train": "Training", "val": "Validation"}
_UNITS = {"accuracy": (100.0, "accuracy (%)", (0.0, 100.0)), "loss": (1.0, "loss (nats)", None)}

Evals = dict[str, dict[int, float]]
"""Value by run and step."""


@dataclass(frozen=True)
class Point:
    """Mean of replicates after `x` iterations, in the shown unit."""

    x: float
    shown: Summary


@dataclass(frozen=True)
class Curve:
    """Training at one density; None is the dense network."""

    density: float | None
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Cell:
    """One method on one network and dataset, densest first; the dense network is the first."""

    label: str
    problem: str
    curves: tuple[Curve, ...]


@dataclass(frozen=True, kw_only=True)
class Facts(BaseFacts):
    """Facts of the figure: cells by method, in the sweep's order, and all densities."""

    cells: tuple[Cell, ...]
    densities: tuple[float, ...]
    label: str


def select(connection: duckdb.DuckDBPyConnection, sweep: str, options: LearningOptions) -> Facts:
    """Select means over replicates at every evaluated step.

    Raises
    ------
    FigureError
        When no trial that matches the options was trained and evaluated on the split.
    """
    chosen = selection.choose(connection, sweep, options)
    scale, unit, _ = _UNITS[options.quantity]
    evals = _evals(connection, sweep, options, scale)
    pruned = [row for row in chosen.rows if row["method"] != "dense" and row["run_key"] in evals]
    if not pruned:
        raise FigureError(
            f"sweep {sweep} has no {options.split} curve to show: it takes trials that are "
            f"trained and `eval:` with {options.split}"
        )
    most = len(options.trials) or _MOST
    wanted = selection.spaced((r["requested_density"] for r in pruned), options.densities, most)
    shown = [row for row in pruned if row["requested_density"] in wanted]
    cells = _cells(shown, evals, options)
    split.check(sweep, chosen.rows, len(cells))
    counts = {p.shown.n for cell in cells for curve in cell.curves for p in curve.points}
    return Facts(
        cells=cells,
        densities=wanted,
        label=f"{_SPLITS[options.split]} {unit}",
        **base_fields(chosen, counts, options),
    )


def draw(facts: Facts) -> Figure:
    """Draw small panels on shared axes: sparser is lighter, dense is black."""
    looks = _looks(facts.densities)
    frame = axes.Frame(
        facts.width,
        facts.title,
        facts.note,
        [axes.handle(look) for look in looks.values()],
        "Weights remaining",
    )
    grid = axes.Grid(
        tuple(dict.fromkeys(cell.label for cell in facts.cells)),
        tuple(dict.fromkeys(cell.problem for cell in facts.cells)),
        facts.width,
    )
    joint: dict[str, Any] = {"sharex": "col", "sharey": True}
    figure, body, lines = axes.sheet(grid.shape, grid.panel_height, frame, **joint)
    placed = {}
    for cell in facts.cells:
        line, column = grid.place(cell.label, cell.problem)
        ax = lines[line][column]
        for curve in cell.curves:
            axes.curve(ax, curve.points, looks[curve.density], linewidth=1.0)
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
        ax.yaxis.set_major_locator(MaxNLocator(grid.ticks, steps=[1, 2, 2.5, 5, 10]))
        placed[line, column] = cell.label
    grid.finish(lines, placed)
    body.supxlabel("Training iteration", fontsize=9)
    body.supylabel(facts.label, fontsize=9)
    return figure


# ---------------------------------------------------------------- details


def _evals(
    connection: duckdb.DuckDBPyConnection, sweep: str, options: LearningOptions, scale: float
) -> Evals:
    evals: Evals = {}
    rows = connection.execute(_EVALS, {"sweep": sweep, "split": options.split}).fetchall()
    for run, step, accuracy, loss in rows:
        value = accuracy if options.quantity == "accuracy" else loss
        if value is not None:
            evals.setdefault(run, {})[step] = scale * value
    return evals


def _cells(rows: Sequence[Row], evals: Evals, options: LearningOptions) -> tuple[Cell, ...]:
    named = selection.labels(rows)
    bounds = _UNITS[options.quantity][2] or (0.0, float("inf"))
    cells = []
    groups = selection.grouped(
        rows, lambda r: (selection.setting(r), r["ablation"], r["network"], r["dataset"])
    )
    for (key, ablation, network, dataset), members in groups.items():
        by_density = selection.grouped(members, lambda row: row["requested_density"])
        runs = {d: {row["run_key"] for row in by_density[d]} for d in sorted(by_density)[::-1]}
        dense = {row["dense_key"] for row in members} & set(evals)
        curves = [Curve(None, _points(dense, evals, options.spread, bounds))] if dense else []
        curves += [
            Curve(d, _points(keys, evals, options.spread, bounds)) for d, keys in runs.items()
        ]
        label = style.ablated(named[key][0], ablation)
        cells.append(Cell(label, style.problem(network, dataset), tuple(curves)))
    return tuple(cells)


def _points(
    runs: Iterable[str], evals: Evals, spread: Spread, bounds: tuple[float, float]
) -> tuple[Point, ...]:
    values: dict[int, list[float]] = {}
    for run in sorted(runs):
        for step, value in evals[run].items():
            values.setdefault(step, []).append(value)
    return tuple(Point(step, summary(values[step], spread, bounds)) for step in sorted(values))


def _looks(densities: Sequence[float]) -> dict[float | None, style.Look]:
    colours = style.sequence(len(densities))
    return {
        None: style.Look("#000000", "", "100 % (dense)"),
        **{
            density: style.Look(colour, "", f"{style.percent(density)} %")
            for density, colour in zip(densities, colours, strict=True)
        },
    }
