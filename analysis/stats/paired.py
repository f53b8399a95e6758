"""Paired tests of two treatments on the same replicates: difference and equivalence.

A replicate fixes the initial weights and the order of the data. Methods are compared by their
differences within replicates, so the variation between replicates cancels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from statistics import mean, stdev
from typing import Literal, TypeAlias

from tombola.errors import StatisticsError

Test: TypeAlias = Literal["t", "wilcoxon"]
"""Test whose p-value is used. For n ≤ 5, no Wilcoxon p is below 0.05 (the least is 2 / 2ⁿ)."""

ALPHA = 0.05
LEVEL = 0.95

_ROUNDING = 1e-9
"""Differences that vary by less than this share of the values vary only by rounding."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float
    level: float


@dataclass(frozen=True)
class Paired:
    """Paired comparison of `n` differences, first minus second, in the unit of the values.

    `interval` is that of the mean difference (Student's t). `t_p` and `wilcoxon_p` are two-sided.
    `effect` is Cohen's d_z: mean over standard deviation of the differences. If all differences are
    equal, `interval`, `t_p` and `effect` are None. If all are zero, `wilcoxon_p` is 1.
    """

    n: int
    mean: float
    interval: Interval | None
    t_p: float | None
    wilcoxon_p: float
    effect: float | None

    def p(self, test: Test) -> float | None:
        """Return the p-value of a test."""
        return self.t_p if test == "t" else self.wilcoxon_p


@dataclass(frozen=True)
class Equivalence:
    """Test of |mean difference| < `margin`, from `n` differences, all in one unit.

    `p` is the larger p of two one-sided t-tests (TOST; Schuirmann 1987). `interval`, of level
    1 − 2 × alpha, lies within the margin exactly if p < alpha. Both are None if all differences
    are equal.
    """

    n: int
    mean: float
    margin: float
    interval: Interval | None
    p: float | None


def paired(first: Sequence[float], second: Sequence[float]) -> Paired:
    """Compare two treatments by paired values of the same replicates.

    The tests are the paired t-test and Wilcoxon's signed-rank test (exact for small n, without
    zeros). The effect is Cohen's d_z (Lakens 2013, eq. 6).

    Raises
    ------
    StatisticsError
        When the lengths differ, there are fewer than two pairs, or a value is not finite.
    """
    from scipy import stats

    differences = _differences(first, second)
    centre = mean(differences)
    wilcoxon = stats.wilcoxon(differences).pvalue if any(differences) else 1.0
    if not differences_vary(first, second):
        return Paired(len(differences), centre, None, None, float(wilcoxon), None)
    test = stats.ttest_1samp(differences, 0.0)
    return Paired(
        n=len(differences),
        mean=centre,
        interval=_interval(differences, LEVEL),
        t_p=float(test.pvalue),
        wilcoxon_p=float(wilcoxon),
        effect=centre / stdev(differences),
    )


def equivalent(
    first: Sequence[float], second: Sequence[float], margin: float, alpha: float = ALPHA
) -> Equivalence:
    """Test that the paired means differ by less than `margin`, in the unit of the values.

    The null hypothesis is a difference of at least the margin. So a large p means that equivalence
    is not shown; it does not mean that there is a difference.

    Raises
    ------
    StatisticsError
        When the margin is not positive, or `paired` would refuse the values.
    """
    if not margin > 0:
        raise StatisticsError(f"the margin must be above 0, not {margin:g}")
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
    """Return p-values corrected for the size of their family, in their order (Holm 1979).

    If each is compared with alpha, the chance of any false rejection is at most alpha.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for place, index in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = least
    return adjusted


def differences_vary(first: Sequence[float], second: Sequence[float]) -> bool:
    """Return whether the differences of pairs vary, up to rounding; a t-test needs that."""
    differences = _differences(first, second)
    size = max(map(abs, [*differences, *first]))
    return max(differences) - min(differences) > _ROUNDING * size


# ---------------------------------------------------------------- details


def _differences(first: Sequence[float], second: Sequence[float]) -> list[float]:
    if len(first) != len(second):
        raise StatisticsError(
            f"a paired test needs lists of equal length, not {len(first)} and {len(second)}"
        )
    if len(first) < 2:
        raise StatisticsError("a paired test needs at least two replicates")
    if not all(map(isfinite, [*first, *second])):
        raise StatisticsError("a paired test needs finite values")
    return [a - b for a, b in zip(first, second, strict=True)]


def _interval(differences: Sequence[float], level: float) -> Interval:
    from scipy.stats import t

    half = float(t.ppf((1 + level) / 2, len(differences) - 1))
    half *= stdev(differences) / sqrt(len(differences))
    return Interval(mean(differences) - half, mean(differences) + half, level)
