"""Figure of the density of every layer, at a few densities of the whole network."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10

import duckdb
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.database.rows import Row
from analysis.figures import axes
from analysis.figures.facts import BaseFacts, base_fields
from analysis.selection import selection, split
from analysis.selection.options import LayerOptions
from analysis.selection.selection import Setting
from analysis.stats import Spread, Summary, summary
from analysis.style import Look

SQL = f"""
SELECT {", ".join(f"t.{name}" for name in selection.COLUMNS)},
       l.position, l.layer, l.kept, l.density AS layer_density
FROM trials t LEFT JOIN layers l ON l.mask_key = t.mask_key
WHERE t.sweep = $sweep
ORDER BY t.trial, l.position
"""

_SHOWN = 3
_NEUTRAL = "#777777"
_BELOW = 4.0


@dataclass(frozen=True)
class Layer:
    """Density of a layer in per cent; `collapsed` counts replicates without a weight in it."""

    name: str
    density: Summary
    collapsed: int


@dataclass(frozen=True)
class Profile:
    """Layers in order from the input, at one density of the whole network."""

    density: float
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Cell:
    """One method on one problem: a profile for each total density, densest first."""

    label: str
    method: str
    problem: str
    profiles: tuple[Profile, ...]


@dataclass(frozen=True, kw_only=True)
class Facts(BaseFacts):
    """Facts of the figure: cells by method, in the sweep's order, and the total densities."""

    cells: tuple[Cell, ...]
    densities: tuple[float, ...]


def select(connection: duckdb.DuckDBPyConnection, sweep: str, options: LayerOptions) -> Facts:
    """Select profiles at the densities of the options, or at three evenly spaced.

    Raises
    ------
    FigureError
        When no finished trial matches the options.
    """
    chosen = selection.choose(connection, sweep, options, SQL)
    rows = [row for row in chosen.rows if row["position"] is not None]
    densities = {row["requested_density"] for row in rows}
    wanted = selection.spaced(densities, options.densities, _SHOWN)
    shown = [row for row in rows if row["requested_density"] in wanted]
    named = selection.labels(rows)
    groups = selection.grouped(
        shown, lambda r: (selection.setting(r), r["ablation"], r["network"], r["dataset"])
    )
    cells = tuple(_cell(members, named, options.spread) for members in groups.values())
    split.check(sweep, chosen.rows, len(cells))
    counts = {x.density.n for cell in cells for p in cell.profiles for x in p.layers}
    remarks = " ×: a layer that keeps no weight in some replicate." * _any_collapsed(cells)
    return Facts(cells=cells, densities=wanted, **base_fields(chosen, counts, options, remarks))


def draw(facts: Facts) -> Figure:
    """Draw small panels on shared axes; a darker line is a denser network."""
    handles = [
        axes.handle(_shade(_NEUTRAL, n), f"{style.percent(density)}%")
        for n, density in enumerate(facts.densities)
    ]
    legend_title = "In the whole network"
    frame = axes.Frame(facts.width, facts.title, facts.note, handles, legend_title)
    grid = axes.Grid(
        tuple(dict.fromkeys(cell.label for cell in facts.cells)),
        tuple(dict.fromkeys(cell.problem for cell in facts.cells)),
        facts.width,
    )
    shared = {"sharex": "col", "sharey": True}
    figure, body, lines = axes.sheet(grid.shape, grid.panel_height, frame, **shared)
    lowest = _lowest(facts.cells)
    shown = {}
    for cell in facts.cells:
        line, column = grid.place(cell.label, cell.problem)
        _draw_cell(lines[line][column], cell, facts.densities, lowest / _BELOW)
        shown[line, column] = cell.label
    collapsed = _any_collapsed(facts.cells)
    _scale(lines[0][0], lowest, collapsed=collapsed, every=1 if grid.panel_height >= 1 else 2)
    grid.finish(lines, shown)
    body.supxlabel("Layer, from the input", fontsize=9)
    body.supylabel("Weights remaining (%)", fontsize=9)
    return figure


# ---------------------------------------------------------------- details


def _cell(rows: Sequence[Row], named: dict[Setting, tuple[str, int]], spread: Spread) -> Cell:
    first = rows[0]
    label, _ = named[selection.setting(first)]
    if first["ablation"] != "none":
        label += f", {style.look_of_ablation(first['ablation']).label.lower()}"
    by_density = selection.grouped(rows, lambda row: row["requested_density"])
    return Cell(
        label=label,
        method=first["method"],
        problem=style.problem(first["network"], first["dataset"]),
        profiles=tuple(
            Profile(density, _layers(by_density[density], spread))
            for density in sorted(by_density, reverse=True)
        ),
    )


def _layers(rows: Sequence[Row], spread: Spread) -> tuple[Layer, ...]:
    by_position = selection.grouped(rows, lambda row: row["position"])
    layers = []
    for position in sorted(by_position):
        masks = {row["mask_key"]: row for row in by_position[position]}.values()
        layers.append(
            Layer(
                name=next(iter(masks))["layer"],
                density=summary([100 * row["layer_density"] for row in masks], spread),
                collapsed=sum(row["kept"] == 0 for row in masks),
            )
        )
    return tuple(layers)


def _any_collapsed(cells: Sequence[Cell]) -> bool:
    return any(layer.collapsed for cell in cells for p in cell.profiles for layer in p.layers)


def _lowest(cells: Sequence[Cell]) -> float:
    """Return the least density above 0, in per cent."""
    shown = [x.density.centre for cell in cells for p in cell.profiles for x in p.layers]
    return min((density for density in shown if density > 0), default=1.0)


def _draw_cell(ax: Axes, cell: Cell, densities: Sequence[float], zero: float) -> None:
    for profile in cell.profiles:
        look = _shade(style.look(cell.method).colour, densities.index(profile.density))
        _draw_profile(ax, profile.layers, look, zero)
    count = max(len(profile.layers) for profile in cell.profiles)
    step = next((step for step in (1, 2, 5, 10, 20, 50) if count <= 6 * step), 100)
    ax.set_xticks(range(1, count + 1, step) if step < 5 else [1, *range(step, count + 1, step)])
    ax.set_xlim(0.4, count + 0.6)


def _draw_profile(ax: Axes, layers: Sequence[Layer], look: Look, zero: float) -> None:
    """Draw a line through the layers with weights, and a cross at 0 for collapsed layers."""
    positions = range(1, len(layers) + 1)
    means = [layer.density.centre or float("nan") for layer in layers]
    size = 3.0 if len(layers) <= 12 else 1.8
    ax.plot(positions, means, color=look.colour, marker="o", markersize=size)
    bands = [layer.density for layer in layers]
    lows = [max(b.centre if b.low is None else b.low, zero) for b in bands]
    highs = [b.centre if b.high is None else b.high for b in bands]
    kept = [b.centre > 0 for b in bands]
    ax.fill_between(positions, lows, highs, where=kept, color=look.colour, alpha=0.18, linewidth=0)
    empty = [n for n, layer in zip(positions, layers, strict=True) if layer.collapsed]
    ax.plot(empty, [zero] * len(empty), color=look.colour, marker="x", linestyle="none")


def _scale(ax: Axes, lowest: float, *, collapsed: bool, every: int) -> None:
    """Set a log axis with ticks at powers of ten, and at 0 if a layer collapsed."""
    tens = [10.0**n for n in range(floor(log10(lowest)), 3) if 10.0**n >= lowest / 1.7]
    zero = lowest / _BELOW
    ax.set_yscale("log")
    ax.set_ylim(zero / 1.7 if collapsed else lowest / 1.7, 160)
    tens = tens[::-1][::every][::-1]
    labels = [f"{ten:g}" for ten in tens]
    ax.set_yticks([*([zero] if collapsed else []), *tens], [*(["0"] if collapsed else []), *labels])
    ax.set_yticks([], minor=True)


def _shade(colour: str, number: int) -> Look:
    shade = (-0.4, 0.0, 0.45, 0.7)[min(number, 3)]
    return Look(style.lighter(colour, shade), "o", "", filled=True)
