"""Comparison of many treatments with the best of them, chosen by the same data.

A test against a named baseline has the error rate that it claims. A test against the best has a
larger one: among equal treatments, the luckiest is chosen, and the unluckiest looks worse. So each
p-value is compared with the least p-value that equal treatments give against their own best. A
simulation draws that distribution. Treatments that are found worse leave the family, one after the
other (Westfall and Young 1993, Resampling-Based Multiple Testing, section 2.8: step-down min-P).

- Permutations within replicates do not work: for two treatments with five replicates, the least
  two-sided p is 2 / 2⁵ = 0.06.
- Hsu's comparisons with the best (Hsu 1996, Multiple Comparisons, chapter 4) answer another
  question: they may call some of several tied treatments "not the best", which is no error there.
  They also assume one variance for all, which pruning methods do not have.
- Each pair has its own variance here, so the levels hold if one method is much noisier than
  another. Equal variances, as simulated, are close to the worst case.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import ceil, comb, isfinite
from typing import Any

from analysis.stats.paired import ALPHA

_DRAWS = 20_000
_AT_ONCE = 2_000_000
"""Numbers drawn at a time, to bound memory."""
_EACH, _STEP = 12, 12
"""Families up to size _EACH are simulated exactly, larger ones as the next multiple of _STEP."""

Pattern = tuple[tuple[bool, ...], ...]
"""Presence by treatment and replicate."""


def worse_than_best(values: Sequence[Mapping[int, float]], best: int) -> list[float | None]:
    """Return corrected p-values of the hypothesis that each treatment is as good as the best.

    `values` are by replicate, higher is better; `best` is the index of the best mean. Among
    treatments equal to the best, the chance of any p < alpha is at most alpha. The p-value is None
    for the best itself, for fewer than two shared replicates, and for constant differences.
    """
    finite = [{n: x for n, x in row.items() if isfinite(x)} for row in values]
    raw = [
        None if index == best else _one_sided(finite[best], row) for index, row in enumerate(finite)
    ]
    adjusted: list[float | None] = [None] * len(values)
    family, least = len(values), 0.0
    for index in sorted((n for n, p in enumerate(raw) if p is not None), key=lambda n: raw[n] or 0):
        least = max(least, _of_least(raw[index] or 0.0, _pattern(finite, family)))
        adjusted[index] = least
        family -= least < ALPHA  # treatments as good as the best stay in the family
    return adjusted


def of_all_pairs(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values against the best, by Holm's procedure over all pairs.

    It holds for any test, with less power than `worse_than_best`.
    """
    adjusted: list[float | None] = [None] * len(p_values)
    family, least = len(p_values), 0.0
    for p, index in sorted((p, n) for n, p in enumerate(p_values) if p is not None):
        least = max(least, min(1.0, comb(family, 2) * p))
        adjusted[index] = least
        family -= 1
    return adjusted


# ---------------------------------------------------------------- details


def _one_sided(best: Mapping[int, float], other: Mapping[int, float]) -> float | None:
    """Return p of the paired t-test that `other` is as good; None if it is not defined."""
    from analysis.stats.paired import differences_vary

    shared = sorted(best.keys() & other.keys())
    pairs = [best[n] for n in shared], [other[n] for n in shared]
    if len(shared) < 2 or not differences_vary(*pairs):
        return None
    import numpy as np

    return float(_p_values(np.subtract(*pairs), np.ones(len(shared), bool)))


def _pattern(values: Sequence[Mapping[int, float]], family: int) -> Pattern:
    """Return the presence of a family: full, or the rows of all treatments if any has gaps."""
    replicates = sorted(set().union(*values))
    rows = sorted(tuple(n in row for n in replicates) for row in values)
    if not all(map(all, rows)):
        return tuple(rows)
    size = family if family <= _EACH else _STEP * ceil(family / _STEP)
    return ((True,) * len(replicates),) * size


def _of_least(p: float, pattern: Pattern) -> float:
    """Return the chance that equal treatments give a p this small against their best."""
    bound = min(1.0, len(pattern) * (len(pattern) - 1) * p)
    if len(pattern) == 2:
        return bound  # exact: the two-sided test
    least = _least_p_values(pattern)
    return min(bound, (1 + int(least.searchsorted(p, side="right"))) / (len(least) + 1))


@lru_cache(maxsize=128)
def _least_p_values(pattern: Pattern) -> Any:
    """Return sorted draws of the least p-value of equal normal treatments against their best."""
    import numpy as np

    rng, present = np.random.default_rng(0), np.array(pattern)
    least, chunk = [], max(1, _AT_ONCE // present.size)
    for start in range(0, _DRAWS, chunk):
        drawn = rng.normal(size=(min(chunk, _DRAWS - start), *present.shape))
        means = np.where(present, drawn, 0).sum(2) / np.maximum(present.sum(1), 1)
        best = np.where(present.any(1), means, -np.inf).argmax(1)
        each = np.arange(len(drawn))
        p = _p_values(drawn[each, best][:, None] - drawn, present[best][:, None] & present)
        p[each, best] = 1.0
        least.append(p.min(axis=1))
    return np.sort(np.concatenate(least))


def _p_values(differences: Any, present: Any) -> Any:
    """Return one-sided p of the t-test on the last axis, of the present differences."""
    import numpy as np
    from scipy.special import stdtr

    n = present.sum(-1)
    means = np.where(present, differences, 0).sum(-1) / np.maximum(n, 1)
    squares = np.where(present, (differences - means[..., None]) ** 2, 0).sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = means / np.sqrt(squares / (n - 1) / n)
        return np.where(n > 1, stdtr(n - 1, -t), 1.0)
