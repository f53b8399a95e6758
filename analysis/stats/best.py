"""Many treatments of the same replicates against the best of them, which the same data chose.

A test against a named baseline errs as often as it says. Against the best it errs more often: of
equal treatments the luckiest is taken, and the unluckiest looks worse than it. So each p-value is
compared with the least p-value that equal treatments give against the best of themselves, as drawn
by simulation, and the treatments found worse leave the family one after the other (Westfall and
Young 1993, Resampling-Based Multiple Testing, section 2.8: step-down min-P).

- Permutations within replicates are no choice: of two treatments with five replicates the least
  two-sided p is 2 / 2⁵ = 0.06.
- Hsu's comparisons with the best (Hsu 1996, Multiple Comparisons, chapter 4) answer another
  question: of tied treatments they may call some "not the best", which is no error there. They also
  pool one variance, which pruning methods do not share.
- Each pair has its own variance here, so levels hold where one method is much noisier than another.
  Equal variances, as simulated, are close to the worst case.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import ceil, comb, isfinite
from typing import Any

from analysis.stats.paired import ALPHA

_DRAWS = 20_000
_AT_ONCE = 2_000_000
"""Numbers drawn at once, to bound memory."""
_EACH, _STEP = 12, 12
"""Families up to that size are simulated as they are, larger ones as the next such multiple."""

Pattern = tuple[tuple[bool, ...], ...]
"""Which treatment has which replicate."""


def worse_than_best(values: Sequence[Mapping[int, float]], best: int) -> list[float | None]:
    """P-values, corrected for the family, of each treatment being as good as the best.

    `values` are by replicate, higher is better; `best` is the index of the best mean. The chance
    of any p < alpha among treatments that are equal to the best is alpha at most. None: the best
    itself, and where fewer than two replicates are shared or differences do not vary.
    """
    finite = [{n: x for n, x in one.items() if isfinite(x)} for one in values]
    raw = [
        None if index == best else _one_sided(finite[best], one) for index, one in enumerate(finite)
    ]
    adjusted: list[float | None] = [None] * len(values)
    family, least = len(values), 0.0
    for index in sorted((n for n, p in enumerate(raw) if p is not None), key=lambda n: raw[n] or 0):
        least = max(least, _of_least(raw[index] or 0.0, _pattern(finite, family)))
        adjusted[index] = least
        family -= least < ALPHA  # what is as good as the best stays in the family
    return adjusted


def of_all_pairs(p_values: Sequence[float | None]) -> list[float | None]:
    """P-values against the best by Holm's procedure over all pairs: for any test, less powerful."""
    adjusted: list[float | None] = [None] * len(p_values)
    family, least = len(p_values), 0.0
    for p, index in sorted((p, n) for n, p in enumerate(p_values) if p is not None):
        least = max(least, min(1.0, comb(family, 2) * p))
        adjusted[index] = least
        family -= 1
    return adjusted


# ---------------------------------------------------------------- details


def _one_sided(best: Mapping[int, float], other: Mapping[int, float]) -> float | None:
    """The paired t-test's p of `other` being as good; None where it is not defined."""
    from analysis.stats.paired import differences_vary

    shared = sorted(best.keys() & other.keys())
    pairs = [best[n] for n in shared], [other[n] for n in shared]
    if len(shared) < 2 or not differences_vary(*pairs):
        return None
    import numpy as np

    return float(_p_values(np.subtract(*pairs), np.ones(len(shared), bool)))


def _pattern(values: Sequence[Mapping[int, float]], family: int) -> Pattern:
    """Presence of a family; one with gaps is taken whole, as which of it is left matters then."""
    replicates = sorted(set().union(*values))
    rows = sorted(tuple(n in one for n in replicates) for one in values)
    if not all(map(all, rows)):
        return tuple(rows)
    size = family if family <= _EACH else _STEP * ceil(family / _STEP)
    return ((True,) * len(replicates),) * size


def _of_least(p: float, pattern: Pattern) -> float:
    """The chance that equal treatments give so small a p, or smaller, against their best."""
    bound = min(1.0, len(pattern) * (len(pattern) - 1) * p)
    if len(pattern) == 2:
        return bound  # exact: the two-sided test
    least = _least_p_values(pattern)
    return min(bound, (1 + int(least.searchsorted(p, side="right"))) / (len(least) + 1))


@lru_cache(maxsize=128)
def _least_p_values(pattern: Pattern) -> Any:
    """The least p-value of equal normal treatments against the best of them, sorted draws."""
    import numpy as np

    rng, there = np.random.default_rng(0), np.array(pattern)
    found, chunk = [], max(1, _AT_ONCE // there.size)
    for start in range(0, _DRAWS, chunk):
        drawn = rng.normal(size=(min(chunk, _DRAWS - start), *there.shape))
        means = np.where(there, drawn, 0).sum(2) / np.maximum(there.sum(1), 1)
        best = np.where(there.any(1), means, -np.inf).argmax(1)
        each = np.arange(len(drawn))
        p = _p_values(drawn[each, best][:, None] - drawn, there[best][:, None] & there)
        p[each, best] = 1.0
        found.append(p.min(axis=1))
    return np.sort(np.concatenate(found))


def _p_values(differences: Any, there: Any) -> Any:
    """One-sided p of the t-test on the last axis, of the differences that are there."""
    import numpy as np
    from scipy.special import stdtr

    n = there.sum(-1)
    means = np.where(there, differences, 0).sum(-1) / np.maximum(n, 1)
    squares = np.where(there, (differences - means[..., None]) ** 2, 0).sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = means / np.sqrt(squares / (n - 1) / n)
        return np.where(n > 1, stdtr(n - 1, -t), 1.0)
