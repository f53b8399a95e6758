"""Comparison with the best treatment: its error rate is as stated, and it finds differences."""

from collections.abc import Callable, Sequence
from math import inf, nan, sqrt
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from analysis.stats import of_all_pairs, worse_than_best

ALPHA = 0.05
DRAWS = 1000
AT_MOST = ALPHA + 3 * sqrt(ALPHA * (1 - ALPHA) / DRAWS)
"""The level, and three standard errors of the simulation."""


def found_worse(values: Any) -> list[bool]:
    """Return which treatments (rows; replicates are columns) are found worse than the best."""
    p_values = worse_than_best(
        [dict(enumerate(map(float, line))) for line in values], int(values.mean(axis=1).argmax())
    )
    return [p is not None and p < ALPHA for p in p_values]


def share(draw: Callable[[np.random.Generator], Any], equal: slice = slice(None)) -> float:
    """Return how often any of the equal treatments is called worse."""
    rng = np.random.default_rng(7)
    return sum(any(found_worse(draw(rng))[equal]) for _ in range(DRAWS)) / DRAWS


def noise(
    rng: np.random.Generator, methods: int, replicates: int, scales: Sequence[float] = (1,)
) -> Any:
    """Draw replicates that differ far more than methods do, as with other initial weights."""
    each = rng.normal(0, 1, (methods, replicates)) * np.array(scales)[:, None]
    return rng.normal(90, 5, replicates) + each


@pytest.mark.parametrize("replicates", [3, 5, 10])
@pytest.mark.parametrize("methods", [3, 7, 12])
def test_equal_methods_are_seldom_told_apart(methods: int, replicates: int) -> None:
    assert share(lambda rng: noise(rng, methods, replicates)) <= AT_MOST


SCALES: dict[str, Sequence[float]] = {
    "one is noisier": (10, 1, 1, 1, 1, 1, 1),
    "one is steadier": (0.1, 1, 1, 1, 1, 1, 1),
    "each is noisier than the one before": (1, 2, 4, 8, 16, 32, 64),
}


@pytest.mark.parametrize("name", SCALES)
def test_however_noisy_each_of_them_is(name: str) -> None:
    assert share(lambda rng: noise(rng, 7, 3, SCALES[name])) <= AT_MOST


def test_however_alike_some_of_them_are() -> None:
    def draw(rng: np.random.Generator) -> Any:
        return np.repeat(noise(rng, 3, 5), 3, axis=0) + rng.normal(0, 0.05, (9, 5))

    assert share(draw) <= AT_MOST


def test_whatever_the_noise_is_like() -> None:
    assert share(lambda rng: -rng.exponential(1, (7, 5))) <= AT_MOST
    assert share(lambda rng: rng.standard_t(3, (7, 3))) <= AT_MOST


def test_whichever_others_are_far_behind() -> None:
    """Treatments found worse leave the family; the error rate still holds for the rest."""
    behind = np.array([0, 0, 0, -3, -6, -20, -50])[:, None]
    assert share(lambda rng: noise(rng, 7, 5) + behind, slice(3)) <= AT_MOST


def test_replicates_that_some_lack_change_no_level() -> None:
    rng, wrong = np.random.default_rng(8), 0
    for _ in range(DRAWS):
        values = [dict(enumerate(map(float, line))) for line in noise(rng, 5, 6)]
        for one, lost in ((1, (0, 1)), (3, (4, 5)), (4, (2,))):
            for replicate in lost:
                del values[one][replicate]
        best = max(range(5), key=lambda n: np.mean([*values[n].values()]))
        wrong += any(p is not None and p < ALPHA for p in worse_than_best(values, best))
    assert wrong / DRAWS <= AT_MOST


@pytest.mark.parametrize(
    ("replicates", "at_least"), [(3, 0.08), (5, 0.5), (10, 0.97)], ids=["3", "5", "10"]
)
def test_what_is_three_deviations_behind_is_found(replicates: int, at_least: float) -> None:
    """And more often than by Holm's procedure over all pairs."""
    rng = np.random.default_rng(9)
    found, by_pairs = 0, 0
    for _ in range(300):
        values = noise(rng, 7, replicates)
        values[0] -= 3
        best = int(values.mean(axis=1).argmax())
        found += found_worse(values)[0]
        raw = [None if n == best else paired_p(values[best], x) for n, x in enumerate(values)]
        by_pairs += (of_all_pairs(raw)[0] or 1.0) < ALPHA
    assert found / 300 >= at_least
    assert found >= by_pairs
    assert replicates == 10 or found > by_pairs


def paired_p(first: Any, second: Any) -> float:
    return float(scipy_stats.ttest_rel(first, second).pvalue)


def test_of_two_it_is_the_paired_t_test() -> None:
    first, second = [91.0, 92.0, 90.5], [90.0, 91.5, 90.0]
    [_, p] = worse_than_best([dict(enumerate(first)), dict(enumerate(second))], 0)
    assert p == pytest.approx(paired_p(first, second))


def test_p_values_are_as_small_as_they_are() -> None:
    """Below the resolution of a simulation, the number of pairs bounds them."""
    values = np.random.default_rng(1).normal(0, 1e-4, (4, 10)) + np.array([[3.0], [2], [1], [0]])
    p_values = worse_than_best([dict(enumerate(map(float, line))) for line in values], 0)
    assert p_values[0] is None
    for p, line in zip(p_values[1:], values[1:], strict=True):
        raw = paired_p(values[0], line)
        assert p is not None
        assert raw <= p <= 6 * raw * (1 + 1e-9)


def test_where_no_test_is_defined_there_is_no_p_value() -> None:
    best = {0: 3.0, 1: 3.5, 2: 3.1}
    others = [{0: 2.0, 1: 2.5, 2: 2.1}, {0: 1.0}, {3: 1.0, 4: 1.0}, {0: nan, 1: inf, 2: 1.0}, {}]
    assert worse_than_best([best, *others], 0) == [None] * 6


def test_holm_over_all_pairs() -> None:
    assert of_all_pairs([None, 0.01, 0.02]) == pytest.approx([None, 0.03, 0.03])
    assert of_all_pairs([0.001, None, 0.02, None]) == pytest.approx([0.006, None, 0.06, None])
