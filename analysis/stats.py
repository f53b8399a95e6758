"""Statistics of replicates: pure functions on lists of numbers."""

from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev
from typing import Literal

Spread = Literal["std", "minmax", "ci95"]

# Two-sided 95 % quantiles of Student's t by degrees of freedom; the normal's beyond 30.
_T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


@dataclass(frozen=True)
class Summary:
    """Mean of `n` replicates; `low` and `high` are None where one has no spread."""

    centre: float
    low: float | None
    high: float | None
    n: int


def summary(
    values: list[float],
    spread: Spread = "std",
    bounds: tuple[float, float] = (float("-inf"), float("inf")),
) -> Summary:
    """Mean and spread of replicates.

    std is ± one standard deviation (ddof 1), minmax the extremes, ci95 the 95 % confidence
    interval of the mean (Student's t), cut at `bounds`. One replicate has no spread.

    Raises
    ------
    ValueError
        When there are no values.
    """
    if not values:
        raise ValueError("a summary takes at least one value")
    centre, n = mean(values), len(values)
    if n == 1:
        return Summary(centre, None, None, 1)
    if spread == "minmax":
        return Summary(centre, min(values), max(values), n)
    half = stdev(values)
    if spread == "ci95":
        half *= (_T95[n - 2] if n - 2 < len(_T95) else 1.96) / sqrt(n)
    return Summary(centre, max(centre - half, bounds[0]), min(centre + half, bounds[1]), n)
