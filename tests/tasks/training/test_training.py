"""The training loop against PyTorch's own optimizer; guarantees of masks and random streams."""

import sys
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from tasks import random_streams
from tasks.data.batches import load
from tasks.masks import Kept
from tasks.measures import resource_meter
from tasks.networks.build import build, initial_weights, prunable
from tasks.pruning.prune import prune
from tasks.training.train import MaskViolation, check_masks, learning_rate, train
from tasks.values import catalog, user_code
from tasks.values.records import Mask
from tasks.values.scores import Examples, Grasp, Magnitude, NofM, Random, Synflow, Units
from tasks.values.training import Constant, Cosine, Dataset, Init, Network, Recipe, StepDecay

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
        order = random_streams.permutation(len(DATA.train), 7, "order", epoch)
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
        check_masks(params, {"layer.weight": torch.zeros(2)}, masks)


def test_the_same_run_is_bit_identical() -> None:
    start = initial_weights(CONV, Init(seed=0))
    one, two = (train(CONV, RECIPE, DATA, start, order_seed=0, save=(40,)) for _ in range(2))
    assert one.evals == two.evals
    assert all(torch.equal(one.states[40][n], two.states[40][n]) for n in one.states[40])


def test_a_run_from_step_k_sees_the_data_and_rates_of_step_k() -> None:
    """Without momentum, a run stopped at step 15 and continued is the uninterrupted run."""
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
    """Golden draws: a difference here changes every result ever computed."""
    assert random_streams.permutation(8, 0, "order", 3).tolist() == STREAM_PERMUTATION
    assert random_streams.uniform(2, 1, "weights", "a").tolist() == STREAM_UNIFORM
    assert random_streams.normal(3, 1, "weights", "a").tolist() == pytest.approx(
        STREAM_NORMAL, abs=1e-15
    )


def test_streams_have_the_moments_they_claim() -> None:
    draws = torch.from_numpy(random_streams.normal(200_001, 0, "moments"))
    assert abs(float(draws.mean())) < 0.01
    assert float(draws.std()) == pytest.approx(1, abs=0.01)
    assert float((draws**4).mean()) == pytest.approx(3, abs=0.1)
    assert sorted(random_streams.permutation(1000, 5, "order").tolist()) == list(range(1000))


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


@pytest.mark.parametrize("network", [LENET, CONV])
def test_training_equals_pytorchs_adam(network: Network) -> None:
    recipe = replace(RECIPE, optimizer="adam", lr=1e-3, momentum=0.0, label_smoothing=0.1)
    start = initial_weights(network, Init(seed=0))
    ours = train(network, recipe, DATA, start, order_seed=7, save=(30,)).states[30]

    module = build(network).to_empty(device="cpu")
    module.load_state_dict(start)
    module.train()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, weight_decay=1e-3)
    order = torch.from_numpy(random_streams.permutation(len(DATA.train), 7, "order", 0))
    later = torch.from_numpy(random_streams.permutation(len(DATA.train), 7, "order", 1))
    for step in range(30):
        epoch, batch = divmod(step, 23)
        chosen = (order, later)[epoch][batch * 64 : (batch + 1) * 64]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, step)
        optimizer.zero_grad()
        logits = module(DATA.train.batch(chosen).images)
        cross_entropy(logits, DATA.train.labels[chosen], label_smoothing=0.1).backward()
        optimizer.step()
    for name, tensor in module.state_dict().items():
        assert torch.allclose(ours[name], tensor, rtol=2e-3, atol=1e-5), name


def test_adam_keeps_pruned_weights_at_zero() -> None:
    kept = half(CONV)
    recipe = replace(RECIPE, optimizer="adam", lr=1e-3)
    start = initial_weights(CONV, Init(seed=0))
    trained = train(CONV, recipe, DATA, start, kept, order_seed=0, save=(40,)).states[40]
    assert all(torch.count_nonzero(trained[n][~mask]) == 0 for n, mask in kept.items())


@pytest.mark.parametrize("ghosts", ["neurons", "skips", "both"])
def test_ghosts_act_early_and_are_gone_in_evaluation_and_later(ghosts: str) -> None:
    network = replace(CONV, name="resnet20", width=0.25)
    start = initial_weights(network, Init(seed=0))
    haunted = replace(RECIPE, steps=6, evaluate_every=3, ghosts=ghosts, ghost_steps=3)
    plain = replace(RECIPE, steps=6, evaluate_every=3)
    with_ghosts = train(network, haunted, DATA, start, order_seed=0, save=(1, 6))
    without = train(network, plain, DATA, start, order_seed=0, save=(1, 6))
    assert with_ghosts.evals[0] == without.evals[0]
    assert not torch.equal(with_ghosts.states[1]["0.weight"], without.states[1]["0.weight"])
    assert set(with_ghosts.states[6]) == set(start)
    # From the same weights, at a step when they are gone, both train alike.
    middle = with_ghosts.states[6]
    later = [
        train(network, recipe, DATA, middle, order_seed=0, first_step=4, save=(6,)).states[6]
        for recipe in (haunted, plain)
    ]
    assert all(torch.equal(later[0][n], later[1][n]) for n in middle)


class FakeNvml:
    """An energy counter in mJ that rises by 5 J between readings."""

    millijoules = 1000

    def __getattr__(self, name: str):
        def call(*_: object) -> int:
            self.millijoules += 5000 * (name == "nvmlDeviceGetTotalEnergyConsumption")
            return self.millijoules

        return call


def test_energy_is_the_devices_own_count_or_marked_as_an_estimate(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 123)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    counted = resource_meter.Meter("cuda").read(2.0)
    assert counted == {"peak_memory": 123, "energy": 5.0, "energy_source": "nvml"}
    monkeypatch.setitem(sys.modules, "pynvml", None)
    guessed = resource_meter.Meter("cuda").read(2.0)
    assert (guessed["energy"], guessed["energy_source"]) == (600.0, "estimate")
    assert resource_meter.Meter("cpu").read(2.0)["energy"] == 30.0


TEN = Examples(dataset=Dataset(name="digits"), seed=0)
BY_NORM = {"score": Magnitude(), "of": Init(seed=0)}


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: replace(RECIPE, ghosts="both"), "ghosts and ghost_steps take each other"),
        (lambda: replace(RECIPE, ghosts="both", ghost_steps=999), "ghost_steps takes 0 to"),
        (lambda: replace(RECIPE, label_smoothing=1), "label_smoothing takes a number"),
        (lambda: replace(RECIPE, evaluate=("test", "train")), "evaluate takes some of"),
        (lambda: replace(RECIPE, evaluate=()), "evaluate takes some of"),
        (lambda: replace(CONV, width=0), "width takes a number above 0"),
        (lambda: Dataset(name="digits", validation=-1), "validation takes 0 or more"),
        (lambda: catalog.dataset("digits", 1438), "validation takes fewer than the 1438"),
        (lambda: catalog.dataset("emnist"), "no dataset 'emnist'"),
        (lambda: Examples(dataset=Dataset(name="digits"), seed=0, batch_size=-1), "batch_size"),
        (lambda: Grasp(examples=TEN, temperature=0), "temperature"),
        (lambda: NofM(n=4, m=4), "n_of_m takes 1"),
        (lambda: mask(score=Random(seed=0), of=None, pattern=NofM(n=1, m=4)), "is n/m"),
        (lambda: mask(score=Synflow(), of=Init(seed=0), pattern=Units()), "by the norm"),
        (lambda: mask(**BY_NORM, pattern=Units(), keep_dense=("first",)), "neither"),
        (lambda: load(Dataset(name="digits")).split("val"), "no training examples are held out"),
        (lambda: user_code.load("json:nothing"), "has no function 'nothing'"),
        (lambda: user_code.load("no_such_module:f"), "no module 'no_such_module'"),
        (lambda: catalog.dataset_facts("json:loads"), "needs an attribute `facts`"),
    ],
)  # fmt: skip
def test_impossible_values_are_refused_where_they_are_made(make, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        make()


def mask(**fields):
    return Mask(**{"network": CONV, "density": 0.5, **fields})
