"""Ranks of several methods on several problems (Demšar 2006, JMLR 7, section 3.2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf, isfinite, sqrt

from analysis.stats.paired import ALPHA
from tombola.errors import StatisticsError

FEWEST_PROBLEMS = 5
"""Least number of problems for ranks.

With fewer, Friedman's chi-square is far from exact, and Nemenyi's critical difference of five
methods on four problems is 3.1, of at most 4 ranks.
"""


@dataclass(frozen=True)
class Ranking:
    """Mean ranks of methods over `problems` problems; 1 is best, ties share their mean rank.

    `p` is that of Friedman's test (chi-square, corrected for ties): all methods have equal ranks.
    Mean ranks that differ by more than `critical_difference` (Nemenyi) differ at level `alpha`.
    """

    mean_ranks: tuple[float, ...]
    problems: int
    statistic: float
    p: float
    critical_difference: float
    alpha: float

    def cliques(self) -> list[tuple[int, ...]]:
        """Return the largest groups of methods (indices, best first) that do not differ."""
        order = sorted(range(len(self.mean_ranks)), key=self.mean_ranks.__getitem__)
        groups: list[tuple[int, ...]] = []
        for start, first in enumerate(order):
            near = self.mean_ranks[first] + self.critical_difference
            group = tuple(i for i in order[start:] if self.mean_ranks[i] <= near)
            if len(group) > 1 and not (groups and set(group) <= set(groups[-1])):
                groups.append(group)
        return groups


def ranking(scores: Sequence[Sequence[float]], alpha: float = ALPHA) -> Ranking:
    """Rank methods on each problem: `scores` is problems × methods, higher is better.

    Raises
    ------
    StatisticsError
        When there are fewer than two problems or three methods (for two, use `paired`), a row
        has another length, or a score is not finite.
    """
    methods = len(scores[0]) if scores else 0
    if len(scores) < 2 or methods < 3:
        raise StatisticsError("a ranking needs at least two problems and three methods")
    if any(len(row) != methods or not all(map(isfinite, row)) for row in scores):
        raise StatisticsError("a ranking needs a finite score for each method on each problem")
    import numpy as np
    from scipy import stats

    by_problem = stats.rankdata(-np.asarray(scores, dtype=float), axis=1)
    if np.all(by_problem == by_problem[0, 0]):
        statistic, p = 0.0, 1.0  # only ties, for which Friedman's statistic is 0 / 0
    else:
        statistic, p = map(float, stats.friedmanchisquare(*by_problem.T))
    return Ranking(
        mean_ranks=tuple(map(float, by_problem.mean(axis=0))),
        problems=len(scores),
        statistic=statistic,
        p=p,
        critical_difference=critical_difference(methods, len(scores), alpha),
        alpha=alpha,
    )


def ranks(scores: Sequence[float]) -> list[float]:
    """Return the rank of each score, 1 for the highest; ties share their mean rank."""
    return [
        sum(other > score for other in scores) + (scores.count(score) + 1) / 2 for score in scores
    ]


@lru_cache
def critical_difference(methods: int, problems: int, alpha: float = ALPHA) -> float:
    """Return the critical difference of mean ranks (Nemenyi 1963; Demšar 2006, table 5)."""
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - alpha, methods, inf)) / sqrt(2)
    return q * sqrt(methods * (methods + 1) / (6 * problems))
