"""Every score against an independent computation on a small network, in float64."""

import itertools

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from tasks.data.batches import Batch, Split, load, scoring_batches
from tasks.masks import count
from tasks.networks.build import Weights, build, initial_weights, prunable
from tasks.pruning import scores as scoring
from tasks.pruning.prune import prune
from tasks.values.scores import (
    Examples,
    Grasp,
    Inverted,
    Magnitude,
    Random,
    Shuffled,
    Snip,
    Synflow,
)
from tasks.values.training import Dataset, Init, Network

DIGITS = Dataset(name="digits")
LENET = Network(name="lenet_300_100", input_shape=(1, 8, 8), classes=10)
CONV = Network(name="conv2_bn", input_shape=(1, 8, 8), classes=10)
EXAMPLES = Examples(dataset=DIGITS, seed=3)


class Small(nn.Module):
    """Two linear layers, small enough to enumerate all paths and remove each weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.second = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(x)))


class SmallRelu(Small):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.first(x)))


@pytest.fixture
def small() -> tuple[nn.Module, Weights, Batch]:
    torch.manual_seed(0)
    module = Small().double()
    weights = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    batch = Batch(torch.randn(20, 3, dtype=torch.float64), torch.randint(0, 2, (20,)))
    return module, weights, batch


def all_of(split: Split) -> torch.Tensor:
    return split.batch(torch.arange(len(split))).images


def loss_of(module: nn.Module, weights: Weights, batch: Batch, temperature: float = 1.0):
    logits = functional_call(module, weights, (batch.images,))
    return cross_entropy(logits / temperature, batch.labels)


def gradient_norm(module: nn.Module, weights: Weights, batch: Batch, temperature: float) -> float:
    """Return the squared norm of the gradient over the prunable weights."""
    live = {n: t.clone().requires_grad_() for n, t in weights.items() if n.endswith("weight")}
    loss = loss_of(module, {**weights, **live}, batch, temperature)
    return sum(float((g**2).sum()) for g in torch.autograd.grad(loss, list(live.values())))


def test_magnitude_is_the_absolute_weight() -> None:
    weights = initial_weights(LENET, Init(seed=0))
    found = scoring.magnitude(build(LENET), weights)
    assert sorted(found) == prunable(build(LENET))
    assert all(torch.equal(found[name], weights[name].abs()) for name in found)


def test_snip_is_the_derivative_by_the_mask(small: tuple[nn.Module, Weights, Batch]) -> None:
    """Lee et al. 2019: dL/dc at c = 1, here by central differences on every entry."""
    module, weights, batch = small
    found = scoring.snip(Snip(examples=EXAMPLES), module, weights, None, [batch])
    for name, scores in found.items():
        for index in itertools.product(*map(range, scores.shape)):
            losses = []
            for c in (1 + 1e-5, 1 - 1e-5):
                changed = {n: t.clone() for n, t in weights.items()}
                changed[name][index] *= c
                losses.append(float(loss_of(module, changed, batch)))
            exact = abs(losses[0] - losses[1]) / 2e-5
            assert float(scores[index]) == pytest.approx(exact, abs=1e-8)


def test_grasp_equals_the_explicit_hessian_gradient_product(
    small: tuple[nn.Module, Weights, Batch],
) -> None:
    module, weights, batch = small
    temperature = 2.0
    names = prunable(module)
    flat = torch.cat([weights[name].flatten() for name in names])

    def loss(theta: torch.Tensor) -> torch.Tensor:
        parts = torch.split(theta, [weights[n].numel() for n in names])
        live = {n: p.reshape(weights[n].shape) for n, p in zip(names, parts, strict=True)}
        return loss_of(module, {**weights, **live}, batch, temperature)

    gradient = torch.autograd.functional.jacobian(loss, flat)
    hessian = torch.autograd.functional.hessian(loss, flat)
    exact = flat * (hessian @ gradient)
    score = Grasp(examples=EXAMPLES, temperature=temperature)
    found = scoring.grasp(score, module, weights, None, [batch])
    ours = torch.cat([found[name].flatten() for name in names])
    assert torch.allclose(ours, exact, rtol=1e-9, atol=1e-12)


def test_grasp_prunes_first_what_raises_the_gradient_norm_most(
    small: tuple[nn.Module, Weights, Batch],
) -> None:
    """The sign: removing the weights with the smallest scores raises the norm."""
    module, weights, batch = small
    score = Grasp(examples=EXAMPLES, temperature=1.0)
    found = scoring.grasp(score, module, weights, None, [batch])
    before = gradient_norm(module, weights, batch, 1.0)
    ours, change = [], []
    for name, scores in found.items():
        for index in itertools.product(*map(range, scores.shape)):
            removed = {n: t.clone() for n, t in weights.items()}
            removed[name][index] = 0.0
            ours.append(float(scores[index]))
            change.append(gradient_norm(module, removed, batch, 1.0) - before)
    correlation = torch.corrcoef(torch.tensor([ours, change]))[0, 1]
    assert correlation < -0.8


def test_synflow_sums_over_all_paths_through_a_weight() -> None:
    torch.manual_seed(1)
    module = SmallRelu()
    weights = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    found = scoring.synflow(module, weights, None, (3,))
    first, second = weights["first.weight"].double().abs(), weights["second.weight"].double().abs()
    bias = weights["first.bias"].double().abs()
    for unit, source in itertools.product(range(4), range(3)):
        paths = sum(float(first[unit, source] * second[out, unit]) for out in range(2))
        assert float(found["first.weight"][unit, source]) == pytest.approx(paths, rel=1e-12)
    for out, unit in itertools.product(range(2), range(4)):
        inflow = sum(float(first[unit, source]) for source in range(3)) + float(bias[unit])
        expected = inflow * float(second[out, unit])
        assert float(found["second.weight"][out, unit]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("network", [LENET, CONV])
def test_synaptic_flow_is_conserved_by_layer(network: Network) -> None:
    """Tanaka et al. 2020, theorem 1: at initialization every layer's scores sum to R."""
    weights = initial_weights(network, Init(seed=5))
    found = scoring.synflow(build(network), weights, None, network.input_shape)
    sums = [float(tensor.sum()) for tensor in found.values()]
    assert max(sums) == pytest.approx(min(sums), rel=1e-6)
    assert min(sums) > 0


def test_synflow_never_empties_a_layer_while_each_can_keep_a_weight() -> None:
    """Theorem 3, with ties broken by index, down to a handful of weights."""
    weights = initial_weights(CONV, Init(seed=0))
    size = sum(weights[name].numel() for name in prunable(build(CONV)))
    kept = prune(CONV, Synflow(), weights, 4 / size).kept
    assert count(kept) == 4
    assert all(int(tensor.sum()) for tensor in kept.values())
    one_shot = prune(CONV, Synflow(iterations=1), weights, 4 / size).kept
    assert not all(int(tensor.sum()) for tensor in one_shot.values())


def test_scoring_leaves_the_weights_and_batch_norm_statistics_alone() -> None:
    weights = initial_weights(CONV, Init(seed=0))
    before = {name: tensor.clone() for name, tensor in weights.items()}
    data = load(DIGITS)
    for score in (Snip(examples=EXAMPLES), Grasp(examples=EXAMPLES), Synflow(iterations=2)):
        prune(CONV, score, weights, 0.5, data=data)
    assert all(torch.equal(before[name], weights[name]) for name in weights)


@pytest.mark.parametrize(
    "score",
    [
        Random(seed=1),
        Magnitude(),
        Snip(examples=EXAMPLES),
        Snip(examples=EXAMPLES, batch_norm="eval"),
        Grasp(examples=EXAMPLES),
        Synflow(iterations=5),
    ],
    ids=lambda score: f"{score.kind}-{score.key[:4]}",
)
@pytest.mark.parametrize("density", [0.5, 0.0123, 0.001])
def test_every_method_keeps_exactly_its_share_and_again_the_same(score, density: float) -> None:
    data = load(DIGITS)
    weights = initial_weights(CONV, Init(seed=2))
    kept = prune(CONV, score, weights, density, data=data).kept
    size = sum(tensor.numel() for tensor in kept.values())
    assert count(kept) == round(density * size)
    again = prune(CONV, score, weights, density, data=data).kept
    assert all(torch.equal(kept[name], again[name]) for name in kept)
    shuffled = prune(CONV, score, weights, density, data=data, ablation=Shuffled(seed=0)).kept
    assert [int(t.sum()) for t in shuffled.values()] == [int(t.sum()) for t in kept.values()]
    inverted = prune(CONV, score, weights, density, data=data, ablation=Inverted()).kept
    assert count(inverted) == count(kept)
    assert any(not torch.equal(inverted[name], kept[name]) for name in kept)


def test_batch_norm_mode_matters_to_snip() -> None:
    data, weights = load(DIGITS), initial_weights(CONV, Init(seed=2))
    by_mode = [
        prune(CONV, Snip(examples=EXAMPLES, batch_norm=mode), weights, 0.1, data=data).kept
        for mode in ("train", "eval")
    ]
    assert any(not torch.equal(by_mode[0][name], by_mode[1][name]) for name in by_mode[0])


def test_the_scoring_batch_is_balanced_training_data_drawn_by_seed() -> None:
    data = load(DIGITS)
    [batch] = scoring_batches(data, EXAMPLES)
    assert torch.bincount(batch.labels).tolist() == [10] * 10
    trained = {image.numpy().tobytes() for image in all_of(data.train)}
    assert all(image.numpy().tobytes() in trained for image in batch.images)
    [other] = scoring_batches(data, Examples(dataset=DIGITS, seed=4))
    assert not torch.equal(batch.images, other.images)
    with pytest.raises(ValueError, match="per_class takes at most"):
        scoring_batches(data, Examples(dataset=DIGITS, seed=0, per_class=500))


def test_scores_of_a_diverged_network_are_refused() -> None:
    weights = initial_weights(LENET, Init(seed=0))
    weights["1.weight"][0, 0] = torch.nan
    with pytest.raises(ValueError, match="diverged"):
        prune(LENET, Magnitude(), weights, 0.5)
