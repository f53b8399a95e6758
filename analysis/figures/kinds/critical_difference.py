"""Figure of mean ranks over problems; bars join methods that do not differ (Demšar 2006)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from statistics import mean
from textwrap import fill

import duckdb
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import stats, style
from analysis.figures import axes
from analysis.figures.facts import BaseFacts
from analysis.selection import samples, selection
from analysis.selection.options import RankOptions
from analysis.selection.samples import Sample, Study
from analysis.stats import Ranking
from tombola.errors import FigureError

SQL = selection.SQL

_INK = "#222222"
_ABOVE, _BAR, _LETTER, _LINE = 0.5, 0.11, 0.052, 0.13
"""Inches: from axis to title, from bar to bar, width of a letter, height of a line."""


@dataclass(frozen=True, kw_only=True)
class Facts(BaseFacts):
    """Facts of the figure: names in the order of the ranking's methods."""

    names: tuple[str, ...]
    ranking: Ranking


def select(connection: duckdb.DuckDBPyConnection, sweep: str, options: RankOptions) -> Facts:
    """Rank the methods over problems (a network on a dataset); each problem counts once.

    Raises
    ------
    FigureError
        When fewer than three methods, or too few problems, can be ranked.
    """
    study = samples.read(connection, sweep, options, options.densities)
    names = tuple(dict.fromkeys(sample.name for sample in study.samples))
    shared = shared_columns(study, names)
    problems = len({(sample.network, sample.dataset) for sample in study.samples})
    scores = by_problem(study, names)
    if len(names) < 3 or len(scores) < stats.FEWEST_PROBLEMS:
        raise FigureError(_too_few(sweep, len(names), len(scores), problems))
    ranking = stats.ranking(scores)
    used = [sample for column in shared for sample in column.values()]
    left_out = problems - len(scores)
    return Facts(
        names=names,
        ranking=ranking,
        runs=study.runs,
        note=_note(study, ranking, used)
        + f" {left_out} problems that not all methods answer are left out." * (left_out > 0),
        width=style.WIDTHS[options.width],
        title=options.title,
    )


def by_problem(study: Study, names: Sequence[str]) -> list[list[float]]:
    """Return a line of scores for each problem: one score a method, higher is better.

    The densities of one network share its weights and data, so they count as one observation. The
    score of a method is its negated mean rank over the densities that all methods have.
    """
    lines: dict[tuple[str, str], list[list[float]]] = {}
    for column in shared_columns(study, names):
        values = [study.metric.sign * column[name].mean for name in names]
        first = column[names[0]]
        lines.setdefault((first.network, first.dataset), []).append(stats.ranks(values))
    return [[-mean(ranks) for ranks in zip(*lines_, strict=True)] for lines_ in lines.values()]


def shared_columns(study: Study, names: Sequence[str]) -> list[dict[str, Sample]]:
    """Return the samples by name of each network, dataset and density that all methods have."""
    columns = [{sample.name: sample for sample in column} for column in study.columns().values()]
    return [column for column in columns if len(column) == len(names)]


def draw(facts: Facts) -> Figure:
    """Draw an axis of mean ranks, best at the left, with names and a bar for each clique."""
    sheet = _Sheet(facts)
    frame = axes.Frame(facts.width, facts.title, facts.note, [])
    figure, _, [[ax]] = axes.sheet((1, 1), sheet.height, frame)
    ax.set_axis_off()
    ax.set_xlim(0, facts.width)
    ax.set_ylim(_ABOVE - sheet.height, _ABOVE)
    _draw_axis(ax, sheet)
    for line, group in enumerate(facts.ranking.cliques()):
        ranks = [facts.ranking.mean_ranks[index] for index in (group[0], group[-1])]
        ends = [sheet.x(ranks[0]) - 0.04, sheet.x(ranks[1]) + 0.04]
        ax.plot(ends, [-_BAR * (line + 1)] * 2, color=_INK, linewidth=2.4, solid_capstyle="butt")
    _draw_names(ax, sheet)
    for text in ax.texts:
        text.set_in_layout(False)  # their places are fixed, in inches
    return figure


# ---------------------------------------------------------------- details


class _Sheet:
    """Places of all parts in inches; y is 0 at the axis."""

    def __init__(self, facts: Facts) -> None:
        ranks = facts.ranking.mean_ranks
        self.ranking, self.width = facts.ranking, facts.width
        self.low, self.high = floor(min(ranks)), max(ceil(max(ranks)), floor(min(ranks)) + 1)
        letters = int(0.37 * facts.width / _LETTER)
        labels = (f"{n} ({r:.2f})" for n, r in zip(facts.names, ranks, strict=True))
        self.labels = [fill(label, letters) for label in labels]
        widest = max(len(line) for label in self.labels for line in label.split("\n"))
        self.left = _LETTER * widest + 0.12
        self.right = facts.width - self.left
        self.top = -_BAR * (len(facts.ranking.cliques()) + 1) - 0.08
        order = sorted(range(len(ranks)), key=ranks.__getitem__)
        half = ceil(len(order) / 2)
        self.sides = (self._stacked(order[:half]), self._stacked(order[half:][::-1]))
        lowest = min(y for side in self.sides for _, y in side)
        self.height = _ABOVE - lowest + _LINE

    def _stacked(self, members: Sequence[int]) -> list[tuple[int, float]]:
        """Return (method, y of the middle of its name) from the top down."""
        below, places = self.top, []
        for index in members:
            tall = _LINE * (self.labels[index].count("\n") + 1)
            places.append((index, below - tall / 2))
            below -= tall + 0.06
        return places

    def x(self, rank: float) -> float:
        """Return the position of a rank on the axis."""
        share = (rank - self.low) / (self.high - self.low)
        return self.left + share * (self.right - self.left)


def _too_few(sweep: str, methods: int, ranked: int, problems: int) -> str:
    least = stats.FEWEST_PROBLEMS
    return (
        f"nothing to rank: mean ranks take at least three methods, and {least} problems (a network "
        f"on a dataset; its densities are one problem), since on fewer no difference could be told "
        f"from luck; sweep {sweep} has {methods} method{'s' * (methods != 1)} that share {ranked} "
        f"of {problems} problem{'s' * (problems != 1)}: choose by `methods` and `densities`, or "
        "compare within a problem by `tombola table`"
    )


def _note(study: Study, ranking: Ranking, used: Sequence[Sample]) -> str:
    counts = sorted({sample.n for sample in used})
    numbers = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    return (
        f"Mean rank by {study.metric.label.lower()}, means of {numbers} "
        f"replicate{'s' * (counts != [1])}, over {ranking.problems} problems (network and dataset; "
        "in each, methods are ranked by their mean rank over its densities). "
        f"Friedman χ² = {ranking.statistic:.1f}, p = {ranking.p:.2g}. Joined: closer than "
        f"Nemenyi's critical difference, {ranking.critical_difference:.2f} "
        f"at α = {ranking.alpha:g}."
    )


def _draw_axis(ax: Axes, sheet: _Sheet) -> None:
    ax.plot([sheet.left, sheet.right], [0, 0], color=_INK, linewidth=0.8)
    apart = ceil(0.2 * (sheet.high - sheet.low) / (sheet.right - sheet.left))
    for tick in range(sheet.low, sheet.high + 1, apart):
        ax.plot([sheet.x(tick)] * 2, [0, 0.05], color=_INK, linewidth=0.8)
        ax.text(sheet.x(tick), 0.07, str(tick), ha="center", va="bottom", fontsize=8)
    ends = [sheet.left, sheet.x(sheet.low + sheet.ranking.critical_difference)]
    if ends[1] < sheet.width:
        ax.plot(ends, [0.3, 0.3], color=style.GREY, linewidth=0.8)
        for end in ends:
            ax.plot([end, end], [0.27, 0.33], color=style.GREY, linewidth=0.8)
    label = f"critical difference {sheet.ranking.critical_difference:.2f}"
    ax.text(ends[0], 0.36, label, va="bottom", fontsize=7.5, color=style.GREY)


def _draw_names(ax: Axes, sheet: _Sheet) -> None:
    """Draw the better half at the left, from the top down, the other half at the right."""
    ranks = sheet.ranking.mean_ranks
    ends = (sheet.left - 0.06, sheet.left - 0.1), (sheet.right + 0.06, sheet.right + 0.1)
    for members, (edge, beside), align in zip(sheet.sides, ends, ("right", "left"), strict=True):
        for index, y in members:
            x = sheet.x(ranks[index])
            ax.plot([x, x, edge], [0, y, y], color="#777777", linewidth=0.7, zorder=1)
            ax.plot(x, 0, marker="o", markersize=3, color=_INK)
            ax.text(
                beside, y, sheet.labels[index], ha=align, va="center", fontsize=8, linespacing=0.95
            )
