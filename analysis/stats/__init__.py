"""Statistics of replicates: pure functions on numbers. Functions import scipy when called."""

from analysis.stats.best import of_all_pairs, worse_than_best
from analysis.stats.paired import (
    ALPHA,
    LEVEL,
    Equivalence,
    Interval,
    Paired,
    Test,
    equivalent,
    holm,
    paired,
)
from analysis.stats.ranking import FEWEST_PROBLEMS, Ranking, critical_difference, ranking, ranks
from analysis.stats.spread import SPREADS, Spread, Summary, bootstrap, deviation, summary

__all__ = [
    "ALPHA",
    "FEWEST_PROBLEMS",
    "LEVEL",
    "SPREADS",
    "Equivalence",
    "Interval",
    "Paired",
    "Ranking",
    "Spread",
    "Summary",
    "Test",
    "bootstrap",
    "critical_difference",
    "deviation",
    "equivalent",
    "holm",
    "of_all_pairs",
    "paired",
    "ranking",
    "ranks",
    "summary",
    "worse_than_best",
]
