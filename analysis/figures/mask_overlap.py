"""How many weights masks share, across methods, densities or replicates, and by chance."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from statistics import mean
from typing import Any, TypeAlias

import duckdb
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis import style
from analysis.errors import FigureError
from analysis.figures import axes as marks
from analysis.figures import facts as shared
from analysis.figures import selection
from analysis.figures.options import OverlapOptions
from analysis.figures.selection import Row

_OVERLAPS = """
SELECT a, b, jaccard, chance
FROM (SELECT unnest($pairs, recursive := true)) pair, overlap(pair.a, pair.b)
WHERE layer IS NULL AND jaccard IS NOT NULL ORDER BY a, b
"""
SQL = f"{selection.SQL}; {_OVERLAPS}"

_MOST, _LEVELS = 2, 7
"""Densities shown unless others are asked for: a panel each, or a line each."""

Pair: TypeAlias = tuple[str, str]
Place: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Overlap:
    """Means over `n` pairs: weights that both keep, per cent of those that either keeps."""

    jaccard: float
    chance: float
    n: int


@dataclass(frozen=True)
class Panel:
    """Overlaps by line and column."""

    title: str
    lines: tuple[str, ...]
    columns: tuple[str, ...]
    cells: dict[Place, Overlap]


@dataclass(frozen=True, kw_only=True)
class Facts(shared.Facts):
    """What is drawn."""

    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class _Asked:
    """A panel before its masks are compared: network and dataset, and what else its title says."""

    of: tuple[str, str]
    lines: tuple[str, ...]
    columns: tuple[str, ...]
    pairs: dict[Place, list[Pair]]


def select(connection: duckdb.DuckDBPyConnection, sweep: str, options: OverlapOptions) -> Facts:
    """Means over pairs of masks of one network.

    Across methods: at one density and replicate. Across densities: of one method and replicate.
    Across replicates: of one method at one density.

    Raises
    ------
    FigureError
        When no two masks are left to compare.
    """
    chosen = selection.choose(connection, sweep, options)
    rows = [row for row in chosen.rows if row["mask_key"] is not None]
    asked = _ACROSS[options.across](rows, options)
    panels = _measured(connection, asked)
    if not panels:
        raise FigureError(
            f"sweep {sweep} has no two masks to compare across {options.across}: it takes several, "
            "and their files in the store"
        )
    common = shared.common(chosen, [1], options)
    counts = sorted({cell.n for panel in panels for cell in panel.cells.values()})
    of = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    note = (
        "Weights that both masks keep, per cent of those that either keeps (Jaccard); below it, "
        "small, what two random masks with the same density in every layer share. "
        + (f"Mean of {of} pairs of masks." if counts[-1] > 1 else "One pair of masks each.")
    )
    if chosen.done < chosen.asked:
        note += f" {chosen.done:,} of {chosen.asked:,} trials done."
    return Facts(panels=panels, **common | {"note": note})


def draw(facts: Facts) -> Figure:
    """Matrices, the darker the more is shared."""
    lines = max(len(panel.lines) for panel in facts.panels)
    columns = max(len(panel.columns) for panel in facts.panels)
    room = 1 if facts.width < 4 else 2 if columns > 5 else 3
    shape = marks.spread_out(len(facts.panels), room)
    label = 0.06 * max(len(name) for panel in facts.panels for name in panel.columns)
    across = (facts.width - 0.06 * max(len(x) for p in facts.panels for x in p.lines)) / shape[1]
    tall = min(across * 0.95 / columns, 0.42) * lines + min(label, 1.2) + 0.3
    frame = marks.Frame(facts.width, facts.title, facts.note, [])
    same = len({panel.lines for panel in facts.panels}) == 1
    figure, _, spots = marks.sheet(shape, tall, frame, sharey=same)
    flat = [ax for line in spots for ax in line]
    for panel, ax in zip(facts.panels, flat, strict=False):
        _draw_panel(ax, panel, across / columns)
    for spare in flat[len(facts.panels) :]:
        spare.remove()
    return figure


# ---------------------------------------------------------------- what is compared


def _methods(rows: Sequence[Row], options: OverlapOptions) -> list[_Asked]:
    """A panel for each problem and density."""
    wanted = selection.spaced((r["requested_density"] for r in rows), options.densities, _MOST)
    asked = []
    for problem, members in _problems(rows).items():
        for density in wanted:
            here = [row for row in members if row["requested_density"] == density]
            curves = _curves(here, rows)
            title = f"{style.percent(density)} % of weights"
            asked.append(_square((problem, title), curves))
    return asked


def _densities(rows: Sequence[Row], options: OverlapOptions) -> list[_Asked]:
    """A panel for each problem and method."""
    wanted = selection.spaced((r["requested_density"] for r in rows), options.densities, _LEVELS)
    asked = []
    for problem, members in _problems(rows).items():
        for label, curve in _curves(members, rows).items():
            by_density = selection.grouped(curve, lambda row: row["requested_density"])
            levels = {f"{style.percent(d)} %": by_density[d] for d in wanted if d in by_density}
            asked.append(_square((problem, label), levels))
    return asked


def _replicates(rows: Sequence[Row], options: OverlapOptions) -> list[_Asked]:
    """A panel for each problem: methods by densities."""
    wanted = selection.spaced((r["requested_density"] for r in rows), options.densities, _LEVELS)
    asked = []
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
        asked.append(_Asked((problem, ""), tuple(curves), names, pairs))
    return asked


_ACROSS: dict[str, Callable[[Sequence[Row], OverlapOptions], list[_Asked]]] = {
    "methods": _methods,
    "densities": _densities,
    "replicates": _replicates,
}


def _problems(rows: Iterable[Row]) -> dict[str, list[Row]]:
    return selection.grouped(rows, lambda row: style.problem(row["network"], row["dataset"]))


def _curves(rows: Sequence[Row], named_by: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by their method, setting and ablation, in the sweep's order."""
    named = selection.labels(named_by)
    return selection.grouped(
        rows, lambda row: style.ablated(named[selection.setting(row)][0], row["ablation"])
    )


def _square(of: tuple[str, str], groups: dict[str, list[Row]]) -> _Asked:
    """Each group with each one before it, mask with mask of the same replicate."""
    names, members = tuple(groups), list(groups.values())
    pairs: dict[Place, list[Pair]] = {}
    for column, line in combinations(range(len(names)), 2):
        masks = [{row["replicate"]: row["mask_key"] for row in members[n]} for n in (line, column)]
        both = sorted(masks[0].keys() & masks[1].keys())
        pairs[line - 1, column] = [(masks[0][one], masks[1][one]) for one in both]
    return _Asked(of, names[1:], names[:-1], pairs)


def _measured(connection: duckdb.DuckDBPyConnection, asked: Sequence[_Asked]) -> tuple[Panel, ...]:
    """Panels with what the store's masks share; those without any are left out."""
    wanted = {pair for one in asked for pairs in one.pairs.values() for pair in pairs}
    given = [{"a": a, "b": b} for a, b in sorted(wanted)]
    found = {}
    if given:
        rows = connection.execute(_OVERLAPS, {"pairs": given}).fetchall()
        found = {(a, b): (jaccard, chance) for a, b, jaccard, chance in rows}
    several = len({one.of[0] for one in asked}) > 1
    panels = []
    for one in asked:
        title = "\n".join(part for part in one.of if part and (several or part != one.of[0]))
        cells = {}
        for place, pairs in one.pairs.items():
            if values := [found[pair] for pair in pairs if pair in found]:
                shares, chances = zip(*values, strict=True)
                cells[place] = Overlap(100 * mean(shares), 100 * mean(chances), len(values))
        if cells:
            panels.append(Panel(title, one.lines, one.columns, cells))
    return tuple(panels)


# ---------------------------------------------------------------- ink

_SHADES = LinearSegmentedColormap.from_list("shared", ["#F7FBFF", "#6BAED6", "#08306B"])


def _draw_panel(ax: Axes, panel: Panel, side: float) -> None:
    size = min(7.5, 22 * min(side, 0.42))
    for (line, column), cell in panel.cells.items():
        shade = _SHADES(cell.jaccard / 100)
        ax.add_patch(Rectangle((column - 0.5, line - 0.5), 1, 1, color=shade, linewidth=0))
        ink = "#FFFFFF" if cell.jaccard > 55 else "#222222"
        said: dict[str, Any] = {"ha": "center", "color": ink}
        ax.text(column, line - 0.02, _number(cell.jaccard), va="bottom", fontsize=size, **said)
        ax.text(column, line + 0.08, _number(cell.chance), va="top", fontsize=0.7 * size, **said)
    ax.set_xlim(-0.5, len(panel.columns) - 0.5)
    ax.set_ylim(len(panel.lines) - 0.5, -0.5)
    turned = 90 if max(map(len, panel.columns)) * 0.06 > side else 0
    ax.set_xticks(range(len(panel.columns)), panel.columns, rotation=turned, fontsize=7.5)
    ax.set_yticks(range(len(panel.lines)), panel.lines, fontsize=7.5)
    ax.tick_params(length=0)
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_title(panel.title, fontsize=8.5, loc="left")


def _number(percent: float) -> str:
    return f"{percent:.0f}" if percent >= 9.95 else f"{percent:.1f}"
