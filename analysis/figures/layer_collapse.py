"""How far each method prunes before a whole layer is gone (Tanaka et al. 2020, figure 1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

import duckdb
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.errors import FigureError
from analysis.figures import axes as marks
from analysis.figures import selection
from analysis.figures.options import UnablatedOptions
from analysis.figures.selection import Row

SQL = f"""
SELECT {", ".join(f"t.{name}" for name in selection.COLUMNS)},
       count(l.kept) AS layers, min(l.kept) AS smallest, sum(l.size) AS size
FROM trials t LEFT JOIN layers l ON l.mask_key = t.mask_key
WHERE t.sweep = $sweep GROUP BY ALL ORDER BY t.trial
"""


@dataclass(frozen=True)
class Limit:
    """One replicate's largest compression that leaves every layer a weight.

    None where the least that was asked for collapses already; `open` where the most that
    was asked for does not.
    """

    replicate: int
    compression: float | None
    open: bool


@dataclass(frozen=True)
class Method:
    """A method's limits, by replicate."""

    label: str
    method: str
    limits: tuple[Limit, ...]


@dataclass(frozen=True)
class Panel:
    """Methods on one network; `most` is N / L, one weight for each of L layers."""

    problem: str
    methods: tuple[Method, ...]
    most: float


@dataclass(frozen=True)
class Facts:
    """What is drawn: a panel for each network and dataset."""

    panels: tuple[Panel, ...]
    runs: tuple[str, ...]
    note: str
    width: float
    title: str | None = None


def select(connection: duckdb.DuckDBPyConnection, sweep: str, options: UnablatedOptions) -> Facts:
    """Limits on the grid of densities that the sweep asks for.

    Raises
    ------
    FigureError
        When no mask that the options let pass is done.
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
                for key, members in selection.grouped(of, selection.setting).items()
            ),
            most=max(row["size"] / row["layers"] for row in of),
        )
        for problem, of in problems.items()
    )
    counts = {len(one.limits) for panel in panels for one in panel.methods}
    replicates = " or ".join(map(str, sorted(counts)))
    return Facts(
        panels=panels,
        runs=chosen.runs,
        note=f"Largest compression asked for at which every layer keeps a weight, a mark for "
        f"each of {replicates} replicate{'s' * (counts != {1})}. Dashed: one weight for each layer."
        + " ▷: or more." * any(x.open for p in panels for m in p.methods for x in m.limits)
        + _missing(chosen),
        width=style.WIDTHS[options.width],
        title=options.title,
    )


def draw(facts: Facts) -> Figure:
    """Methods in lines, the best at the top; a mark for each replicate."""
    most = max(len(panel.methods) for panel in facts.panels)
    frame = marks.Frame(facts.width, facts.title, facts.note, [])
    shape = (1, len(facts.panels))
    figure, body, [lines] = marks.sheet(shape, 0.55 + 0.3 * most, frame)
    for ax, panel in zip(lines, facts.panels, strict=True):
        _draw_panel(ax, panel)
        ax.set_title(panel.problem, fontsize=9.5)
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


def _missing(chosen: selection.Selection) -> str:
    left = chosen.asked - chosen.done
    return f" {chosen.done:,} of {chosen.asked:,} masks so far." if left else ""


def _middle(method: Method) -> float:
    found = sorted(limit.compression or 1.0 for limit in method.limits)
    return found[len(found) // 2]


def _draw_panel(ax: Axes, panel: Panel) -> None:
    ordered = sorted(panel.methods, key=_middle)
    for line, method in enumerate(ordered):
        _draw_method(ax, line, method)
    ax.axvline(panel.most, color=style.GREY, linestyle="--", linewidth=0.9)
    ax.set_xscale("log")
    ax.set_ylim(-0.6, len(ordered) - 0.4)
    ax.set_yticks(range(len(ordered)), [method.label for method in ordered])
    found = [x.compression for m in ordered for x in m.limits if x.compression]
    low, high = floor(log10(min(found, default=1.0))), ceil(log10(max(panel.most, *found, 10.0)))
    ax.set_xlim(10.0**low, 10.0**high * 1.3)
    ax.set_xticks([10.0**n for n in range(low, high + 1)])
    ax.grid(visible=True, axis="x", linewidth=0.4, alpha=0.5)
    ax.minorticks_off()


def _draw_method(ax: Axes, line: int, method: Method) -> None:
    look = style.look(method.method)
    found = [(x.compression, x.open) for x in method.limits if x.compression is not None]
    offsets = _offsets([compression for compression, _ in found])
    for (compression, is_open), offset in zip(found, offsets, strict=True):
        marker = ">" if is_open else look.marker
        ax.plot(
            compression,
            line + offset,
            marker=marker,
            color=look.colour,
            markersize=5,
            markerfacecolor=look.colour if look.filled else "white",
        )


def _offsets(values: Sequence[float]) -> list[float]:
    """Marks at one place are drawn above one another."""
    seen: dict[float, int] = {}
    offsets = []
    for value in values:
        same, number = values.count(value), seen.get(value, 0)
        offsets.append(0.22 * (number - (same - 1) / 2))
        seen[value] = number + 1
    return offsets
