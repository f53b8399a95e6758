"""Evaluation in parts, and modules that a task's process must not import."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from tasks import process
from tasks.data import readers
from tasks.data.batches import Data, load
from tasks.networks.build import build, initial_weights
from tasks.training import evaluation
from tasks.training import train as training
from tasks.values.training import Dataset, Init, Network, Recipe

DIGITS = load(Dataset(name="digits"))
SMALL = Data(DIGITS.train.part(torch.arange(100)), DIGITS.test.part(torch.arange(30)))
NAMES = ["lenet_300_100", "conv_2", "conv2_bn", "vgg11_bn", "resnet20", "mobilenet_v1"]
"""One of each kind that trains in seconds."""


@pytest.mark.parametrize("name", NAMES)
def test_counts_do_not_depend_on_how_many_examples_are_evaluated_at_once(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network(name=name, input_shape=(1, 8, 8), classes=10)
    module, weights = build(network), initial_weights(network, Init(seed=0))
    found = []
    for at_once in (7, 64, 1000):
        monkeypatch.setitem(evaluation.EXAMPLES_AT_ONCE, "cpu", at_once)
        monkeypatch.setitem(evaluation.VALUES_AT_ONCE, "cpu", 2**40)
        found.append(evaluation.evaluate(module, weights, SMALL, 3))
    for parts in zip(*found, strict=True):
        assert len({(e.step, e.split, e.accuracy, e.top5) for e in parts}) == 1
        assert parts[1].loss == pytest.approx(parts[0].loss, rel=1e-5)
        assert parts[2].loss == pytest.approx(parts[0].loss, rel=1e-5)


def test_losses_are_added_up_in_float64() -> None:
    network = Network(name="lenet_300_100", input_shape=(1, 8, 8), classes=10)
    module, weights = build(network), initial_weights(network, Init(seed=0))
    [train, _] = evaluation.evaluate(module, weights, DIGITS, 0)
    batch = DIGITS.train.batch(torch.arange(len(DIGITS.train)))
    logits = torch.func.functional_call(module, weights, (batch.images,)).double()
    exact = torch.nn.functional.cross_entropy(logits, batch.labels)
    assert train.loss == pytest.approx(float(exact), rel=1e-6)


def test_as_many_examples_are_taken_as_their_largest_activation_allows() -> None:
    network = Network(name="conv2_bn", input_shape=(1, 8, 8), classes=10)
    module, weights = build(network).eval(), initial_weights(network, Init(seed=0))
    assert evaluation._largest_activation(module, weights, torch.zeros(1, 1, 8, 8)) == 16 * 8 * 8
    assert evaluation.evaluation_batch(module, weights, DIGITS.test) == 512
    assert not any(child._forward_hooks for child in module.modules())


@pytest.mark.parametrize("name", NAMES)
def test_activations_in_place_leave_every_bit_as_it_was(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network(name=name, input_shape=(1, 8, 8), classes=10, width=0.25)
    recipe = Recipe(steps=2, batch_size=16, lr=0.05, evaluate_every=2)
    start, ends = initial_weights(network, Init(seed=0)), []
    for in_place in (True, False):
        monkeypatch.setattr(training, "build", lambda n, i=in_place, **_: build(n, in_place=i))
        ends.append(training.train(network, recipe, SMALL, start, order_seed=0).weights)
    assert all(torch.equal(ends[0][n], ends[1][n]) for n in start)


def test_digits_are_scikit_learns() -> None:
    pixels, labels = readers._optdigits()
    theirs = load_digits(return_X_y=True)
    assert np.array_equal(pixels, theirs[0])
    assert np.array_equal(labels, theirs[1])


def test_a_task_on_digits_loads_neither_scikit_learn_nor_torchs_compiler() -> None:
    code = """
import sys
from tasks.measures import layers as measure
from tasks.values import catalog
from tasks.data.batches import load
from tasks.networks.build import initial_weights
from tasks.pruning.prune import prune
from tasks.values.scores import Magnitude, Synflow
from tasks.values.training import Dataset, Init, Recipe
from tasks.training.train import train
network, data = catalog.network("resnet20", "digits"), load(Dataset(name="digits"))
weights = initial_weights(network, Init(seed=0))
kept = prune(network, Magnitude(), weights, 0.5).kept
prune(network, Synflow(iterations=1), weights, 0.5)
measure.layers(network, kept)
recipe = Recipe(steps=1, batch_size=8, lr=0.1, evaluate_every=1, evaluate=("test",))
train(network, recipe, data, weights, kept, order_seed=0)
print(*(n for n in ("sklearn", "pandas", "torch._dynamo", "sympy") if n in sys.modules))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == []


def test_a_process_is_prepared_once_or_more_without_harm() -> None:
    for _ in range(2):
        process.prepare()
    assert torch.get_num_threads() == 1
