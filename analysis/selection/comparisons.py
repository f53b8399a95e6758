"""Comparisons of methods with each other and with the dense network, paired by replicate.

These are pure functions of a study's samples. Differences are in the metric's unit: of
accuracies, in points.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import mean
from typing import TypeAlias

from analysis import stats
from analysis.selection import selection
from analysis.selection.samples import Sample, Study
from analysis.stats import ALPHA, Equivalence, Paired, Test
from tombola.errors import TableError

MARGIN = 0.5
"""Default margin, in accuracy points, within which a network matches the dense one."""

_ROUNDING = 1e-9

Correction: TypeAlias = Callable[[Sequence[float | None]], list[float | None]]
"""Function from p-values to corrected p-values, in the same order; None stays None."""


@dataclass(frozen=True)
class Comparison:
    """Comparison of a sample with the baseline of its column.

    `paired` is None if the two share fewer than two replicates. `p` is corrected for all
    comparisons of the column: by Holm's procedure for a named baseline, by stats/best.py for the
    best sample. It is None if the test is not defined.
    """

    sample: Sample
    baseline: Sample
    paired: Paired | None
    p: float | None


@dataclass(frozen=True)
class Match:
    """Equivalence test of a sample and the dense network.

    `p` is the p-value of TOST, corrected by Holm's procedure over the densities of the method. It
    is None if fewer than two replicates are shared, or all differences are equal.
    """

    sample: Sample
    equivalence: Equivalence | None
    p: float | None


@dataclass(frozen=True)
class Sparsest:
    """Sparsest densities at which a method is as good as dense, by three criteria; or None.

    `equivalent`: TOST shows equivalence. `by_mean`: mean ≥ dense mean − tolerance.
    `by_replicate`: the same in each replicate (with tolerance 0, the winning tickets of Frankle and
    Carbin 2019).
    """

    network: str
    dataset: str
    name: str
    equivalent: float | None
    by_mean: float | None
    by_replicate: dict[int, float | None]


def compare(study: Study, baseline: str | None = None, test: Test = "t") -> list[Comparison]:
    """Compare each sample with the baseline of its column: a sample's name, or None for the best.

    The best sample is chosen by the values that are tested. Its p-values are corrected for that
    choice (see stats/best.py), which costs power. To test a hypothesis that you had before, name
    a baseline. Columns without the named baseline are left out.

    Raises
    ------
    TableError
        When no sample has the name of the baseline.
    """
    if baseline is not None:
        names = dict.fromkeys(sample.name for sample in study.samples)
        if baseline not in names:
            raise TableError(
                f"no method {baseline!r} to compare with; there are {'; '.join(names)}"
            )
    comparisons = []
    for samples in study.columns().values():
        candidates = [sample for sample in samples if baseline in (None, sample.name)]
        if candidates:
            correct = _of_best(study, samples, test) if baseline is None else _corrected
            comparisons += _against(study.best(candidates), samples, test, correct)
    return comparisons


def matches_dense(study: Study, margin: float = MARGIN, alpha: float = ALPHA) -> list[Match]:
    """Test each sample for equivalence with its dense runs (two one-sided tests).

    `margin` is in the metric's unit. Samples of density 1 are left out.

    Raises
    ------
    TableError
        When the sweep has no dense runs, or the metric is not defined for them.
    """
    _check_dense(study)
    matches: list[Match] = []
    for samples in _methods(study).values():
        pruned = [sample for sample in samples if sample.dense and sample.density < 1]
        tests = [_equivalence(sample, margin, alpha) for sample in pruned]
        p_values = _corrected([test.p if test else None for test in tests])
        matches += map(Match, pruned, tests, p_values)
    return matches


def sparsest_matching(
    study: Study, margin: float = MARGIN, tolerance: float = 0.0, alpha: float = ALPHA
) -> list[Sparsest]:
    """Return the sparsest densities at which each method matches dense, by three criteria.

    `margin` and `tolerance` are in the metric's unit.

    Raises
    ------
    TableError
        When the sweep has no dense runs, or the metric is not defined for them.
    """
    matches = matches_dense(study, margin, alpha)
    equal = {id(match.sample) for match in matches if match.p is not None and match.p < alpha}
    sparsest = []
    for (network, dataset, name), samples in _methods(study).items():
        ahead = {sample.density: _ahead(study, sample) for sample in samples}
        means = {d: mean(gaps.values()) for d, gaps in ahead.items() if gaps}
        replicates = sorted({number for gaps in ahead.values() for number in gaps})
        sparsest.append(
            Sparsest(
                network,
                dataset,
                name,
                equivalent=min(
                    (sample.density for sample in samples if id(sample) in equal), default=None
                ),
                by_mean=_least(means, tolerance),
                by_replicate={
                    n: _least({d: g[n] for d, g in ahead.items() if n in g}, tolerance)
                    for n in replicates
                },
            )
        )
    return sparsest


# ---------------------------------------------------------------- details


def _against(
    baseline: Sample, samples: Sequence[Sample], test: Test, correct: Correction
) -> list[Comparison]:
    tests = [None if sample is baseline else _tested(sample, baseline) for sample in samples]
    p_values = correct([pair.p(test) if pair else None for pair in tests])
    return [
        Comparison(sample, baseline, pair, p)
        for sample, pair, p in zip(samples, tests, p_values, strict=True)
        if sample is not baseline
    ]


def _of_best(study: Study, samples: Sequence[Sample], test: Test) -> Correction:
    if test != "t":
        return stats.of_all_pairs
    best = list(map(id, samples)).index(id(study.best(samples)))
    values = [{n: study.metric.sign * x for n, x in sample.values.items()} for sample in samples]
    return lambda _: stats.worse_than_best(values, best)


def _tested(sample: Sample, baseline: Sample) -> Paired | None:
    first, second = _shared(sample.values, baseline.values)
    return stats.paired(first, second) if len(first) > 1 else None


def _equivalence(sample: Sample, margin: float, alpha: float) -> Equivalence | None:
    first, second = _shared(sample.values, sample.dense)
    return stats.equivalent(first, second, margin, alpha) if len(first) > 1 else None


def _shared(first: dict[int, float], second: dict[int, float]) -> tuple[list[float], list[float]]:
    """Return the values of the replicates that both have, if both are finite."""
    both = sorted(
        n for n in first.keys() & second.keys() if isfinite(first[n]) and isfinite(second[n])
    )
    return [first[n] for n in both], [second[n] for n in both]


def _corrected(p_values: Sequence[float | None]) -> list[float | None]:
    """Return the p-values with Holm's correction; None stays None."""
    defined = iter(stats.holm([p for p in p_values if p is not None]))
    return [None if p is None else next(defined) for p in p_values]


def _methods(study: Study) -> dict[tuple[str, str, str], list[Sample]]:
    return selection.grouped(
        study.samples, lambda sample: (sample.network, sample.dataset, sample.name)
    )


def _ahead(study: Study, sample: Sample) -> dict[int, float]:
    """Return by how much each replicate is better than its dense run."""
    both = sorted(sample.values.keys() & sample.dense.keys())
    return {n: study.metric.sign * (sample.values[n] - sample.dense[n]) for n in both}


def _check_dense(study: Study) -> None:
    if study.metric.dense is None:
        raise TableError(f"{study.metric.column} has no dense network beside it; accuracy has")
    if not any(sample.dense for sample in study.samples):
        raise TableError(f"sweep {study.sweep} has no dense run to match: add `dense: true`")


def _least(ahead: dict[float, float], tolerance: float) -> float | None:
    """Return the sparsest density whose deficit is at most the tolerance, up to rounding."""
    least = -tolerance - _ROUNDING
    return min((density for density, by in ahead.items() if by >= least), default=None)
