"""Several methods on several problems, by ranks (Demšar 2006, JMLR 7, section 3.2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf, isfinite, sqrt

from analysis.stats.paired import ALPHA
from tombola.errors import StatisticsError

FEWEST_PROBLEMS = 5
"""Fewer tell nothing: Friedman's chi-square is far from exact, and Nemenyi's critical difference
of five methods on four problems is 3.1 of the 4 ranks that there are.
"""


@dataclass(frozen=True)
class Ranking:
    """Mean ranks of methods over `problems` problems; 1 is best, ties share their mean rank.

    `p` is Friedman's (chi-square, corrected for ties), of the hypothesis that all methods rank
    alike. Mean ranks further apart than `critical_difference` (Nemenyi) differ at `alpha`.
    """

    mean_ranks: tuple[float, ...]
    problems: int
    statistic: float
    p: float
    critical_difference: float
    alpha: float

    def cliques(self) -> list[tuple[int, ...]]:
        """Largest groups of methods (by index, best first) none of which differ from another."""
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
        When there are fewer than two problems or three methods (compare two in pairs), a row
        has another length, or a score is not finite.
    """
    methods = len(scores[0]) if scores else 0
    if len(scores) < 2 or methods < 3:
        raise StatisticsError("a ranking takes at least two problems and three methods")
    if any(len(row) != methods or not all(map(isfinite, row)) for row in scores):
        raise StatisticsError("a ranking takes a finite score for each method on each problem")
    import numpy as np
    from scipy import stats

    by_problem = stats.rankdata(-np.asarray(scores, dtype=float), axis=1)
    if np.all(by_problem == by_problem[0, 0]):
        statistic, p = 0.0, 1.0  # nothing but ties, where Friedman's is 0 / 0
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
    """The rank of each score, 1 for the highest; ties share their mean rank."""
    return [
        sum(other > score for other in scores) + (scores.count(score) + 1) / 2 for score in scores
    ]


@lru_cache
def critical_difference(methods: int, problems: int, alpha: float = ALPHA) -> float:
    """How far two mean ranks must be apart to differ (Nemenyi 1963; Demšar 2006, table 5)."""
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - alpha, methods, inf)) / sqrt(2)
    return q * sqrt(methods * (methods + 1) / (6 * problems))
