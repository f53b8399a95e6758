"""Mean ranks of methods over problems, those that do not differ joined by a bar (Demšar 2006)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

import duckdb
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import samples, style
from analysis.errors import FigureError, StatisticsError
from analysis.figures import axes as marks
from analysis.figures import selection
from analysis.figures.options import RankOptions
from analysis.samples import Sample, Study
from analysis.stats import Ranking, ranking

SQL = selection.SQL

_STEP = 0.19
"""Inches from one name to the next below it."""


@dataclass(frozen=True)
class Facts:
    """What is drawn: names in the order of the ranking's methods."""

    names: tuple[str, ...]
    ranking: Ranking
    runs: tuple[str, ...]
    note: str
    width: float
    title: str | None = None


def select(connection: duckdb.DuckDBPyConnection, sweep: str, options: RankOptions) -> Facts:
    """Ranks by mean over replicates at each network, dataset and density that all methods have.

    Raises
    ------
    FigureError
        When fewer than three methods share fewer than two such problems.
    """
    study = samples.read(connection, sweep, options, options.densities)
    names = tuple(dict.fromkeys(one.name for one in study.samples))
    columns = [{one.name: one for one in column} for column in study.columns().values()]
    shared = [column for column in columns if len(column) == len(names)]
    scores = [[study.metric.sign * column[name].mean for name in names] for column in shared]
    try:
        found = ranking(scores)
    except StatisticsError as error:
        raise FigureError(
            f"nothing to rank: {error}, and sweep {sweep} has {len(names)} methods that share "
            f"{len(shared)} of {len(columns)} problems; choose by `methods` and `densities`"
        ) from None
    return Facts(
        names=names,
        ranking=found,
        runs=study.runs,
        note=_note(study, found, [one for column in shared for one in column.values()])
        + f" {len(columns) - len(shared)} problems that not all methods answer are left out."
        * (len(columns) > len(shared)),
        width=style.WIDTHS[options.width],
        title=options.title,
    )


def draw(facts: Facts) -> Figure:
    """An axis of mean ranks, best at the left; names on either side, bars over cliques."""
    count = len(facts.names)
    bars = facts.ranking.cliques()
    height = _STEP * (ceil(count / 2) + 2.2) + 0.12 * len(bars)
    frame = marks.Frame(facts.width, facts.title, facts.note, [])
    figure, _, [[ax]] = marks.sheet((1, 1), height, frame)
    ranks = facts.ranking.mean_ranks
    low, high = floor(min(ranks)), ceil(max(ranks))
    ax.set_axis_off()
    room = (high - low) * 0.62  # names stand beside the axis
    ax.set_xlim(low - room, high + room)
    ax.set_ylim(-height, 0.42)
    _axis(ax, low, high)
    _ruler(ax, low, facts.ranking.critical_difference)
    for line, group in enumerate(bars):
        ends = [ranks[group[0]] - 0.04, ranks[group[-1]] + 0.04]
        ax.plot(ends, [-0.1 - 0.12 * line] * 2, color="#222222", linewidth=2.6)
    _names(ax, facts, (low, high), -0.1 - 0.12 * len(bars) - 0.1)
    return figure


# ---------------------------------------------------------------- details


def _note(study: Study, found: Ranking, used: Sequence[Sample]) -> str:
    counts = sorted({one.n for one in used})
    of = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    return (
        f"Mean rank by {study.metric.label.lower()}, means of {of} "
        f"replicate{'s' * (counts != [1])}, over {found.problems} problems (network, dataset and "
        f"density; densities of one network are not independent, so take p as a guide). "
        f"Friedman χ² = {found.statistic:.1f}, p = {found.p:.2g}. Joined: closer than Nemenyi's "
        f"critical difference, {found.critical_difference:.2f} at α = {found.alpha:g}."
    )


def _axis(ax: Axes, low: int, high: int) -> None:
    ax.plot([low, high], [0, 0], color="#222222", linewidth=0.8)
    for tick in range(low, high + 1):
        ax.plot([tick, tick], [0, 0.05], color="#222222", linewidth=0.8)
        ax.text(tick, 0.07, str(tick), ha="center", va="bottom", fontsize=8)


def _ruler(ax: Axes, low: int, length: float) -> None:
    """How long the critical difference is, above the axis."""
    height = 0.3
    ax.plot([low, low + length], [height, height], color=style.GREY, linewidth=0.8)
    for end in (low, low + length):
        ax.plot([end, end], [height - 0.03, height + 0.03], color=style.GREY, linewidth=0.8)
    text = f"  critical difference {length:.2f}"
    ax.text(low + length, height, text, va="center", fontsize=7.5, color=style.GREY)


def _names(ax: Axes, facts: Facts, ends: tuple[int, int], top: float) -> None:
    """The better half at the left from the top down, the other at the right, its worst on top."""
    ranks = facts.ranking.mean_ranks
    order = sorted(range(len(ranks)), key=ranks.__getitem__)
    half = ceil(len(order) / 2)
    for side, members in ((0, order[:half]), (1, order[half:][::-1])):
        for line, index in enumerate(members):
            height, rank = top - _STEP * line, ranks[index]
            edge = ends[side] + (0.03 if side else -0.03) * (ends[1] - ends[0])
            ax.plot([rank, rank, edge], [0, height, height], color="#777777", linewidth=0.7)
            ax.plot(rank, 0, marker="o", markersize=3, color="#222222")
            text = f" {facts.names[index]} ({rank:.2f}) "
            align = "left" if side else "right"
            ax.text(edge, height, text, ha=align, va="center", fontsize=8)
