"""Mean and spread of replicates."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan, sqrt
from statistics import mean, stdev
from typing import Literal, TypeAlias

from tombola.errors import StatisticsError

Spread: TypeAlias = Literal["std", "minmax", "ci95", "bootstrap"]

SPREADS: dict[str, str] = {
    "std": "± 1 standard deviation",
    "minmax": "minimum to maximum",
    "ci95": "95 % interval",
    "bootstrap": "95 % bootstrap interval",
}
"""Name of each spread in a footnote."""

_SEED = 0
_RESAMPLES = 9_999
_BCA_FROM = 10
"""Least number of values for BCa, which estimates bias and skew from them."""


@dataclass(frozen=True)
class Summary:
    """Mean of `n` replicates and ends of the spread, which are None for one replicate."""

    centre: float
    low: float | None
    high: float | None
    n: int


def summary(
    values: Sequence[float],
    spread: Spread = "std",
    bounds: tuple[float, float] = (float("-inf"), float("inf")),
) -> Summary:
    """Return mean and spread of replicates, with the spread cut at `bounds`.

    std: ± one standard deviation (ddof 1). minmax: the extremes. ci95: the 95 % confidence interval
    of the mean (Student's t). bootstrap: that interval by resampling. One replicate has no spread.

    Raises
    ------
    StatisticsError
        When there are no values.
    """
    if not values:
        raise StatisticsError("a summary needs at least one value")
    centre, n = mean(values), len(values)
    if n == 1:
        return Summary(centre, None, None, 1)
    low, high = _spread(values, spread)
    return Summary(centre, max(low, bounds[0]), min(high, bounds[1]), n)


def bootstrap(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Return the bootstrap confidence interval of the mean; it is deterministic.

    With ten values or more it is bias-corrected and accelerated (Efron 1987), with fewer it is the
    percentile interval. Percentile intervals of few values are too narrow, by √((n − 1) / n) and
    more (Hesterberg 2015). With five replicates or fewer, Student's interval (ci95) covers better.

    Raises
    ------
    StatisticsError
        When there are fewer than two values, or a value is not finite.
    """
    if len(values) < 2 or not all(map(isfinite, values)):
        raise StatisticsError("a bootstrap interval needs at least two finite values")
    if min(values) == max(values):
        return values[0], values[0]
    import numpy as np
    from scipy import stats

    interval = stats.bootstrap(
        (np.asarray(values, dtype=float),),
        np.mean,
        n_resamples=_RESAMPLES,
        confidence_level=level,
        method="BCa" if len(values) >= _BCA_FROM else "percentile",
        rng=np.random.default_rng(_SEED),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def deviation(values: Sequence[float]) -> float:
    """Return the standard deviation (ddof 1) of two values or more; NaN if one is not finite."""
    return stdev(values) if all(map(isfinite, values)) else nan


def _spread(values: Sequence[float], spread: Spread) -> tuple[float, float]:
    if not all(map(isfinite, values)):  # the loss of a run that diverged
        return nan, nan
    match spread:
        case "minmax":
            return min(values), max(values)
        case "bootstrap":
            return bootstrap(values)
        case "std":
            half = stdev(values)
        case "ci95":
            from scipy.stats import t

            half = stdev(values) * float(t.ppf(0.975, len(values) - 1)) / sqrt(len(values))
    return mean(values) - half, mean(values) + half
