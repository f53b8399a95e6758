"""Figure of the share of weights that two masks both keep, and of that share by chance."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import ceil
from statistics import mean
from typing import Any, TypeAlias

import duckdb
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis import style
from analysis.database.rows import Row
from analysis.figures import axes
from analysis.figures.facts import BaseFacts, base_fields
from analysis.selection import selection, split
from analysis.selection.options import OverlapOptions
from tombola.errors import FigureError

_OVERLAPS = """
SELECT a, b, jaccard, chance
FROM (SELECT unnest($pairs, recursive := true)) pair, overlap(pair.a, pair.b)
WHERE layer IS NULL AND jaccard IS NOT NULL ORDER BY a, b
"""
SQL = f"{selection.SQL}; {_OVERLAPS}"

_WRITTEN = 12
"""Most columns with numbers in cells; wider matrices have a colour scale."""
_FEW = 7
_READABLE = 0.2
_PAGE, _LEAST_LINE = 8.0, 0.13
"""Inches: most height of all lines, and least height of a line with numbers."""
_LOW = 40
"""Most lines with two numbers above one another in a cell."""
_MOST_PANELS = 24
_MOST, _LEVELS = 2, 7
"""Densities by default: with a panel each, or with a line each."""

Pair: TypeAlias = tuple[str, str]
Place: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Overlap:
    """Means over `n` pairs: weights that both masks keep, per cent of those that either keeps."""

    jaccard: float
    chance: float
    n: int


@dataclass(frozen=True)
class Panel:
    """Matrix of overlaps by line and column."""

    title: str
    lines: tuple[str, ...]
    columns: tuple[str, ...]
    cells: dict[Place, Overlap]


@dataclass(frozen=True, kw_only=True)
class Facts(BaseFacts):
    """Facts of the figure."""

    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class _Pairs:
    """A panel before its masks are compared; `title` is the problem and the rest of the title."""

    title: tuple[str, str]
    lines: tuple[str, ...]
    columns: tuple[str, ...]
    pairs: dict[Place, list[Pair]]


def select(connection: duckdb.DuckDBPyConnection, sweep: str, options: OverlapOptions) -> Facts:
    """Select mean overlaps of pairs of masks of one network.

    A pair across methods has the same density and replicate. A pair across densities has the same
    method and replicate. A pair across replicates has the same method and density.

    Raises
    ------
    FigureError
        When there are no two masks to compare.
    """
    chosen = selection.choose(connection, sweep, options)
    rows = [row for row in chosen.rows if row["mask_key"] is not None]
    unmeasured = _ACROSS[options.across](rows, options)
    split.check(sweep, chosen.rows, len(unmeasured), _MOST_PANELS)
    panels = _measured(connection, unmeasured)
    if not panels:
        raise FigureError(
            f"sweep {sweep} has no two masks to compare across {options.across}: it takes several, "
            "and their files in the store"
        )
    counts = sorted({cell.n for panel in panels for cell in panel.cells.values()})
    numbers = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    where = "beside" if max(len(panel.lines) for panel in panels) > _LOW else "below"
    named = max(len(panel.columns) for panel in panels) <= _WRITTEN
    note = (
        "Weights that both masks keep, per cent of those that either keeps (Jaccard)"
        + (
            f"; {where} it, small, what two random masks with the same density in every layer "
            "share. ",
            ", lines and columns in one order. ",
        )[not named]
        + (f"Mean of {numbers} pairs of masks." if counts[-1] > 1 else "One pair of masks each.")
        + _lacking(unmeasured, panels)
    )
    if chosen.done < chosen.total:
        note += f" {chosen.done:,} of {chosen.total:,} trials done."
    return Facts(panels=panels, **base_fields(chosen, [1], options) | {"note": note})


def draw(facts: Facts) -> Figure:
    """Draw matrices; a darker cell shares more weights."""
    lines = max(len(panel.lines) for panel in facts.panels)
    columns = max(len(panel.columns) for panel in facts.panels)
    abreast = 1 if facts.width < 4 or columns > _FEW else 2 if columns > 5 else 3
    shape = axes.spread_out(len(facts.panels), abreast)
    size = _size_of_names(max(lines, columns))
    widest = 0.06 * max(len(name) for panel in facts.panels for name in panel.lines)
    across = (facts.width - widest) / shape[1]
    crowded = columns > _WRITTEN or across * 0.95 / columns < _READABLE
    if crowded:
        widest = max(axes.inches(name, size) for panel in facts.panels for name in panel.lines)
        across = (facts.width - widest - 0.7) / shape[1]
    label = 0.06 * max(len(name) for panel in facts.panels for name in panel.columns)
    below = 0.1 if crowded else min(label, 1.2 if columns <= _FEW else 2.2)
    least = 0.016 * size if crowded else _LEAST_LINE
    side = min(across * 0.95 / columns, 0.42)
    height = max(min(side, _PAGE / (lines * shape[0])), least)
    tall = height * lines + below + 0.3
    frame = axes.Frame(facts.width, facts.title, facts.note, [])
    same = len({panel.lines for panel in facts.panels}) == 1
    figure, body, spots = axes.sheet(shape, tall, frame, sharey=same)
    flat = [ax for line in spots for ax in line]
    for panel, ax in zip(facts.panels, flat, strict=False):
        _draw_panel(ax, panel, (across / columns, height), size, crowded=crowded)
        room = facts.width / shape[1]
        ax.set_title(axes.wrapped(panel.title, room - 0.3, 8.5, 0.05), fontsize=8.5, loc="left")
    for spare in flat[len(facts.panels) :]:
        spare.remove()
    if crowded:
        scale = ScalarMappable(Normalize(0, 100), _SHADES)
        bar = body.colorbar(scale, ax=flat[: len(facts.panels)], shrink=0.5, aspect=25)
        bar.set_label("Shared (%)", fontsize=8)
        bar.outline.set_visible(False)
    return figure


# ---------------------------------------------------------------- what is compared


def _methods(rows: Sequence[Row], options: OverlapOptions) -> list[_Pairs]:
    """Return a panel for each problem and density."""
    wanted = selection.spaced((r["requested_density"] for r in rows), options.densities, _MOST)
    unmeasured = []
    for problem, members in _problems(rows).items():
        for density in wanted:
            here = [row for row in members if row["requested_density"] == density]
            curves = _curves(here, rows)
            title = f"{style.percent(density)} % of weights"
            unmeasured.append(_square((problem, title), curves))
    return unmeasured


def _densities(rows: Sequence[Row], options: OverlapOptions) -> list[_Pairs]:
    """Return a panel for each problem and method."""
    wanted = selection.spaced((r["requested_density"] for r in rows), options.densities, _LEVELS)
    unmeasured = []
    for problem, members in _problems(rows).items():
        for label, curve in _curves(members, rows).items():
            by_density = selection.grouped(curve, lambda row: row["requested_density"])
            levels = {f"{style.percent(d)} %": by_density[d] for d in wanted if d in by_density}
            unmeasured.append(_square((problem, label), levels))
    return unmeasured


def _replicates(rows: Sequence[Row], options: OverlapOptions) -> list[_Pairs]:
    """Return a panel for each problem: methods by densities."""
    wanted = selection.spaced((r["requested_density"] for r in rows), options.densities, _LEVELS)
    unmeasured = []
    for problem, members in _problems(rows).items():
        curves = _curves(members, rows)
        pairs: dict[Place, list[Pair]] = {}
        for (line, curve), (column, density) in product(
            enumerate(curves.values()), enumerate(wanted)
        ):
            masks = {
                row["replicate"]: row["mask_key"]
                for row in curve
                if row["requested_density"] == density
            }
            pairs[line, column] = list(combinations(masks.values(), 2))
        names = tuple(f"{style.percent(density)} %" for density in wanted)
        unmeasured.append(_Pairs((problem, ""), tuple(curves), names, pairs))
    return unmeasured


_ACROSS: dict[str, Callable[[Sequence[Row], OverlapOptions], list[_Pairs]]] = {
    "methods": _methods,
    "densities": _densities,
    "replicates": _replicates,
}


def _problems(rows: Iterable[Row]) -> dict[str, list[Row]]:
    return selection.grouped(rows, lambda row: style.problem(row["network"], row["dataset"]))


def _curves(rows: Sequence[Row], named_by: Sequence[Row]) -> dict[str, list[Row]]:
    """Group rows by method, setting and ablation, in the sweep's order."""
    named = selection.labels(named_by)
    return selection.grouped(
        rows, lambda row: style.ablated(named[selection.setting(row)][0], row["ablation"])
    )


def _square(title: tuple[str, str], groups: dict[str, list[Row]]) -> _Pairs:
    """Return a panel that pairs each group with each earlier group, by replicate."""
    names, members = tuple(groups), list(groups.values())
    pairs: dict[Place, list[Pair]] = {}
    for column, line in combinations(range(len(names)), 2):
        masks = [{row["replicate"]: row["mask_key"] for row in members[n]} for n in (line, column)]
        both = sorted(masks[0].keys() & masks[1].keys())
        pairs[line - 1, column] = [(masks[0][n], masks[1][n]) for n in both]
    return _Pairs(title, names[1:], names[:-1], pairs)


def _measured(
    connection: duckdb.DuckDBPyConnection, unmeasured: Sequence[_Pairs]
) -> tuple[Panel, ...]:
    """Return panels with the overlaps of stored masks, without empty panels."""
    wanted = {pair for panel in unmeasured for pairs in panel.pairs.values() for pair in pairs}
    given = [{"a": a, "b": b} for a, b in sorted(wanted)]
    overlaps = {}
    if given:
        rows = connection.execute(_OVERLAPS, {"pairs": given}).fetchall()
        overlaps = {(a, b): (jaccard, chance) for a, b, jaccard, chance in rows}
    several = len({panel.title[0] for panel in unmeasured}) > 1
    panels = []
    for panel in unmeasured:
        title = _titled(panel, several=several)
        cells = {}
        for place, pairs in panel.pairs.items():
            if values := [overlaps[pair] for pair in pairs if pair in overlaps]:
                shares, chances = zip(*values, strict=True)
                cells[place] = Overlap(100 * mean(shares), 100 * mean(chances), len(values))
        if cells:
            panels.append(Panel(title, panel.lines, panel.columns, cells))
    return tuple(panels)


# ---------------------------------------------------------------- ink

_SHADES = LinearSegmentedColormap.from_list("shared", ["#F7FBFF", "#6BAED6", "#08306B"])


def _draw_panel(
    ax: Axes, panel: Panel, cell_size: tuple[float, float], size: float, *, crowded: bool
) -> None:
    """Draw a matrix; `cell_size` is width and height of a cell in inches."""
    side, line_height = cell_size
    for (line, column), cell in panel.cells.items():
        shade = _SHADES(cell.jaccard / 100)
        ax.add_patch(Rectangle((column - 0.5, line - 0.5), 1, 1, color=shade, linewidth=0))
        if not crowded:
            _write(ax, (line, column), cell, side, line_height)
    ax.set_xlim(-0.5, len(panel.columns) - 0.5)
    ax.set_ylim(len(panel.lines) - 0.5, -0.5)
    names = [f"{n}" for n in range(1, len(panel.columns) + 1)] if crowded else [*panel.columns]
    turned = 90 if max(map(len, names)) * 0.06 > side else 0
    every = max(1, ceil(0.11 / side)) if crowded else 1
    places = range(len(panel.columns))
    ax.set_xticks(places[::every], names[::every], rotation=turned, fontsize=size)
    first = 1 + (panel.lines[:-1] == panel.columns[1:])
    lines = [f"{n}  {x}" for n, x in enumerate(panel.lines, first)] if crowded else panel.lines
    ax.set_yticks(range(len(panel.lines)), lines, fontsize=size)
    ax.tick_params(length=0)
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _write(ax: Axes, place: Place, cell: Overlap, side: float, height: float) -> None:
    """Write the overlap above that by chance, or left of it if the line is low."""
    line, column = place
    size = min(7.5, 22 * min(side, 0.42))
    shared, chance = _number(cell.jaccard), _number(cell.chance)
    font: dict[str, Any] = {"color": "#FFFFFF" if cell.jaccard > 55 else "#222222"}
    if height < _READABLE:
        font |= {"va": "center"}
        ax.text(column, line, shared, ha="right", fontsize=min(size, 6.5), **font)
        ax.text(column + 0.06, line, chance, ha="left", fontsize=4.8, **font)
        return
    font |= {"ha": "center"}
    ax.text(column, line - 0.02, shared, va="bottom", fontsize=size, **font)
    ax.text(column, line + 0.08, chance, va="top", fontsize=0.7 * size, **font)


def _size_of_names(count: int) -> float:
    """Return the font size of names beside a matrix, in points."""
    return 7.5 if count <= _WRITTEN else 7.0 if count <= 30 else 5.5


def _lacking(unmeasured: Sequence[_Pairs], panels: Sequence[Panel]) -> str:
    """Return a sentence on the panels without two stored masks to compare; may be empty."""
    several = len({panel.title[0] for panel in unmeasured}) > 1
    titles = dict.fromkeys(
        _titled(panel, several=several).replace("\n", ", ") for panel in unmeasured
    )
    shown = {panel.title.replace("\n", ", ") for panel in panels}
    missing = [title for title in titles if title not in shown]
    return f" Without two masks to compare: {split.listed(missing)}." if missing else ""


def _titled(panel: _Pairs, *, several: bool) -> str:
    problem, rest = panel.title
    return "\n".join(part for part in (problem if several else "", rest) if part)


def _number(percent: float) -> str:
    return f"{percent:.0f}" if percent >= 9.95 else f"{percent:.1f}"
