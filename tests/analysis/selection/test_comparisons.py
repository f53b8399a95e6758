"""Comparisons from a store: replicates are paired, settings never mix, nothing is hidden."""

from pathlib import Path
from typing import Any, Literal

import pytest
from scipy import stats as scipy_stats

from analysis.database.connection import connect
from analysis.selection import comparisons, samples
from analysis.selection.options import StepOptions
from analysis.selection.samples import Study
from tests.support import build_store
from tests.support.build_store import Row, key_of, mask_row, run_row, trial, write_live
from tombola.errors import FigureError, TableError

NOISE = (0.0, 0.011, -0.008, 0.004, 0.013)
"""Of replicates: shared by all methods, far larger than what is between them."""

JITTER = {"imp": (0.001, -0.001, 0.002, 0.0, -0.002), "snip": (-0.001, 0.001, 0.0, 0.002, -0.001)}
GAP = {"imp": {0.5: 0.001, 0.1: -0.002}, "snip": {0.5: 0.0, 0.1: -0.05}}


def accuracy(row: Row) -> float:
    """Return 0.9 and the replicate's noise for dense, and values near it for methods."""
    base = 0.9 + NOISE[row["replicate"]]
    if row["method"] == "dense":
        return base
    of = row["method"]
    return base + GAP[of][row["requested_density"]] + JITTER[of][row["replicate"]]


def written(store: Path, **changes: Any) -> Path:
    axes: dict[str, Any] = {"methods": ("snip", "imp"), "replicates": range(5), **changes}
    build_store.Study(accuracy, **axes).write(store)
    return store


def read(store: Path, densities: tuple[float, ...] = (), **options: Any) -> Study:
    with connect(store) as connection:
        return samples.read(connection, "study", StepOptions(**options), densities)


# ---------------------------------------------------------------- samples


def test_samples_are_replicates_by_method_and_density(tmp_path: Path) -> None:
    study = read(written(tmp_path))
    assert [(one.name, one.density, one.n) for one in study.samples] == [
        (name, density, 5) for density in (0.5, 0.1) for name in ("SNIP", "IMP")
    ]
    sparse = study.samples[2]
    expected = {n: 100 * (0.85 + NOISE[n] + JITTER["snip"][n]) for n in range(5)}
    assert sparse.values == pytest.approx(expected)
    assert sparse.dense == pytest.approx({n: 100 * (0.9 + NOISE[n]) for n in range(5)})
    assert len(study.runs) == 5 * (1 + 4)
    [dense] = study.dense
    assert (dense.name, dense.n) == ("Dense", 5)


def test_settings_and_ablations_are_samples_of_their_own(tmp_path: Path) -> None:
    rates: list[Row] = [{"lr": 0.1}, {"lr": 0.03}]
    store = written(tmp_path, settings=rates, ablations=("none", "shuffle"))
    study = read(store, methods=("snip",), ablations=("none", "shuffle"))
    names = {f"SNIP, lr {lr}{a}" for lr in (0.1, 0.03) for a in ("", ", shuffled")}
    assert {one.name for one in study.samples} == names
    assert {one.n for one in study.samples} == {5}
    assert [one.name for one in study.dense] == ["Dense, lr 0.1", "Dense, lr 0.03"]
    assert {one.baseline.name for one in comparisons.compare(study, "SNIP, lr 0.1")} == {
        "SNIP, lr 0.1"
    }


def test_a_run_that_answers_two_trials_is_one_replicate(tmp_path: Path) -> None:
    run, mask = key_of("one"), key_of("mask")
    rows = [trial(run, grid=grid, mask_key=mask) for grid in (0, 1)]
    build_store.write_sweep(tmp_path, "study", rows)
    write_live(tmp_path, run_row(run, 0.75))
    write_live(tmp_path, mask_row(mask, 0.5, [50]))
    [one] = read(tmp_path).samples
    assert (one.values, one.std) == ({0: 75.0}, None)
    assert comparisons.compare(read(tmp_path)) == []


def test_densities_are_asked_for_as_people_read_them(tmp_path: Path) -> None:
    store = written(tmp_path)
    study = read(store, (0.1004,))
    assert {one.density for one in study.samples} == {0.1}
    assert len(study.runs) == 5 * 3, "only what is shown, and dense"
    with pytest.raises(TableError, match=r"no trial at density 0\.3; there are 0\.5, 0\.1"):
        read(store, (0.5, 0.3))


@pytest.mark.parametrize(
    ("options", "error", "problem"),
    [
        ({"metric": "acuracy"}, TableError, "no metric 'acuracy'; known: accuracy, delta"),
        (
            {"methods": ("snip", "synflow")},
            TableError,
            "no finished trial of synflow; it has imp, snip",
        ),
        ({"methods": ("synflow",)}, FigureError, "it has methods imp, snip"),
        ({"metric": "barrier"}, FigureError, "it takes grids with `measure: barrier`"),
    ],
)
def test_what_the_sweep_has_not_is_told(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], problem: str
) -> None:
    with pytest.raises(error, match=problem):
        read(written(tmp_path), **options)


# ---------------------------------------------------------------- against a baseline


def test_pairs_are_replicates_and_families_are_columns(tmp_path: Path) -> None:
    study = read(written(tmp_path))
    dense_column, sparse_column = comparisons.compare(study, baseline="SNIP")
    for found, density in ((dense_column, 0.5), (sparse_column, 0.1)):
        assert (found.sample.name, found.baseline.name, found.sample.density) == (
            "IMP",
            "SNIP",
            density,
        )
        first, second = ([*one.values.values()] for one in (found.sample, found.baseline))
        assert found.paired is not None
        assert (
            found.p
            == found.paired.t_p
            == pytest.approx(scipy_stats.ttest_rel(first, second).pvalue)
        )
    assert dense_column.p is not None
    assert sparse_column.p is not None
    assert sparse_column.p < 0.001 < 0.05 < dense_column.p, "the shared noise cancels"
    unpaired = scipy_stats.ttest_ind([*sparse_column.sample.values.values()], second).pvalue
    assert unpaired > sparse_column.p


def test_the_best_is_the_baseline_unless_one_is_named(tmp_path: Path) -> None:
    study = read(written(tmp_path))
    assert {one.baseline.name for one in comparisons.compare(study)} == {"IMP"}
    with pytest.raises(TableError, match="no method 'Snip' to compare with; there are SNIP; IMP"):
        comparisons.compare(study, baseline="Snip")


def test_less_is_better_for_a_loss(tmp_path: Path) -> None:
    study = read(written(tmp_path), metric="loss")
    assert {one.baseline.name for one in comparisons.compare(study)} == {"IMP"}, "1 - accuracy"


def test_holm_counts_the_methods_of_a_column(tmp_path: Path) -> None:
    def of(row: Row) -> float:
        shift = {"snip": 0.0, "grasp": 0.004, "synflow": 0.009}.get(row["method"], 0.0)
        return 0.9 + shift + ((row["replicate"] * 7 + len(row["method"])) % 5) / 1000

    build_store.Study(of, ("snip", "grasp", "synflow"), replicates=range(5)).write(tmp_path)
    for density in (0.5, 0.1):
        compared = comparisons.compare(read(tmp_path), baseline="SynFlow")
        found = [c for c in compared if c.sample.density == density]
        raw = sorted(c.paired.t_p or 0 for c in found if c.paired)
        assert sorted(c.p or 0 for c in found) == pytest.approx(
            [min(1, 2 * raw[0]), max(2 * raw[0], raw[1])]
        )


@pytest.mark.parametrize("test", ["t", "wilcoxon"])
def test_against_the_best_p_values_allow_for_its_choice(
    tmp_path: Path, test: Literal["t", "wilcoxon"]
) -> None:
    def of(row: Row) -> float:
        return 0.9 + (row["replicate"] * len(row["method"]) ** 2 % 7) / 1000

    build_store.Study(of, ("snip", "grasp", "synflow"), replicates=range(5)).write(tmp_path)
    for metric in ("accuracy", "loss"):
        study = read(tmp_path, metric=metric)
        allowed = comparisons.compare(study, test=test)
        named = [
            other
            for one in allowed
            for other in comparisons.compare(study, one.baseline.name, test)
            if other.sample is one.sample
        ]
        assert [one.paired for one in allowed] == [one.paired for one in named]
        pairs = [(one.p or 0, other.p or 0) for one, other in zip(allowed, named, strict=True)]
        assert all(p >= alone > 0 for p, alone in pairs)
        assert any(p > alone for p, alone in pairs)


def test_too_few_shared_replicates_are_no_test(tmp_path: Path) -> None:
    store = tmp_path
    rows = build_store.Study(accuracy, ("snip", "imp"), (0.5,), replicates=range(5)).trials()
    build_store.write_sweep(store, "study", rows)
    for one in rows:
        there = {"dense": range(5), "snip": (0, 1, 2), "imp": (2, 3, 4)}[one["method"]]
        if one["replicate"] in there:
            write_live(store, run_row(one["run_key"], accuracy(one)))
            if one.get("mask_key"):
                write_live(store, mask_row(one["mask_key"], 0.5, [1]))
    [found] = comparisons.compare(read(store))
    assert (found.sample.n, found.paired, found.p) == (3, None, None)


# ---------------------------------------------------------------- against dense


def test_matching_dense_is_shown_within_the_margin(tmp_path: Path) -> None:
    study = read(written(tmp_path))
    found = {(one.sample.name, one.sample.density): one for one in comparisons.matches_dense(study)}
    matching = {key for key, one in found.items() if one.p is not None and one.p < 0.05}
    assert matching == {("IMP", 0.5), ("SNIP", 0.5), ("IMP", 0.1)}
    one = found["IMP", 0.1]
    gaps = [-0.2 + 100 * j for j in JITTER["imp"]]
    assert one.equivalence is not None
    assert one.equivalence.mean == pytest.approx(-0.2)
    raw = scipy_stats.ttest_1samp(gaps, -0.5, alternative="greater").pvalue
    assert one.equivalence.p == pytest.approx(raw)
    other = found["IMP", 0.5].equivalence
    assert other is not None
    assert other.p is not None
    assert one.p == pytest.approx(max(raw, min(2 * raw, 2 * other.p)))
    strict = comparisons.matches_dense(study, margin=0.05)
    assert all(one.p is None or one.p > 0.05 for one in strict)


def test_the_sparsest_that_matches_three_ways(tmp_path: Path) -> None:
    snip, imp = comparisons.sparsest_matching(read(written(tmp_path)))
    assert (snip.name, snip.equivalent, imp.equivalent) == ("SNIP", 0.5, 0.1)
    assert (snip.by_mean, imp.by_mean) == (None if sum(JITTER["snip"]) < 0 else 0.5, 0.5)
    gains = {n: {d: GAP["imp"][d] + JITTER["imp"][n] for d in (0.5, 0.1)} for n in range(5)}
    expected = {
        n: min((d for d, gain in of.items() if gain >= -1e-12), default=None)
        for n, of in gains.items()
    }
    assert imp.by_replicate == expected
    [_, loose] = comparisons.sparsest_matching(read(tmp_path), tolerance=0.45)
    assert (loose.by_mean, set(loose.by_replicate.values())) == (0.1, {0.1})


def test_what_has_no_dense_network_says_so(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="loss has no dense network beside it; accuracy has"):
        comparisons.matches_dense(read(written(tmp_path / "a"), metric="loss"))
    rows = [
        trial(key_of(n), replicate=n, mask_key=key_of("m", n), dense_key=None) for n in range(2)
    ]
    build_store.write_sweep(tmp_path / "b", "study", rows)
    for n in range(2):
        write_live(tmp_path / "b", run_row(key_of(n)))
        write_live(tmp_path / "b", mask_row(key_of("m", n), 0.5, [1]))
    with pytest.raises(TableError, match="no dense run to match: add `dense: true`"):
        comparisons.sparsest_matching(read(tmp_path / "b"))
