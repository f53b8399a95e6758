"""Linear paths between networks: cases with known barriers, and their parts."""

from math import isnan

import pytest
import torch

from tasks.data.batches import load
from tasks.measures.barrier import Barrier, barrier, distance
from tasks.networks.build import Weights, build, initial_weights, prunable
from tasks.training.evaluation import evaluate
from tasks.training.train import train
from tasks.values.training import Dataset, Init, Network, Recipe

DATA = load(Dataset(name="digits"))
LENET = Network(name="lenet_300_100", input_shape=(1, 8, 8), classes=10)
CONV = Network(name="conv2_bn", input_shape=(1, 8, 8), classes=10)
RECIPE = Recipe(steps=60, batch_size=64, lr=0.1, evaluate_every=60)


def trained(network: Network, order_seed: int = 0) -> Weights:
    start = initial_weights(network, Init(seed=0))
    run = train(network, RECIPE, DATA, start, order_seed=order_seed, save=(60,))
    return run.states[60]


@pytest.fixture(scope="module")
def lenet() -> Weights:
    return trained(LENET)


def permuted(weights: Weights) -> Weights:
    """Return the same function with its hidden units in another order."""
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randperm(n, generator=generator) for n in (300, 100))
    return {
        "1.weight": weights["1.weight"][first],
        "1.bias": weights["1.bias"][first],
        "3.weight": weights["3.weight"][second][:, first],
        "3.bias": weights["3.bias"][second],
        "5.weight": weights["5.weight"][:, second],
        "5.bias": weights["5.bias"],
    }


@pytest.mark.parametrize("network", [LENET, CONV])
def test_a_network_and_itself_have_no_barrier(network: Network) -> None:
    weights = initial_weights(network, Init(seed=0))
    found = barrier(network, weights, weights, DATA, points=5)
    assert found.train == found.test == 0
    assert len(set(found.train_errors)) == len(set(found.test_errors)) == 1


def test_permuted_units_are_one_function_behind_a_barrier(lenet: Weights) -> None:
    found = barrier(LENET, lenet, permuted(lenet), DATA)
    assert len(found.train_errors) == len(found.test_errors) == 30
    for errors in (found.train_errors, found.test_errors):
        assert errors[0] == errors[-1] < 0.15
    assert found.train > 0.05
    assert found.test > 0.05


@pytest.mark.parametrize("network", [LENET, CONV])
def test_the_path_is_between_the_two_networks_and_symmetric(network: Network) -> None:
    first, second = trained(network, 0), trained(network, 1)
    found = barrier(network, first, second, DATA, points=3)
    middle = {n: (t + second[n]) / 2 if "num" not in n else t for n, t in first.items()}
    states = (first, middle, second)
    accuracies = [evaluate(build(network), state, DATA, 0) for state in states]
    assert found.train_errors == pytest.approx([1 - a[0].accuracy for a in accuracies], abs=2e-3)
    assert found.test_errors == pytest.approx([1 - a[1].accuracy for a in accuracies], abs=6e-3)
    assert found.train_errors[0] == 1 - accuracies[0][0].accuracy
    assert found.train_errors[2] == 1 - accuracies[2][0].accuracy
    back = barrier(network, second, first, DATA, points=3)
    assert back.train == pytest.approx(found.train, abs=2e-3)


def test_a_barrier_is_the_highest_error_above_the_mean_of_the_ends() -> None:
    found = Barrier(train_errors=(0.1, 0.5, 0.2, 0.3), test_errors=(0.4, 0.1, 0.2))
    assert found.train == pytest.approx(0.3)
    assert found.test == pytest.approx(0.1)


def test_what_is_no_path_is_refused(lenet: Weights) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        barrier(LENET, lenet, lenet, DATA, points=1)
    with pytest.raises(ValueError, match="tensors of the same names"):
        barrier(LENET, lenet, initial_weights(CONV, Init(seed=0)), DATA)


def test_distances_of_hand_made_vectors() -> None:
    first = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor([[0.0]]), "c": torch.ones(1)}
    second = {"a": torch.tensor([0.0, 4.0]), "b": torch.tensor([[0.0]]), "c": torch.zeros(1)}
    assert distance(first, second, ["a", "b"]) == pytest.approx((5, 1))
    opposite = {name: -2 * tensor for name, tensor in first.items()}
    assert distance(first, opposite, ["a"]) == pytest.approx((9, 2))
    assert distance(first, first, ["a", "b", "c"]) == (0, 0)
    assert isnan(distance(first, second, ["c"])[1])


def test_distance_keeps_its_digits_and_sees_permutations(lenet: Weights) -> None:
    names = prunable(build(LENET))
    near = {name: tensor.double() * (1 + 1e-9) for name, tensor in lenet.items()}
    l2, cosine = distance(lenet, near, names)
    size = sum(float(lenet[name].double().square().sum()) for name in names) ** 0.5
    assert l2 == pytest.approx(1e-9 * size, rel=1e-4)
    assert 0 <= cosine < 1e-20
    assert distance(lenet, permuted(lenet), names)[1] > 0.5
