"""One definition of floating-point precision, for all code that computes with weights."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from orchestrator.running import study
from tasks.data.batches import load
from tasks.measures.barrier import barrier
from tasks.networks.build import build, initial_weights
from tasks.pruning.prune import prune
from tasks.training.evaluation import evaluate
from tasks.training.precision import _SWITCHES, Callee, arithmetic
from tasks.training.train import train
from tasks.values import catalog
from tasks.values.scores import Random
from tasks.values.training import Init, Recipe
from tests.support.small import write_sweep
from tombola.store.schema import TRIALS

DATA = load(catalog.dataset("digits"))
NETWORK = catalog.network("conv2_bn", "digits")
START = initial_weights(NETWORK, Init(seed=0))
RECIPE = Recipe(steps=60, batch_size=64, lr=0.05, evaluate_every=30)
PRECISIONS = ("float32", "tf32", "bfloat16")


def positions() -> list[object]:
    return [read() for read, _ in _SWITCHES]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_switches_are_set_and_put_back(precision: str) -> None:
    before = positions()
    with arithmetic(precision):
        assert torch.backends.cudnn.allow_tf32 == (precision == "tf32")
        assert torch.get_float32_matmul_precision() == (
            "high" if precision == "tf32" else "highest"
        )
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark
        with arithmetic("float32"):
            assert not torch.backends.cudnn.allow_tf32
        assert torch.backends.cudnn.allow_tf32 == (precision == "tf32")
    assert positions() == before
    with pytest.raises(ZeroDivisionError), arithmetic(precision):
        _ = 1 / 0
    assert positions() == before


@pytest.mark.parametrize("precision", PRECISIONS)
def test_training_and_evaluation_happen_within(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()
    called = Callee.logits

    def looked(callee: Callee, images: torch.Tensor) -> torch.Tensor:
        seen.add((torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic))
        return called(callee, images)

    monkeypatch.setattr(Callee, "logits", looked)
    train(NETWORK, replace(RECIPE, steps=2, precision=precision), DATA, START, order_seed=0)
    evaluate(build(NETWORK), START, DATA, 0, precision=precision)
    barrier(NETWORK, START, START, DATA, 2, precision)
    assert seen == {(precision == "tf32", True)}


def test_float32_is_the_default_and_in_no_key() -> None:
    assert replace(RECIPE, precision="float32").key == RECIPE.key
    assert len({replace(RECIPE, precision=precision).key for precision in PRECISIONS}) == 3
    with pytest.raises(ValueError, match="precision takes"):
        replace(RECIPE, precision="float16")


def test_bfloat16_rounds_convolutions_and_linear_layers_and_nothing_else() -> None:
    module = build(NETWORK).train()
    weights = {n: t.clone() for n, t in START.items()}
    names = [name for name, _ in module.named_parameters()]
    for name in names:
        weights[name].requires_grad_()
    callee = Callee(module, weights, "bfloat16")
    rounded = {
        name
        for name, tensor in zip(names, callee.differentiated, strict=True)
        if tensor.dtype == torch.bfloat16
    }
    layers = {n for n, child in module.named_modules() if isinstance(child, nn.Conv2d | nn.Linear)}
    assert rounded == {name for name in names if name.rpartition(".")[0] in layers}
    assert rounded != set(names)
    gradients = callee.gradients(callee.logits(DATA.train.batch(torch.arange(8)).images).sum())
    assert all(gradient.dtype == torch.float32 for gradient in gradients)
    assert all(
        gradient.shape == weights[n].shape for gradient, n in zip(gradients, names, strict=True)
    )
    statistics = [t for n, t in weights.items() if n.endswith("running_mean")]
    assert all(t.dtype == torch.float32 and t.abs().sum() > 0 for t in statistics)


def test_a_bfloat16_product_is_that_of_rounded_numbers() -> None:
    network = catalog.network("lenet_300_100", "digits")
    weights = initial_weights(network, Init(seed=0))
    images = DATA.train.batch(torch.arange(4)).images
    x = images.flatten(1).bfloat16()
    for name in ("1", "3", "5"):
        weight, bias = weights[f"{name}.weight"].bfloat16(), weights[f"{name}.bias"].bfloat16()
        x = torch.nn.functional.linear(x, weight, bias)
        x = x if name == "5" else x.relu()
    assert torch.equal(Callee(build(network).eval(), weights, "bfloat16").logits(images), x.float())


def test_bfloat16_learns_what_float32_does_and_keeps_zeros() -> None:
    kept = prune(NETWORK, Random(seed=0), None, 0.3).kept
    found = {
        precision: train(
            NETWORK, replace(RECIPE, precision=precision), DATA, START, kept, order_seed=0
        )
        for precision in PRECISIONS
    }
    accuracies = {precision: run.evals[-1].accuracy for precision, run in found.items()}
    assert accuracies["float32"] > 0.8
    assert abs(accuracies["float32"] - accuracies["bfloat16"]) < 0.05
    weights = {precision: run.weights for precision, run in found.items()}
    assert any(not torch.equal(weights["bfloat16"][n], weights["float32"][n]) for n in kept)
    for name, mask in kept.items():
        for run in weights.values():
            assert run[name].dtype == torch.float32
            assert run[name].is_contiguous()
            assert not torch.count_nonzero(run[name][~mask])


def test_a_rescaled_start_is_computed_in_float32() -> None:
    """It is then the same, whatever precision trains from it."""
    starts = [
        train(
            NETWORK,
            replace(RECIPE, rescale_steps=3, precision=precision, steps=1, evaluate_every=1),
            DATA,
            START,
            order_seed=0,
            save=(0,),
        ).states[0]
        for precision in ("float32", "bfloat16")
    ]
    assert all(torch.equal(starts[0][name], starts[1][name]) for name in starts[0])


def test_precision_is_an_axis_of_a_sweep_and_a_column_of_trials(tmp_path) -> None:
    recipe = {"steps": 12, "batch_size": 64, "lr": 0.1, "precision": ["float32", "bfloat16"]}
    trials = study.read(write_sweep(tmp_path, recipe=recipe)).trials
    assert "precision" in TRIALS.names
    assert {trial.labels["precision"] for trial in trials} == {"float32", "bfloat16"}
    plain = study.read(write_sweep(tmp_path, recipe={**recipe, "precision": "float32"})).trials
    half = {t.run.key for t in trials if t.labels["precision"] == "float32"}
    assert half == {trial.run.key for trial in plain}
