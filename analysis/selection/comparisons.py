"""Methods compared with one another and with the dense network, replicate by replicate.

Pure functions of a study's samples. Differences are in the metric's unit: accuracies' in points.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import mean
from typing import TypeAlias

from analysis import stats
from analysis.errors import TableError
from analysis.selection import selection
from analysis.selection.samples import Sample, Study
from analysis.stats import ALPHA, Equivalence, Paired, Test

MARGIN = 0.5
"""Accuracy points within which a network matches the dense one, unless asked otherwise."""

_ROUNDING = 1e-9

Correction: TypeAlias = Callable[[Sequence[float | None]], list[float | None]]
"""P-values to those corrected for their family, in their order; None stays."""


@dataclass(frozen=True)
class Comparison:
    """A sample against the baseline of its column.

    `paired` is None where fewer than two replicates are shared. `p` is corrected for all
    comparisons of the column: by Holm's procedure against a named baseline, by `stats.best`
    against the best. None where the test is not defined.
    """

    sample: Sample
    baseline: Sample
    paired: Paired | None
    p: float | None


@dataclass(frozen=True)
class Match:
    """Whether a sample matches the dense network.

    `p` is TOST's by Holm's correction for the densities of its method; None where fewer than
    two replicates are shared or all differences are alike.
    """

    sample: Sample
    equivalence: Equivalence | None
    p: float | None


@dataclass(frozen=True)
class Sparsest:
    """The sparsest density at which a method still is as good as dense; None where at none.

    `equivalent`: by TOST; `by_mean`: mean ≥ dense mean − tolerance; `by_replicate`: the same
    within each replicate (the winning tickets of Frankle and Carbin 2019, tolerance 0).
    """

    network: str
    dataset: str
    name: str
    equivalent: float | None
    by_mean: float | None
    by_replicate: dict[int, float | None]


def compare(study: Study, baseline: str | None = None, test: Test = "t") -> list[Comparison]:
    """Each sample against the baseline (a sample's name) of its column; None: against the best.

    The best is chosen by the same numbers that it is tested on, which its p-values allow for (see
    `stats.best`) at the price of power: name a baseline to test a hypothesis that was there first.
    Columns that lack a named baseline are left out.

    Raises
    ------
    TableError
        When no sample has that name.
    """
    if baseline is not None:
        names = dict.fromkeys(one.name for one in study.samples)
        if baseline not in names:
            raise TableError(
                f"no method {baseline!r} to compare with; there are {'; '.join(names)}"
            )
    found = []
    for samples in study.columns().values():
        there = [one for one in samples if baseline in (None, one.name)]
        if there:
            correct = _of_best(study, samples, test) if baseline is None else _corrected
            found += _against(study.best(there), samples, test, correct)
    return found


def matches_dense(study: Study, margin: float = MARGIN, alpha: float = ALPHA) -> list[Match]:
    """Two one-sided tests of each sample against its dense runs; `margin` in the metric's unit.

    A sample that is the dense run itself (density 1) is left out.

    Raises
    ------
    TableError
        When the sweep has no dense runs, or the metric none of its own.
    """
    _check_dense(study)
    found: list[Match] = []
    for samples in _methods(study).values():
        pruned = [one for one in samples if one.dense and one.density < 1]
        tests = [_equivalence(one, margin, alpha) for one in pruned]
        p_values = _corrected([test.p if test else None for test in tests])
        found += map(Match, pruned, tests, p_values)
    return found


def sparsest_matching(
    study: Study, margin: float = MARGIN, tolerance: float = 0.0, alpha: float = ALPHA
) -> list[Sparsest]:
    """How far each method prunes without loss, three ways; units are the metric's.

    Raises
    ------
    TableError
        When the sweep has no dense runs, or the metric none of its own.
    """
    matches = matches_dense(study, margin, alpha)
    equal = {id(one.sample) for one in matches if one.p is not None and one.p < alpha}
    found = []
    for (network, dataset, name), samples in _methods(study).items():
        ahead = {one.density: _ahead(study, one) for one in samples}
        means = {d: mean(gaps.values()) for d, gaps in ahead.items() if gaps}
        replicates = sorted({number for gaps in ahead.values() for number in gaps})
        found.append(
            Sparsest(
                network,
                dataset,
                name,
                equivalent=min((one.density for one in samples if id(one) in equal), default=None),
                by_mean=_least(means, tolerance),
                by_replicate={
                    n: _least({d: g[n] for d, g in ahead.items() if n in g}, tolerance)
                    for n in replicates
                },
            )
        )
    return found


# ---------------------------------------------------------------- details


def _against(
    baseline: Sample, samples: Sequence[Sample], test: Test, correct: Correction
) -> list[Comparison]:
    tests = [None if one is baseline else _tested(one, baseline) for one in samples]
    p_values = correct([found.p(test) if found else None for found in tests])
    return [
        Comparison(one, baseline, found, p)
        for one, found, p in zip(samples, tests, p_values, strict=True)
        if one is not baseline
    ]


def _of_best(study: Study, samples: Sequence[Sample], test: Test) -> Correction:
    if test != "t":
        return stats.of_all_pairs
    best = list(map(id, samples)).index(id(study.best(samples)))
    values = [{n: study.metric.sign * x for n, x in one.values.items()} for one in samples]
    return lambda _: stats.worse_than_best(values, best)


def _tested(one: Sample, baseline: Sample) -> Paired | None:
    first, second = _shared(one.values, baseline.values)
    return stats.paired(first, second) if len(first) > 1 else None


def _equivalence(one: Sample, margin: float, alpha: float) -> Equivalence | None:
    first, second = _shared(one.values, one.dense)
    return stats.equivalent(first, second, margin, alpha) if len(first) > 1 else None


def _shared(one: dict[int, float], other: dict[int, float]) -> tuple[list[float], list[float]]:
    """Values of the replicates that both have, where both are finite (a loss may not be)."""
    both = sorted(n for n in one.keys() & other.keys() if isfinite(one[n]) and isfinite(other[n]))
    return [one[n] for n in both], [other[n] for n in both]


def _corrected(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's correction of those that are defined."""
    defined = iter(stats.holm([p for p in p_values if p is not None]))
    return [None if p is None else next(defined) for p in p_values]


def _methods(study: Study) -> dict[tuple[str, str, str], list[Sample]]:
    return selection.grouped(study.samples, lambda one: (one.network, one.dataset, one.name))


def _ahead(study: Study, one: Sample) -> dict[int, float]:
    """By how much each replicate is better than its dense run."""
    both = sorted(one.values.keys() & one.dense.keys())
    return {n: study.metric.sign * (one.values[n] - one.dense[n]) for n in both}


def _check_dense(study: Study) -> None:
    if study.metric.dense is None:
        raise TableError(f"{study.metric.column} has no dense network beside it; accuracy has")
    if not any(one.dense for one in study.samples):
        raise TableError(f"sweep {study.sweep} has no dense run to match: add `dense: true`")


def _least(ahead: dict[float, float], tolerance: float) -> float | None:
    """The sparsest density that is at most the tolerance behind, rounding aside."""
    least = -tolerance - _ROUNDING
    return min((density for density, by in ahead.items() if by >= least), default=None)
