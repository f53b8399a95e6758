"""N:M blocks and Gem-Miner."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.data.batches import load
from tasks.masks import count
from tasks.networks.build import build, initial_weights
from tasks.pruning.gem_miner import mine
from tasks.pruning.n_of_m import n_of_m
from tasks.pruning.prune import prune
from tasks.training.evaluation import evaluate
from tasks.values.scores import GemMiner, Magnitude, NofM, Random
from tasks.values.training import Dataset, Init, Network

DIGITS = Dataset(name="digits")
LENET = Network(name="lenet_300_100", input_shape=(1, 8, 8), classes=10)
CONV = Network(name="conv2_bn", input_shape=(1, 8, 8), classes=10)


@given(
    m=st.integers(2, 8),
    n=st.integers(1, 7),
    rows=st.integers(1, 5),
    blocks=st.integers(1, 4),
    levels=st.integers(1, 5),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_every_block_keeps_exactly_its_n_best(m, n, rows, blocks, levels, seed) -> None:
    n = min(n, m - 1)
    draws = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, levels, (rows, blocks * m), generator=draws).float()
    kept, whole = n_of_m({"w": scores}, n, m)
    assert whole == ()
    for row, mask in zip(scores.reshape(-1, m), kept["w"].reshape(-1, m), strict=True):
        best = sorted(range(m), key=lambda i: (-float(row[i]), i))[:n]
        assert mask.nonzero().flatten().tolist() == sorted(best)


def test_blocks_of_a_convolution_run_over_its_input_channels() -> None:
    scores = torch.rand(6, 8, 3, 3, generator=torch.Generator().manual_seed(0))
    kept, _ = n_of_m({"conv": scores}, 2, 4)
    groups = kept["conv"].permute(0, 2, 3, 1).reshape(-1, 4)
    assert (groups.sum(1) == 2).all()


def test_what_does_not_divide_stays_dense_and_is_named() -> None:
    draws = torch.Generator().manual_seed(0)
    scores = {"a": torch.rand(4, 3, 3, 3, generator=draws), "b": torch.rand(4, 8, generator=draws)}
    kept, whole = n_of_m(scores, 2, 4)
    assert whole == ("a",)
    assert kept["a"].all()
    assert count({"b": kept["b"]}) == 16


def test_two_of_four_is_a_mask_of_half_the_weights() -> None:
    weights = initial_weights(LENET, Init(seed=0))
    found = prune(LENET, Magnitude(), weights, 0.5, pattern=NofM(n=2, m=4)).kept
    assert all(2 * int(kept.sum()) == kept.numel() for kept in found.values())


# ---------------------------------------------------------------- Gem-Miner

MINER = GemMiner(
    dataset=DIGITS, seed=0, steps=240, period=40, lr=0.5, batch_size=64, regularization=1e-6
)


@pytest.fixture(scope="module")
def mined():
    weights = initial_weights(LENET, Init(seed=0))
    return weights, mine(LENET, weights, load(DIGITS), 0.2, MINER)


def test_the_count_after_every_freezing_is_exact(mined) -> None:
    _, found = mined
    size = 50_200
    steps, left, _ = zip(*found.history, strict=True)
    assert steps == (40, 80, 120, 160, 200, 240)
    assert left == tuple(round(size * 0.2 ** (k / 6)) for k in range(1, 7))
    assert count(found.kept) == round(0.2 * size)


def test_the_search_is_determined_by_its_seed(mined) -> None:
    weights, found = mined
    again = mine(LENET, weights, load(DIGITS), 0.2, MINER)
    assert all(torch.equal(found.kept[n], again.kept[n]) for n in found.kept)
    other = prune(LENET, MINER, weights, 0.2, data=load(DIGITS)).kept
    assert all(torch.equal(found.kept[n], other[n]) for n in found.kept)


def test_untrained_weights_under_the_mined_mask_classify(mined) -> None:
    weights, found = mined

    def accuracy(kept) -> float:
        masked = {n: t * kept[n] if n in kept else t for n, t in weights.items()}
        return evaluate(build(LENET), masked, load(DIGITS), 0, ("test",))[0].accuracy

    random = prune(LENET, Random(seed=0), None, 0.2).kept
    assert accuracy(found.kept) > 0.6
    assert accuracy(random) < 0.3


@pytest.mark.parametrize(
    "changes", [{"period": 0}, {"period": 500}, {"lr": 0}, {"momentum": 1}, {"regularization": -1}]
)
def test_impossible_searches_are_refused(changes) -> None:
    fields = {"dataset": DIGITS, "seed": 0, "steps": 240, "period": 40}
    with pytest.raises(ValueError, match="gem_miner takes"):
        GemMiner(**{**fields, **changes})
