"""Two treatments of the same replicates: is there a difference, and is it small enough?

A replicate fixes the initial weights and the order of the data, so methods are compared on
what differs within each replicate, which cancels what the replicates differ by.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from statistics import mean, stdev
from typing import Literal, TypeAlias

from tombola.errors import StatisticsError

Test: TypeAlias = Literal["t", "wilcoxon"]
"""Which p-value decides. With n ≤ 5 no Wilcoxon p is below 0.05 (the least is 2 / 2ⁿ)."""

ALPHA = 0.05
LEVEL = 0.95

_ROUNDING = 1e-9
"""Differences that vary by less than this share of the values vary by rounding alone."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float
    level: float


@dataclass(frozen=True)
class Paired:
    """`n` differences, first minus second, in the unit of the values.

    `interval` is the mean difference's (Student's t), `t_p` and `wilcoxon_p` are two-sided, and
    `effect` is Cohen's d_z: mean over standard deviation of the differences. Where all
    differences are alike, t has no spread to work with: `interval`, `t_p` and `effect` are None.
    Where all are zero, `wilcoxon_p` is 1.
    """

    n: int
    mean: float
    interval: Interval | None
    t_p: float | None
    wilcoxon_p: float
    effect: float | None

    def p(self, test: Test) -> float | None:
        """The p-value of that test."""
        return self.t_p if test == "t" else self.wilcoxon_p


@dataclass(frozen=True)
class Equivalence:
    """Whether |mean difference| < `margin`, from `n` differences, all in one unit.

    `p` is the larger of two one-sided t-tests' (TOST; Schuirmann 1987); `interval`, of level
    1 − 2 × alpha, lies within the margin exactly when p < alpha. Both are None where all
    differences are alike.
    """

    n: int
    mean: float
    margin: float
    interval: Interval | None
    p: float | None


def paired(first: Sequence[float], second: Sequence[float]) -> Paired:
    """Compare two treatments, value by value of the same replicates.

    Paired t-test; Wilcoxon's signed-rank test, exact for small n, zeros dropped; Cohen's d_z
    (Lakens 2013, eq. 6).

    Raises
    ------
    StatisticsError
        When lengths differ, there are fewer than two pairs, or a value is not finite.
    """
    from scipy import stats

    differences = _differences(first, second)
    centre = mean(differences)
    wilcoxon = stats.wilcoxon(differences).pvalue if any(differences) else 1.0
    if not differences_vary(first, second):
        return Paired(len(differences), centre, None, None, float(wilcoxon), None)
    found = stats.ttest_1samp(differences, 0.0)
    return Paired(
        n=len(differences),
        mean=centre,
        interval=_interval(differences, LEVEL),
        t_p=float(found.pvalue),
        wilcoxon_p=float(wilcoxon),
        effect=centre / stdev(differences),
    )


def equivalent(
    first: Sequence[float], second: Sequence[float], margin: float, alpha: float = ALPHA
) -> Equivalence:
    """Test that the paired means differ by less than `margin`, in the values' own unit.

    The null hypothesis is a difference of the margin or more: a large p says that equivalence
    is not shown, not that there is a difference.

    Raises
    ------
    StatisticsError
        When the margin is not positive, or the values are none that `paired` takes.
    """
    if not margin > 0:
        raise StatisticsError(f"a margin is a number above 0, not {margin:g}")
    from scipy import stats

    differences = _differences(first, second)
    n, centre = len(differences), mean(differences)
    if not differences_vary(first, second):
        return Equivalence(n, centre, margin, None, None)
    above = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(differences, margin, alternative="less").pvalue
    interval = _interval(differences, 1 - 2 * alpha)
    return Equivalence(n, centre, margin, interval, float(max(above, below)))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for being a family, in their order (Holm 1979).

    Each is compared with alpha; the chance of any false rejection is then alpha at most.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for place, index in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = least
    return adjusted


def differences_vary(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether pairs differ by more than one amount, rounding aside: a t-test needs that."""
    differences = _differences(first, second)
    size = max(map(abs, [*differences, *first]))
    return max(differences) - min(differences) > _ROUNDING * size


# ---------------------------------------------------------------- details


def _differences(first: Sequence[float], second: Sequence[float]) -> list[float]:
    if len(first) != len(second):
        raise StatisticsError(f"pairs take lists of one length, not {len(first)} and {len(second)}")
    if len(first) < 2:
        raise StatisticsError("a paired test takes at least two replicates")
    if not all(map(isfinite, [*first, *second])):
        raise StatisticsError("a paired test takes finite values")
    return [one - other for one, other in zip(first, second, strict=True)]


def _interval(differences: Sequence[float], level: float) -> Interval:
    from scipy.stats import t

    half = float(t.ppf((1 + level) / 2, len(differences) - 1))
    half *= stdev(differences) / sqrt(len(differences))
    return Interval(mean(differences) - half, mean(differences) + half, level)
