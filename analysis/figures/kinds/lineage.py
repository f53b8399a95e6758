"""Figure of the lineage of one ticket: the runs and masks of each level before it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt

import duckdb
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis import style
from analysis.figures import axes
from analysis.figures.facts import BaseFacts
from analysis.selection.options import LineageOptions
from tombola.errors import FigureError

_TICKET = """
SELECT trial, method, network, dataset, replicate, ablation, run_key, mask_key FROM trials
WHERE sweep = $sweep AND status = 'done' AND run_key IS NOT NULL AND mask_key IS NOT NULL
  AND coalesce(trial = $trial, method = 'imp' AND ablation = 'none')
ORDER BY grid, replicate, requested_density, trial LIMIT 1
"""
_CHAIN = """
WITH RECURSIVE chain AS (
    SELECT 0 AS back, $run AS run_key, $mask AS mask_key
    UNION ALL
    SELECT back + 1, scored.key, scored.value->>'$.mask'
    FROM chain JOIN tasks mask ON mask.key = chain.mask_key
    JOIN tasks scored ON scored.key = mask.value->>'$.of.run')
SELECT run_key, chain.mask_key, run.density,
       (SELECT arg_max(accuracy, step) FROM evals WHERE evals.run_key = chain.run_key
        AND split = 'test') AS accuracy,
       mask.value->>'$.within' AS within,
       run.value->>'$.start.run' AS start_run, (run.value->>'$.start.step')::INT AS start_step,
       run.value->>'$.start.seed' AS start_seed,
       (SELECT bool_and(kept_by_both(mask.key, mask.value->>'$.within', layer) = layers.kept)
        FROM layers WHERE layers.mask_key = mask.key) AS nested
FROM chain JOIN tasks run ON run.key = run_key LEFT JOIN tasks mask ON mask.key = chain.mask_key
ORDER BY back DESC
"""
SQL = f"{_TICKET}; {_CHAIN}"

_SHORT = 7
_CLEAR = 8.5
"""Points between vertical labels; if levels are closer, some have no label."""
_NETWORK, _LINK = "#DDDDDD", "#888888"
_RUNS, _MASKS, _WEIGHTS = 1.0, 0.0, 1.85
"""Heights of the rows of the graph."""


@dataclass(frozen=True)
class Level:
    """A run and its mask (keys; None if dense), with density and accuracy (fractions).

    `within`: the mask was pruned within the one of the level before. `nested`: its stored bits are
    a subset of that one; None if they are not stored.
    """

    run: str
    mask: str | None
    density: float
    accuracy: float | None
    start: str
    within: bool
    nested: bool | None


@dataclass(frozen=True, kw_only=True)
class Facts(BaseFacts):
    """Facts of the figure: levels from the dense run to the ticket."""

    levels: tuple[Level, ...]
    problem: str
    colour: str


def select(connection: duckdb.DuckDBPyConnection, sweep: str, options: LineageOptions) -> Facts:
    """Select the chain behind one trial, back to the dense run.

    Raises
    ------
    FigureError
        When there is no such ticket, or it is not done.
    """
    ticket = connection.execute(_TICKET, {"sweep": sweep, "trial": options.trial}).fetchone()
    if ticket is None:
        wanted = "IMP ticket" if options.trial is None else f"pruned trial {options.trial}"
        raise FigureError(f"sweep {sweep} has no {wanted} that is done; name one by `trial`")
    trial, method, network, dataset, replicate, ablation, run, mask = ticket
    rows = connection.execute(_CHAIN, {"run": run, "mask": mask}).fetchall()
    levels = _levels(rows)
    label = style.ablated(style.look(method).label, ablation)
    return Facts(
        levels=levels,
        problem=f"{label}, {style.problem(network, dataset)}, replicate {replicate}",
        colour=style.look(method).colour,
        runs=tuple(sorted(key for level in levels for key in (level.run, level.mask) if key)),
        note=f"Trial {trial} of {sweep}. Each mask is scored on the run before it and trains the "
        "one above it; the area of a square is its share of weights." + _nesting(levels),
        width=style.WIDTHS[options.width],
        title=options.title,
    )


def draw(facts: Facts) -> Figure:
    """Draw accuracy by level, and below it the graph of runs and masks with their keys."""
    frame = axes.Frame(facts.width, facts.title, facts.note, [])
    ratios = {"height_ratios": [1.0, 2.1]}
    figure, _, [[above], [below]] = axes.sheet((2, 1), 1.75, frame, sharex=True, gridspec_kw=ratios)
    _draw_accuracy(above, facts)
    _draw_graph(below, facts)
    above.set_title(facts.problem, fontsize=9.5)
    return figure


# ---------------------------------------------------------------- details


def _levels(rows: Sequence[tuple[object, ...]]) -> tuple[Level, ...]:
    levels: list[Level] = []
    for run, mask, density, accuracy, within, start, step, seed, nested in rows:
        before = levels[-1].mask if levels else None
        levels.append(
            Level(
                run=str(run),
                mask=None if mask is None else str(mask),
                density=float(str(density)),
                accuracy=None if accuracy is None else float(str(accuracy)),
                start=f"step {step} of {str(start)[:_SHORT]}" if start else f"seed {seed}, step 0",
                within=before is not None and within == before,
                nested=None if nested is None else bool(nested),
            )
        )
    return tuple(levels)


def _nesting(levels: Sequence[Level]) -> str:
    nested = [level.nested for level in levels if level.within]
    if not nested or None in nested:
        return ""
    apart = nested.count(False)
    if apart:
        return f" {apart} of {len(nested)} masks do not lie within the one before."
    return f" All {len(nested)} masks that prune within another lie in it, weight by weight."


def _draw_accuracy(ax: Axes, facts: Facts) -> None:
    shown = [(n, 100 * x.accuracy) for n, x in enumerate(facts.levels) if x.accuracy]
    places, values = zip(*shown, strict=True)
    ax.plot(places, values, color=facts.colour, marker="o", markerfacecolor="white")
    ax.axhline(values[0], color=style.DENSE.colour, linestyle=style.DENSE.line, linewidth=0.8)
    ax.set_ylabel("Test acc. (%)")
    ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))


def _draw_graph(ax: Axes, facts: Facts) -> None:
    levels = facts.levels
    apart = facts.width * 0.86 * 72 / (len(levels) + 0.4)
    side = min(17.0, 0.72 * apart)
    every = ceil(_CLEAR / apart)
    _draw_links(ax, levels, side)
    for n, level in enumerate(levels):
        ax.plot(n, _RUNS, "o", markersize=min(6.0, 0.4 * side), color=facts.colour, zorder=3)
        ax.plot(n, _MASKS, "s", markersize=side, color=_NETWORK, markeredgewidth=0, zorder=2)
        inner = side * sqrt(level.density)
        ax.plot(n, _MASKS, "s", markersize=inner, color=facts.colour, markeredgewidth=0, zorder=3)
        for y, key in ((-0.75, level.run), (-1.8, level.mask or "")) if n % every == 0 else ():
            ax.text(n, y, key[:_SHORT], rotation=90, ha="center", va="top", fontsize=5.5)
    _draw_starts(ax, levels)
    rows = {_WEIGHTS: "Starts from", _RUNS: "Run", _MASKS: "Mask", -1.2: "Run's key"}
    rows[-2.25] = "Mask's key"
    ax.set_yticks(list(rows), list(rows.values()), fontsize=8)
    ax.set_ylim(-2.75, 2.35)
    ax.set_xlim(-0.7, len(levels) - 0.3)
    turned = apart < 20
    named = [style.percent(level.density) for level in levels][::every]
    ax.set_xticks(range(0, len(levels), every), named, rotation=90 if turned else 0, fontsize=7)
    ax.set_xlabel("Weights remaining (%)")
    ax.tick_params(left=False)
    ax.grid(visible=False)
    ax.spines["left"].set_visible(False)


def _draw_links(ax: Axes, levels: Sequence[Level], side: float) -> None:
    """Draw arrows: run → mask scored on it, mask → mask within it, mask → run trained with it."""
    for n, level in enumerate(levels):
        if level.mask is None:
            continue
        _arrow(ax, (n, _MASKS), (n, _RUNS), (side / 2, 4.0))
        if n:
            _arrow(ax, (n - 1, _RUNS), (n, _MASKS), (3.0, 0.6 * side))
        if level.within:
            _arrow(ax, (n - 1, _MASKS), (n, _MASKS), (side / 2, side / 2))


def _draw_starts(ax: Axes, levels: Sequence[Level]) -> None:
    """Draw a line over the runs that start from the same weights, with their name."""
    begun = 0
    for n in range(1, len(levels) + 1):
        if n < len(levels) and levels[n].start == levels[begun].start:
            continue
        ax.plot([begun, n - 1], [_WEIGHTS] * 2, color=_LINK, linewidth=1.4)
        for place in range(begun, n):
            _arrow(ax, (place, _WEIGHTS), (place, _RUNS), (0.0, 4.0))
        if n - begun > 3 or len(levels) <= 6:
            corner = (begun, _WEIGHTS + 0.12)
            ax.text(*corner, levels[begun].start, fontsize=6.5, color=style.GREY, va="bottom")
        begun = n


def _arrow(
    ax: Axes, start: tuple[float, float], end: tuple[float, float], clear: tuple[float, float]
) -> None:
    """Draw an arrow that ends `clear` points before each of its ends."""
    look = {"arrowstyle": "-|>,head_width=0.12,head_length=0.2", "color": _LINK, "linewidth": 0.6}
    ax.annotate(
        "", end, start, arrowprops={**look, "shrinkA": clear[0], "shrinkB": clear[1], "zorder": 1}
    )
