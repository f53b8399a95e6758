"""Statistics against textbooks, brute force and simulation."""

from itertools import chain, combinations, product
from math import inf, nan
from statistics import mean

import numpy as np
import pytest
from scipy import stats as scipy_stats

from analysis.stats import (
    bootstrap,
    critical_difference,
    equivalent,
    holm,
    paired,
    ranking,
    summary,
)
from tombola.errors import StatisticsError

# Student (1908): hours of sleep gained by ten patients under two drugs; R's `sleep`.
SLEEP = (
    [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0],
    [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4],
)

# Demšar (2006), table 6: AUC of four variants of C4.5 on 14 data sets. The paper ranks the third
# above the fourth on the data set `voting`, where both print as 0.975.
DEMSAR = (
    (0.763, 0.768, 0.771, 0.798),
    (0.599, 0.591, 0.590, 0.569),
    (0.954, 0.971, 0.968, 0.967),
    (0.628, 0.661, 0.654, 0.657),
    (0.882, 0.888, 0.886, 0.898),
    (0.936, 0.931, 0.916, 0.931),
    (0.661, 0.668, 0.609, 0.685),
    (0.583, 0.583, 0.563, 0.625),
    (0.775, 0.838, 0.866, 0.875),
    (1.000, 1.000, 1.000, 1.000),
    (0.940, 0.962, 0.965, 0.962),
    (0.619, 0.666, 0.614, 0.669),
    (0.972, 0.981, 0.9751, 0.975),
    (0.957, 0.978, 0.946, 0.970),
)


# ---------------------------------------------------------------- spread


def test_the_confidence_interval_is_students() -> None:
    found = summary(SLEEP[1], "ci95")
    assert (found.low, found.high) == pytest.approx((0.898, 3.762), abs=1e-3)


@pytest.mark.parametrize("n", [2, 5, 9])
def test_a_small_bootstrap_is_that_of_every_resample(n: int) -> None:
    """For small n all n**n resamples can be listed; their percentiles are exact."""
    values = [3.0, 1.0, 4.0, 1.5, 5.0, 9.0, 2.0, 6.0, 5.3][:n]
    low, high = bootstrap(values)
    if n == 9:
        rng = np.random.default_rng(5)  # too many: other resamples, by another code
        means = rng.choice(values, (40_000, n)).mean(axis=1)
    else:
        means = np.array([mean(one) for one in product(values, repeat=n)])
    step = np.ptp(values) * 0.03
    for found, share in ((low, 0.025), (high, 0.975)):
        expected = np.quantile(means, share, method="inverted_cdf")
        assert found == pytest.approx(float(expected), abs=step)


def test_a_bootstrap_is_the_same_each_time_and_follows_skew() -> None:
    skewed = [0.0] * 10 + [1.0, 2.0, 8.0]
    low, high = bootstrap(skewed)
    assert bootstrap(skewed) == (low, high)
    centre = mean(skewed)
    assert high - centre > centre - low, "the long tail is above"
    assert bootstrap([2.0, 2.0, 2.0]) == (2.0, 2.0)
    shown = summary(skewed, "bootstrap", bounds=(0.4, 1.0))
    assert (shown.low, shown.high) == (0.4, 1.0)


def test_a_bootstrap_covers_what_it_says_with_enough_values() -> None:
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(300):
        low, high = bootstrap([*rng.normal(0.0, 1.0, 30)])
        inside += low < 0 < high
    assert 0.90 <= inside / 300 <= 0.98


@pytest.mark.parametrize("values", [[], [1.0], [1.0, nan], [1.0, inf]])
def test_a_bootstrap_refuses_what_it_cannot_do(values: list[float]) -> None:
    with pytest.raises(StatisticsError, match="at least two finite values"):
        bootstrap(values)


def test_runs_that_diverged_leave_no_spread() -> None:
    for spread in ("std", "minmax", "ci95", "bootstrap"):
        found = summary([1.0, nan], spread)  # type: ignore[arg-type]
        assert found.low != found.low
        assert found.n == 2


# ---------------------------------------------------------------- two methods


def test_the_paired_t_test_is_students_own() -> None:
    found = paired(*SLEEP)
    assert found.n == 10
    assert found.mean == pytest.approx(-1.58)
    assert found.t_p == pytest.approx(0.00283, abs=1e-5)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((-2.4599, -0.7001), abs=1e-4)
    assert found.effect == pytest.approx(-4.0621 / 10**0.5, abs=1e-4), "d_z is t / sqrt(n)"
    assert found.wilcoxon_p == pytest.approx(0.00390625), "all nine that differ: 2 / 2**9"


def test_wilcoxon_is_the_share_of_sign_flips() -> None:
    """By definition: the share of the 2**n sign assignments that are as extreme."""
    first, second = [1.1, 2.3, 2.9, 4.8, 5.0, 6.6], [1.0, 2.5, 2.5, 4.0, 4.5, 6.0]
    differences = [one - other for one, other in zip(first, second, strict=True)]
    ranks = scipy_stats.rankdata(np.abs(differences))
    seen = abs(sum(np.sign(differences) * ranks))
    ways = [abs(sum(np.array(s) * ranks)) for s in product((-1, 1), repeat=len(ranks))]
    expected = sum(way >= seen - 1e-9 for way in ways) / len(ways)
    assert paired(first, second).wilcoxon_p == pytest.approx(expected)
    assert paired([1.0, 2, 3, 4, 5], [0.0, 0.9, 1.8, 2.7, 3.6]).wilcoxon_p == 2 / 2**5


def test_differences_that_do_not_vary_have_no_t_test() -> None:
    same = paired([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert (same.mean, same.t_p, same.wilcoxon_p) == (0.0, None, 1.0)
    ahead = paired([90.1, 90.2, 90.3], [90.0, 90.1, 90.2])
    assert (ahead.t_p, ahead.interval, ahead.effect) == (None, None, None), "0.1 but for rounding"
    assert ahead.wilcoxon_p == pytest.approx(0.25)
    assert equivalent([90.1, 90.2], [90.0, 90.1], margin=1).p is None


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        ([1.0], [2.0], "at least two replicates"),
        ([1.0, 2.0], [1.0], "lists of equal length, not 2 and 1"),
        ([1.0, nan], [1.0, 2.0], "finite"),
    ],
)
def test_what_cannot_be_paired_is_refused(
    first: list[float], second: list[float], problem: str
) -> None:
    with pytest.raises(StatisticsError, match=problem):
        paired(first, second)
    with pytest.raises(StatisticsError, match=problem):
        equivalent(first, second, 1.0)


def test_the_t_test_errs_as_often_as_it_says() -> None:
    """Noise that the methods of a replicate share cancels; only differences within it count."""
    rng = np.random.default_rng(2)
    wrong = 0
    for _ in range(1000):
        shared = rng.normal(90.0, 5.0, 5)
        found = paired([*(shared + rng.normal(0, 1, 5))], [*(shared + rng.normal(0, 1, 5))])
        wrong += found.t_p is not None and found.t_p < 0.05
    assert 0.035 <= wrong / 1000 <= 0.065


# ---------------------------------------------------------------- equivalence


def test_equivalence_is_an_interval_within_the_margin() -> None:
    """Schuirmann: p < alpha exactly when the 1 - 2 alpha interval lies within the margin."""
    rng = np.random.default_rng(3)
    shown = 0
    for _ in range(200):
        second = rng.normal(0, 1, 6)
        first = second + rng.normal(0.2, 0.5, 6)
        found = equivalent([*first], [*second], margin=0.6)
        t = scipy_stats.ttest_rel(first, second)
        low, high = t.confidence_interval(0.9)
        assert found.p is not None
        assert found.interval is not None
        assert (found.interval.low, found.interval.high) == pytest.approx((low, high))
        assert (found.p < 0.05) == (low > -0.6 and high < 0.6)
        shown += found.p < 0.05
    assert 0 < shown < 200


def test_equivalence_is_seldom_shown_at_the_margin() -> None:
    rng = np.random.default_rng(4)
    wrong = 0
    for _ in range(1000):
        found = equivalent([*rng.normal(0.5, 0.2, 8)], [0.0] * 8, margin=0.5)
        wrong += found.p is not None and found.p < 0.05
    assert 0.035 <= wrong / 1000 <= 0.065


@pytest.mark.parametrize("margin", [0.0, -1.0, nan])
def test_a_margin_is_positive(margin: float) -> None:
    with pytest.raises(StatisticsError, match="above 0"):
        equivalent([1.0, 2.0], [1.0, 2.5], margin)


# ---------------------------------------------------------------- families


def test_holm_as_in_r() -> None:
    assert holm([0.01, 0.02, 0.03, 0.04]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert holm([0.04, 0.6, 0.001]) == pytest.approx([0.08, 0.6, 0.003])
    assert holm([]) == []


def test_holm_is_the_closure_of_bonferroni() -> None:
    """By brute force: a hypothesis is rejected if every subset that holds it is rejected."""
    rng = np.random.default_rng(6)
    for _ in range(50):
        p = [*rng.uniform(0, 0.3, 5)]
        subsets = [*chain.from_iterable(combinations(range(5), n) for n in range(1, 6))]
        closed = [
            max(min(1.0, len(s) * min(p[j] for j in s)) for s in subsets if i in s)
            for i in range(5)
        ]
        assert holm(p) == pytest.approx(closed)


# ---------------------------------------------------------------- rankings


def test_the_ranking_of_demsars_paper() -> None:
    found = ranking(DEMSAR)
    assert found.mean_ranks == pytest.approx((3.143, 2.000, 2.893, 1.964), abs=5e-4)
    assert found.critical_difference == pytest.approx(1.25, abs=5e-3)
    assert ranking(DEMSAR, alpha=0.1).critical_difference == pytest.approx(1.12, abs=5e-3)
    # The paper's 9.28 has no correction for ties (in five of the data sets, two by two or four).
    ties = 1 - sum(
        (4**3 - 4) * (row.count(1.0) == 4) + 6 * (len({*row}) == 3) for row in DEMSAR
    ) / (14 * (4**3 - 4))
    assert found.statistic * ties == pytest.approx(9.28, abs=0.01)
    assert found.p < 0.05
    assert found.cliques() == [(3, 1, 2, 0)], "within 1.25 of one another: none differ"


@pytest.mark.parametrize(
    ("methods", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)]
)
def test_nemenyis_quantiles_are_those_of_table_5(methods: int, q: float) -> None:
    scaled = critical_difference(methods, 10) / (methods * (methods + 1) / 60) ** 0.5
    assert scaled == pytest.approx(q, abs=1e-3)


def test_cliques_are_the_largest_groups_that_do_not_differ() -> None:
    order = [[float(m) for m in (5, 4, 3, 2, 1)]] * 10
    found = ranking(order)
    assert found.mean_ranks == (1, 2, 3, 4, 5)
    assert 1 < found.critical_difference < 2
    assert found.cliques() == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert ranking([[1.0, 1.0, 1.0]] * 4).p == 1.0


@pytest.mark.parametrize(
    ("scores", "problem"),
    [
        ([], "two problems and three methods"),
        ([[1.0, 2.0, 3.0]], "two problems and three methods"),
        ([[1.0, 2.0]] * 3, "two problems and three methods"),
        ([[1.0, 2.0, 3.0], [1.0, 2.0]], "a finite score for each"),
        ([[1.0, 2.0, nan]] * 2, "a finite score for each"),
    ],
)
def test_what_cannot_be_ranked_is_refused(scores: list[list[float]], problem: str) -> None:
    with pytest.raises(StatisticsError, match=problem):
        ranking(scores)
