"""The training loop against PyTorch's own optimizer, and what masks and streams promise."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from tasks import streams
from tasks.data import load
from tasks.masks import Kept
from tasks.networks.build import build, initial_weights, prunable
from tasks.prune import prune
from tasks.spec import Constant, Cosine, Dataset, Init, Network, Random, Recipe, StepDecay
from tasks.train import MaskViolation, _check_masks, learning_rate, train

DATA = load(Dataset(name="digits"))
ALL = DATA.train.batch(torch.arange(len(DATA.train))).images
LENET = Network(name="lenet_300_100", input_shape=(1, 8, 8), classes=10)
CONV = Network(name="conv2_bn", input_shape=(1, 8, 8), classes=10)
RECIPE = Recipe(
    steps=40, batch_size=64, lr=0.05, evaluate_every=10, momentum=0.9, weight_decay=1e-3, warmup=5
)


def half(network: Network) -> Kept:
    return prune(network, Random(seed=0), None, 0.3).kept


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("network", [LENET, CONV])
def test_training_equals_pytorchs_sgd(network: Network, nesterov: bool) -> None:
    recipe = replace(RECIPE, nesterov=nesterov, schedule=StepDecay(at=(20, 30), factor=0.1))
    start = initial_weights(network, Init(seed=0))
    ours = train(network, recipe, DATA, start, order_seed=7, save=(40,)).states[40]

    module = build(network).to_empty(device="cpu")
    module.load_state_dict(start)
    module.train()
    optimizer = torch.optim.SGD(
        module.parameters(), lr=1.0, momentum=0.9, nesterov=nesterov, weight_decay=1e-3
    )
    for step in range(40):
        epoch, batch = divmod(step, 23)
        order = streams.permutation(len(DATA.train), 7, "order", epoch)
        chosen = torch.from_numpy(order[batch * 64 : (batch + 1) * 64])
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, step)
        optimizer.zero_grad()
        logits = module(DATA.train.batch(chosen).images)
        cross_entropy(logits, DATA.train.labels[chosen]).backward()
        optimizer.step()
    for name, tensor in module.state_dict().items():
        assert torch.allclose(ours[name], tensor, rtol=1e-4, atol=1e-6), name


def test_pruned_weights_are_exactly_zero_and_the_others_train() -> None:
    kept = half(CONV)
    start = initial_weights(CONV, Init(seed=0))
    steps = tuple(range(1, 41))
    trained = train(CONV, RECIPE, DATA, start, kept, order_seed=0, save=steps)
    for state in trained.states.values():
        for name, mask in kept.items():
            assert torch.count_nonzero(state[name][~mask]) == 0
    moved = trained.states[40]
    assert all((moved[n][kept[n]] != start[n][kept[n]]).float().mean() > 0.9 for n in kept)


def test_a_weight_that_should_be_zero_is_noticed() -> None:
    params = {"layer.weight": torch.tensor([1.0, 0.5])}
    masks = {"layer.weight": torch.tensor([1.0, 0.0])}
    with pytest.raises(MaskViolation, match=r"1 pruned weights of layer\.weight"):
        _check_masks(params, [torch.zeros(2)], masks)


def test_the_same_run_is_bit_identical() -> None:
    start = initial_weights(CONV, Init(seed=0))
    one, two = (train(CONV, RECIPE, DATA, start, order_seed=0, save=(40,)) for _ in range(2))
    assert one.evals == two.evals
    assert all(torch.equal(one.states[40][n], two.states[40][n]) for n in one.states[40])


def test_a_run_from_step_k_sees_the_data_and_rates_of_step_k() -> None:
    """Without momentum, stopping at step 15 and going on is the uninterrupted run."""
    recipe = replace(RECIPE, momentum=0.0, schedule=Cosine())
    start = initial_weights(LENET, Init(seed=0))
    whole = train(LENET, recipe, DATA, start, order_seed=1, save=(15, 40))
    rest = train(LENET, recipe, DATA, whole.states[15], order_seed=1, first_step=15, save=(40,))
    assert all(torch.equal(whole.states[40][n], rest.states[40][n]) for n in start)


def test_training_up_to_a_step_is_the_beginning_of_the_whole_run() -> None:
    start = initial_weights(LENET, Init(seed=0))
    whole = train(LENET, RECIPE, DATA, start, order_seed=1, save=(20,))
    part = train(LENET, RECIPE, DATA, start, order_seed=1, last_step=20, save=(20,))
    assert all(torch.equal(whole.states[20][n], part.states[20][n]) for n in start)
    assert part.evals == [e for e in whole.evals if e.step <= 20]


def test_evaluations_come_at_the_start_when_due_and_at_the_end() -> None:
    start = initial_weights(LENET, Init(seed=0))
    recipe = replace(RECIPE, steps=25)
    trained = train(LENET, recipe, DATA, start, order_seed=0, first_step=3)
    assert [e.step for e in trained.evals] == [3, 3, 10, 10, 20, 20, 25, 25]
    assert [e.split for e in trained.evals[:2]] == ["train", "test"]


def test_a_diverged_run_is_a_result_and_says_where() -> None:
    start = initial_weights(LENET, Init(seed=0))
    recipe = replace(RECIPE, lr=1e6, warmup=0)
    trained = train(LENET, recipe, DATA, start, half(LENET), order_seed=0, save=(40,))
    assert trained.diverged_at is not None
    assert trained.diverged_at < 20
    assert 40 in trained.states


def test_it_learns_digits() -> None:
    start = initial_weights(LENET, Init(seed=0))
    recipe = replace(RECIPE, steps=230)
    last = train(LENET, recipe, DATA, start, order_seed=0).evals[-1]
    assert last.split == "test"
    assert last.accuracy > 0.95


@pytest.mark.parametrize(
    ("schedule", "warmup", "step", "rate"),
    [
        (Constant(), 0, 99, 1.0),
        (Constant(), 10, 0, 0.1),
        (Constant(), 10, 4, 0.5),
        (Constant(), 10, 9, 1.0),
        (StepDecay(at=(50, 80), factor=0.1), 0, 49, 1.0),
        (StepDecay(at=(50, 80), factor=0.1), 0, 50, 0.1),
        (StepDecay(at=(50, 80), factor=0.1), 0, 80, 0.01),
        (Cosine(), 0, 0, 1.0),
        (Cosine(), 0, 50, 0.5),
    ],
)
def test_learning_rates(schedule, warmup: int, step: int, rate: float) -> None:
    recipe = Recipe(
        steps=100, batch_size=1, lr=1.0, evaluate_every=1, schedule=schedule, warmup=warmup
    )
    assert learning_rate(recipe, step) == pytest.approx(rate)


def test_initial_weights_are_kaiming_normal_and_another_seed_is_another_draw() -> None:
    weights = initial_weights(LENET, Init(seed=0))
    assert float(weights["1.weight"].std()) == pytest.approx((2 / 64) ** 0.5, rel=0.02)
    assert float(weights["3.weight"].std()) == pytest.approx((2 / 300) ** 0.5, rel=0.02)
    assert not weights["1.bias"].any()
    other = initial_weights(LENET, Init(seed=1))
    assert all(not torch.equal(weights[n], other[n]) for n in prunable(build(LENET)))
    glorot = initial_weights(LENET, Init(seed=0, weights="glorot_normal"))
    assert float(glorot["1.weight"].std()) == pytest.approx((2 / 364) ** 0.5, rel=0.02)
    uniform = initial_weights(CONV, Init(seed=0, batch_norm="uniform"))["1.weight"]
    assert 0 <= float(uniform.min()) < float(uniform.max()) < 1


def test_streams_are_what_they_were() -> None:
    """Golden draws: a change here changes every result ever computed."""
    assert streams.permutation(8, 0, "order", 3).tolist() == STREAM_PERMUTATION
    assert streams.uniform(2, 1, "weights", "a").tolist() == STREAM_UNIFORM
    assert streams.normal(3, 1, "weights", "a").tolist() == pytest.approx(STREAM_NORMAL, abs=1e-15)


def test_streams_have_the_moments_they_claim() -> None:
    draws = torch.from_numpy(streams.normal(200_001, 0, "moments"))
    assert abs(float(draws.mean())) < 0.01
    assert float(draws.std()) == pytest.approx(1, abs=0.01)
    assert float((draws**4).mean()) == pytest.approx(3, abs=0.1)
    assert sorted(streams.permutation(1000, 5, "order").tolist()) == list(range(1000))


def test_the_split_is_fixed_stratified_and_complete() -> None:
    train_counts = torch.bincount(DATA.train.labels)
    test_counts = torch.bincount(DATA.test.labels)
    share = test_counts / (train_counts + test_counts)
    assert (len(DATA.train), len(DATA.test)) == (1438, 359)
    assert float(share.min()) > 0.19
    assert float(share.max()) < 0.21
    assert abs(float(ALL.mean())) < 0.01
    assert float(ALL.std()) == pytest.approx(1, abs=0.01)


STREAM_PERMUTATION = [4, 5, 7, 0, 1, 6, 3, 2]
STREAM_UNIFORM = [0.8323971812453081, 0.6727388145868031]
STREAM_NORMAL = [-1.713418389019991, -1.4403794551541749, 0.7978182560135285]
