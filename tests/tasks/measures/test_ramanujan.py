"""Ramanujan scores against eigenvalues of explicit adjacency matrices, and known graphs."""

from collections import Counter
from math import sqrt

import numpy as np
import pytest
import torch

from tasks.measures.ramanujan import ramanujan


def oracle_gap(mask: np.ndarray) -> tuple[float, float, float, float] | None:
    """Return Δr, its bound, μ₀ and μ̂ of a (right, left) mask, by the whole adjacency matrix."""
    mask = mask[mask.any(axis=1)][:, mask.any(axis=0)].astype(float)
    right, left = mask.shape
    adjacency = np.block([[np.zeros((left, left)), mask.T], [mask, np.zeros((right, right))]])
    degrees = adjacency.sum(axis=0)
    d_l, d_r = degrees[:left], degrees[left:]
    if not mask.size or min(d_l.mean(), d_r.mean()) < 3:
        return None
    eigenvalues = np.sort(np.abs(np.linalg.eigvalsh(adjacency)))[::-1]
    bound = sqrt(d_l.mean() - 1) + sqrt(d_r.mean() - 1)
    return bound - eigenvalues[2], bound, eigenvalues[0], eigenvalues[2]


def oracle_imdb(mask: np.ndarray) -> tuple[float, float] | None:
    degrees = mask.sum(axis=0)
    gaps = [
        oracle_gap(mask[:, degrees == degree])
        for degree, nodes in Counter(degrees.tolist()).items()
        if degree and nodes >= 3
    ]
    found = [gap for gap in gaps if gap is not None]
    if not found:
        return None
    return float(np.mean([g[0] for g in found])), float(np.mean([g[0] / g[1] for g in found]))


@pytest.mark.parametrize("density", [0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(12, 20), (20, 12), (8, 3, 3, 3), (16, 4, 1, 1)])
@pytest.mark.parametrize("seed", range(3))
def test_random_masks(shape: tuple[int, ...], density: float, seed: int) -> None:
    kept = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < density
    mask = kept.flatten(1).numpy()
    expected, found = oracle_gap(mask), ramanujan(kept)
    if expected is None:
        assert found is None
        return
    assert found is not None
    gap, _, largest, nontrivial = expected
    assert found.delta_regular == pytest.approx(gap, abs=1e-9)
    assert found.delta_spectral == pytest.approx(2 * sqrt(largest - 1) - nontrivial, abs=1e-9)
    means = oracle_imdb(mask) or (None, None)
    assert (found.imdb, found.imdb_normalised) == pytest.approx(means, abs=1e-9)
    left, right = mask.any(axis=0).sum(), mask.any(axis=1).sum()
    d_l = mask.sum() / left
    mixing = (nontrivial**2 / 4 + 1) * sqrt(left * right)
    deviation = abs(2 * mask.sum() - d_l / mask.shape[0] * left * right)
    assert found.random_bound == pytest.approx((mixing - deviation) / mask.size, abs=1e-9)


@pytest.mark.parametrize(("left", "right"), [(3, 3), (5, 4), (10, 30)])
def test_a_complete_graph_has_eigenvalues_plus_and_minus_the_root_of_mn_and_zeros(
    left: int, right: int
) -> None:
    found = ramanujan(torch.ones(right, left).bool())
    assert found is not None
    bound = sqrt(right - 1) + sqrt(left - 1)
    assert found.delta_regular == pytest.approx(bound)
    assert found.delta_spectral == pytest.approx(2 * sqrt(sqrt(left * right) - 1))
    assert found.imdb == pytest.approx(bound)
    assert found.imdb_normalised == pytest.approx(1)
    assert found.random_bound == pytest.approx(1 / sqrt(left * right) - 1)


def test_the_heawood_graph_is_ramanujan() -> None:
    """Points and lines of the Fano plane: eigenvalues ±3 and ±√2."""
    lines = [(0, 1, 2), (0, 3, 4), (0, 5, 6), (1, 3, 5), (1, 4, 6), (2, 3, 6), (2, 4, 5)]
    kept = torch.zeros(7, 7).bool()
    for row, line in enumerate(lines):
        kept[row, list(line)] = True
    found = ramanujan(kept)
    assert found is not None
    assert found.delta_regular == pytest.approx(sqrt(2))
    assert found.delta_spectral == pytest.approx(sqrt(2))
    assert found.imdb == pytest.approx(sqrt(2))


def test_a_graph_in_two_parts_is_not_ramanujan() -> None:
    """Two complete graphs side by side have the largest eigenvalue twice."""
    kept = torch.block_diag(torch.ones(9, 9), torch.ones(9, 9)).bool()
    found = ramanujan(kept)
    assert found is not None
    assert found.delta_regular == pytest.approx(2 * sqrt(8) - 9)
    assert found.delta_regular < 0


def test_units_without_edges_are_left_out() -> None:
    kept = torch.zeros(9, 11).bool()
    kept[2:6, 3:8] = True
    small, large = ramanujan(kept[2:6, 3:8]), ramanujan(kept)
    assert small is not None
    assert large is not None
    assert large.delta_regular == pytest.approx(small.delta_regular)
    assert large.imdb == pytest.approx(small.imdb)


@pytest.mark.parametrize("kept", [torch.zeros(4, 4), torch.eye(8), torch.ones(2, 50)])
def test_a_mean_degree_below_three_has_no_score(kept: torch.Tensor) -> None:
    assert ramanujan(kept.bool()) is None


def test_no_imdb_where_fewer_than_three_inputs_share_a_degree() -> None:
    """Degrees 3, 3, 4, 4, 5, 5 of six inputs."""
    kept = torch.arange(5)[:, None] < torch.tensor([3, 3, 4, 4, 5, 5])
    found = ramanujan(kept)
    assert found is not None
    assert found.imdb is None
    assert found.imdb_normalised is None
