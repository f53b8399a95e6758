"""Figure of the largest compression without layer collapse (Tanaka et al. 2020, figure 1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

import duckdb
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.database.rows import Row
from analysis.figures import axes
from analysis.figures.facts import BaseFacts
from analysis.selection import selection
from analysis.selection.options import UnablatedOptions
from tombola.errors import FigureError

SQL = f"""
SELECT {", ".join(f"t.{name}" for name in selection.COLUMNS)},
       count(l.kept) AS layers, min(l.kept) AS smallest, sum(l.size) AS size
FROM trials t LEFT JOIN layers l ON l.mask_key = t.mask_key
WHERE t.sweep = $sweep GROUP BY ALL ORDER BY t.trial
"""


_NEAR = 30
"""One weight a layer is marked if it is at most this factor beyond the data."""
_HEIGHT, _HEIGHT_OF_MANY, _MANY = 0.3, 0.15, 24
_MOST_NAME, _LEAST_PANEL = 0.45, 1.2
"""Largest share of the sheet for names, and least width of a panel in inches."""


@dataclass(frozen=True)
class Limit:
    """Largest compression of one replicate that keeps a weight in every layer.

    `compression` is None if even the least one collapses. `open` if even the largest one does not.
    """

    replicate: int
    compression: float | None
    open: bool


@dataclass(frozen=True)
class Method:
    """Limits of a method, by replicate."""

    label: str
    method: str
    limits: tuple[Limit, ...]


@dataclass(frozen=True)
class Panel:
    """Methods on one problem; `most` is N / L, the compression with one weight in each layer."""

    problem: str
    methods: tuple[Method, ...]
    most: float


@dataclass(frozen=True, kw_only=True)
class Facts(BaseFacts):
    """Facts of the figure: a panel for each network and dataset."""

    panels: tuple[Panel, ...]


def select(connection: duckdb.DuckDBPyConnection, sweep: str, options: UnablatedOptions) -> Facts:
    """Select the limits, on the sweep's grid of densities.

    Raises
    ------
    FigureError
        When no finished mask matches the options.
    """
    chosen = selection.choose(connection, sweep, options, SQL)
    rows = [row for row in chosen.rows if row["layers"]]
    if not rows:
        raise FigureError(f"nothing to draw: sweep {sweep} has no mask yet")
    named = selection.labels(rows)
    problems = selection.grouped(rows, lambda row: (row["network"], row["dataset"]))
    panels = tuple(
        Panel(
            problem=style.problem(*problem),
            methods=tuple(
                Method(named[key][0], members[0]["method"], _limits(members))
                for key, members in selection.grouped(group, selection.setting).items()
            ),
            most=max(row["size"] / row["layers"] for row in group),
        )
        for problem, group in problems.items()
    )
    counts = {len(method.limits) for panel in panels for method in panel.methods}
    replicates = " or ".join(map(str, sorted(counts)))
    return Facts(
        panels=panels,
        runs=chosen.runs,
        note=f"Largest compression asked for at which every layer keeps a weight, a mark for "
        f"each of {replicates} replicate{'s' * (counts != {1})}."
        + _one_each(panels)
        + " ▷: or more." * any(x.open for p in panels for m in p.methods for x in m.limits)
        + _missing(chosen),
        width=style.WIDTHS[options.width],
        title=options.title,
    )


def draw(facts: Facts) -> Figure:
    """Draw a line for each method, best at the top, with a mark for each replicate."""
    frame = axes.Frame(facts.width, facts.title, facts.note, [])
    labels = [method.label for panel in facts.panels for method in panel.methods]
    widest = min(max(map(axes.inches, labels)), _MOST_NAME * facts.width)
    side_by_side = facts.width / len(facts.panels) - widest >= _LEAST_PANEL
    shape = (1, len(facts.panels)) if side_by_side else (len(facts.panels), 1)
    heights = [0.55 + _height(panel, widest) * len(panel.methods) for panel in facts.panels]
    tall = max(heights) if side_by_side else sum(heights) / len(heights)
    ratios = {} if side_by_side else {"gridspec_kw": {"height_ratios": heights}}
    figure, body, lines = axes.sheet(shape, tall, frame, **ratios)
    panels = [ax for line in lines for ax in line]
    for ax, panel in zip(panels, facts.panels, strict=True):
        _draw_panel(ax, panel, widest)
        title = axes.wrapped(panel.problem, facts.width / shape[1] - 0.3, 9.5, 0.055)
        ax.set_title(title, fontsize=9.5)
    body.supxlabel("Compression (prunable weights / weights kept)", fontsize=9)
    return figure


# ---------------------------------------------------------------- details


def _limits(rows: Sequence[Row]) -> tuple[Limit, ...]:
    by_replicate = selection.grouped(rows, lambda row: row["replicate"])
    limits = []
    for replicate, members in sorted(by_replicate.items()):
        whole = [1 / row["requested_density"] for row in members if row["smallest"] > 0]
        most = max(1 / row["requested_density"] for row in members)
        limits.append(Limit(replicate, max(whole, default=None), most in whole))
    return tuple(limits)


def _one_each(panels: Sequence[Panel]) -> str:
    """Return a sentence on one weight for each layer: marked, or a number if far beyond."""
    far = {f"{p.most:,.0f}" for p in panels if p.most > _reach(p)[1]}
    dashed = " Dashed: one weight for each layer." * any(p.most <= _reach(p)[1] for p in panels)
    beyond = f" One weight for each layer would be {', '.join(sorted(far))} ×." if far else ""
    return dashed + beyond


def _missing(chosen: selection.Selection) -> str:
    left = chosen.total - chosen.done
    return f" {chosen.done:,} of {chosen.total:,} masks so far." if left else ""


def _middle(method: Method) -> float:
    compressions = sorted(limit.compression or 1.0 for limit in method.limits)
    return compressions[len(compressions) // 2]


def _draw_panel(ax: Axes, panel: Panel, widest: float) -> None:
    ordered = sorted(panel.methods, key=_middle)
    size = 8.0 if len(ordered) <= _MANY else 7.0
    for line, method in enumerate(ordered):
        _draw_method(ax, line, method, small=len(ordered) > _MANY)
    names = [_name(method, widest, size) for method in ordered]
    ax.set_yticks(range(len(ordered)), names, fontsize=size)
    ax.set_ylim(-0.6, len(ordered) - 0.4)
    ax.set_xscale("log")
    low, high = _reach(panel)
    if panel.most <= high:
        ax.axvline(panel.most, color=style.GREY, linestyle="--", linewidth=0.9)
    room = max(1.3, (high / low) ** 0.06)
    ax.set_xlim(low / room, high * room)
    tens = [10.0**n for n in range(floor(log10(low)), ceil(log10(high)) + 1)]
    ticks = tens if high / low >= 30 else [m * ten for ten in tens for m in (1, 2, 5)]
    inside = [tick for tick in ticks if low / room <= tick <= high * room]
    ax.set_xticks(inside, [f"{tick:,.0f}" if tick < 1e4 else f"{tick:.0e}" for tick in inside])
    ax.grid(visible=True, axis="x", linewidth=0.4, alpha=0.5)
    ax.minorticks_off()


def _name(method: Method, widest: float, size: float = 8.0) -> str:
    return axes.wrapped(method.label, widest + 0.02, size, 0.04)


def _height(panel: Panel, widest: float) -> float:
    """Return the height of a line in inches: less if there are many, more for a long name."""
    lines = max(_name(method, widest).count("\n") + 1 for method in panel.methods)
    return max(_HEIGHT if len(panel.methods) <= _MANY else _HEIGHT_OF_MANY, 0.13 * lines)


def _reach(panel: Panel) -> tuple[float, float]:
    """Return the ends of the axis: those of the data, and one weight a layer if near."""
    shown = [x.compression for m in panel.methods for x in m.limits if x.compression]
    low, high = min(shown, default=1.0), max(shown, default=10.0)
    return low, panel.most if panel.most <= _NEAR * high else high


def _draw_method(ax: Axes, line: int, method: Method, *, small: bool) -> None:
    look = style.look(method.method)
    marks = [(x.compression, x.open) for x in method.limits if x.compression is not None]
    offsets = _offsets([compression for compression, _ in marks])
    for (compression, is_open), offset in zip(marks, offsets, strict=True):
        marker = ">" if is_open else look.marker
        ax.plot(
            compression,
            line + offset,
            marker=marker,
            color=look.colour,
            markersize=3 if small else 5,
            markerfacecolor=look.colour if look.filled else "white",
        )


def _offsets(values: Sequence[float]) -> list[float]:
    """Return vertical offsets that separate marks of equal value."""
    seen: dict[float, int] = {}
    offsets = []
    for value in values:
        same, number = values.count(value), seen.get(value, 0)
        offsets.append(0.22 * (number - (same - 1) / 2))
        seen[value] = number + 1
    return offsets
