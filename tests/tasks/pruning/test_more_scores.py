"""OBD, iterative scores, and choices in which published codes differ."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from tasks.data.batches import Batch, load, scoring_batches
from tasks.masks import Kept, count, erdos_renyi_kernel
from tasks.networks.build import build, initial_weights, prunable
from tasks.pruning import scores as scoring
from tasks.pruning.prune import one_shot_scores, prune
from tasks.values.scores import Examples, Grasp, Inverted, Magnitude, Obd, Random, Snip, Synflow
from tasks.values.training import Dataset, Init, Network

DIGITS = Dataset(name="digits")
LENET = Network(name="lenet_300_100", input_shape=(1, 8, 8), classes=10)
CONV = Network(name="conv2_bn", input_shape=(1, 8, 8), classes=10)
EXAMPLES = Examples(dataset=DIGITS, seed=3)
DATA = load(DIGITS)


class SmallRelu(nn.Module):
    """Two layers, small enough to write down the whole Hessian."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 5), nn.Linear(5, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.first(x)))


@pytest.fixture
def small():
    torch.manual_seed(0)
    module = SmallRelu().double()
    weights = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    batch = Batch(torch.randn(20, 3, dtype=torch.float64), torch.randint(0, 4, (20,)))
    return module, weights, batch


def flat_loss(module, weights, batch, names):
    def loss(theta: torch.Tensor) -> torch.Tensor:
        parts = torch.split(theta, [weights[n].numel() for n in names])
        live = {n: p.reshape(weights[n].shape) for n, p in zip(names, parts, strict=True)}
        return cross_entropy(
            functional_call(module, {**weights, **live}, (batch.images,)), batch.labels
        )

    return loss


def test_obd_equals_the_diagonal_of_the_explicit_hessian(small) -> None:
    module, weights, batch = small
    names = prunable(module)
    theta = torch.cat([weights[n].flatten() for n in names])
    hessian = torch.autograd.functional.hessian(flat_loss(module, weights, batch, names), theta)
    exact = hessian.diagonal() * theta**2 / 2
    found = scoring.obd(Obd(examples=EXAMPLES), module, weights, None, [batch])
    ours = torch.cat([found[n].flatten() for n in names])
    assert torch.allclose(ours, exact, rtol=1e-9, atol=1e-15)
    assert (ours >= 0).all()


def test_obd_by_the_fisher_is_the_mean_of_single_squared_gradients(small) -> None:
    module, weights, batch = small
    names = prunable(module)
    theta = torch.cat([weights[n].flatten() for n in names])
    squares = torch.zeros_like(theta)
    for image, label in zip(batch.images, batch.labels, strict=True):
        one = flat_loss(module, weights, Batch(image[None], label[None]), names)
        squares += torch.autograd.functional.jacobian(one, theta) ** 2
    exact = squares / len(batch.labels) * theta**2 / 2
    found = scoring.obd(Obd(examples=EXAMPLES, hessian="fisher"), module, weights, None, [batch])
    assert torch.allclose(torch.cat([found[n].flatten() for n in names]), exact, rtol=1e-9)


def test_obd_scores_convolutions() -> None:
    weights = initial_weights(CONV, Init(seed=0))
    found = prune(CONV, Obd(examples=EXAMPLES), weights, 0.3, data=DATA)
    assert count(found.kept) == round(0.3 * 6032)


def in_batches(size: int, **changes) -> Examples:
    return Examples(dataset=DIGITS, seed=3, batch_size=size, **changes)


@pytest.mark.parametrize("kind", [Snip, Grasp])
def test_several_batches_score_as_one_where_nothing_depends_on_the_batch(kind) -> None:
    """LeNet has no batch norm, so the mean gradient is all that counts."""
    weights = initial_weights(LENET, Init(seed=0))
    options = {"precision": "float64"}
    one = one_shot_scores(LENET, kind(examples=EXAMPLES, **options), weights, data=DATA)
    many = one_shot_scores(LENET, kind(examples=in_batches(32), **options), weights, data=DATA)
    for name in one:
        assert torch.allclose(one[name], many[name], rtol=1e-6, atol=1e-12)


def test_absolute_totals_differ_from_signed_ones() -> None:
    weights = initial_weights(LENET, Init(seed=0))
    signed, absolute = (
        one_shot_scores(LENET, Snip(examples=in_batches(20), total=total), weights, data=DATA)
        for total in ("signed", "absolute")
    )
    assert all((absolute[n] >= signed[n] - 1e-9).all() for n in signed)
    assert any((absolute[n] > signed[n] * 1.01 + 1e-9).any() for n in signed)


def subset(inner: Kept, outer: Kept) -> bool:
    return all(bool((outer[n] | ~inner[n]).all()) for n in inner)


@pytest.mark.parametrize("score", [Snip, Grasp])
@pytest.mark.parametrize("inverted", [False, True])
def test_iterative_scores_never_revive_and_keep_the_exact_count(score, inverted) -> None:
    weights = initial_weights(CONV, Init(seed=0))
    within = prune(CONV, Random(seed=1), None, 0.6).kept
    found = prune(
        CONV,
        score(examples=EXAMPLES, iterations=5),
        weights,
        0.1,
        data=DATA,
        within=within,
        ablation=Inverted() if inverted else None,
    )
    assert count(found.kept) == round(0.1 * 6032)
    assert subset(found.kept, within)


def test_iterating_changes_the_mask() -> None:
    weights = initial_weights(CONV, Init(seed=0))
    once, often = (
        prune(CONV, Snip(examples=EXAMPLES, iterations=n), weights, 0.1, data=DATA).kept
        for n in (1, 10)
    )
    assert any(not torch.equal(once[n], often[n]) for n in once)


def test_grasp_by_magnitude_keeps_the_largest_absolute_scores() -> None:
    weights = initial_weights(LENET, Init(seed=0))
    signed = one_shot_scores(LENET, Grasp(examples=EXAMPLES), weights, data=DATA)
    absolute = one_shot_scores(LENET, Grasp(examples=EXAMPLES, absolute=True), weights, data=DATA)
    assert all(torch.equal(absolute[n], signed[n].abs()) for n in signed)


def test_the_linear_schedule_is_linear_in_density() -> None:
    weights = initial_weights(LENET, Init(seed=0))
    linear = prune(LENET, Synflow(iterations=4, schedule="linear"), weights, 0.2).kept
    exponential = prune(LENET, Synflow(iterations=4), weights, 0.2).kept
    assert count(linear) == count(exponential)
    assert any(not torch.equal(linear[n], exponential[n]) for n in linear)


@pytest.mark.parametrize("keep", [("first",), ("last",), ("first", "last"), ("3.weight",)])
@pytest.mark.parametrize("score", [Magnitude(), Synflow(iterations=3), Random(seed=0)])
def test_protected_layers_stay_dense_and_the_total_is_exact(keep, score) -> None:
    network = LENET
    weights = initial_weights(network, Init(seed=0))
    found = prune(network, score, weights, 0.6, keep_dense=keep).kept
    named = {"first": "1.weight", "last": "5.weight"}
    for name in keep:
        assert found[named.get(name, name)].all()
    assert count(found) == round(0.6 * sum(t.numel() for t in found.values()))


def test_protecting_more_than_the_density_allows_is_refused() -> None:
    weights = initial_weights(LENET, Init(seed=0))
    with pytest.raises(ValueError, match=r"keep_dense keeps 30000 weights, more than density 0\.1"):
        prune(LENET, Magnitude(), weights, 0.1, keep_dense=("3.weight",))
    with pytest.raises(ValueError, match=r"not 'third'; lenet_300_100 has 1.weight, 3.weight"):
        prune(LENET, Magnitude(), weights, 0.1, keep_dense=("third",))


@pytest.mark.parametrize("density", [0.5, 0.1, 0.02])
def test_erk_densities_follow_the_formula_and_add_up(density: float) -> None:
    shapes = {n: build(CONV).get_parameter(n).shape for n in prunable(build(CONV))}
    quotas = erdos_renyi_kernel(shapes, density)
    assert sum(quotas.values()) == round(density * 6032)
    assert all(0 <= quotas[n] <= shapes[n].numel() for n in shapes)
    free = [n for n in shapes if quotas[n] < shapes[n].numel()]
    ratios = [quotas[n] / sum(shapes[n]) for n in free]
    assert max(ratios) == pytest.approx(min(ratios), rel=0.05)
    kept = prune(CONV, Random(seed=0, layers="erk"), None, density).kept
    assert {n: int(k.sum()) for n, k in kept.items()} == quotas


@pytest.mark.parametrize("iterations", [0, -1])
def test_impossible_iterations_are_refused(iterations: int) -> None:
    for make in (lambda n: Synflow(iterations=n), lambda n: Snip(examples=EXAMPLES, iterations=n)):
        with pytest.raises(ValueError, match="iterations takes at least 1"):
            make(iterations)


# ---------------------------------------------------------------- conservation and invariance


@pytest.mark.parametrize("density", [1.0, 0.3])
def test_synaptic_flow_is_conserved_by_unit(density: float) -> None:
    """The flow into a unit equals the flow out of it (Tanaka et al. 2020, theorem 1)."""
    weights = initial_weights(LENET, Init(seed=0))
    kept = None if density == 1 else prune(LENET, Random(seed=0), None, density).kept
    found = scoring.synflow(build(LENET), weights, kept, LENET.input_shape)
    for before, after in (("1.weight", "3.weight"), ("3.weight", "5.weight")):
        incoming, outgoing = found[before].sum(1), found[after].sum(0)
        assert torch.allclose(incoming, outgoing, rtol=1e-6, atol=0)


def test_synaptic_flow_is_conserved_by_channel_through_norm_and_pooling() -> None:
    network = Network(name="vgg11_bn", input_shape=(3, 32, 32), classes=10, width=0.25)
    module = build(network)
    found = scoring.synflow(module, initial_weights(network, Init(seed=0)), None, (3, 32, 32))
    order = [name for name, _ in module.named_parameters() if name in found]
    for before, after in pairwise(order):
        incoming = found[before].flatten(1).sum(1)
        outgoing = found[after].transpose(0, 1).flatten(1).sum(1)
        assert torch.allclose(incoming, outgoing, rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", [Snip, Grasp, Obd])
def test_masks_do_not_depend_on_the_order_of_the_examples(kind) -> None:
    weights = initial_weights(CONV, Init(seed=0))
    weights = {n: t.double() if t.is_floating_point() else t for n, t in weights.items()}
    [batch] = scoring_batches(DATA, EXAMPLES)
    order = torch.randperm(len(batch.labels), generator=torch.Generator().manual_seed(0))
    images = batch.images.double()
    score = getattr(scoring, kind.kind)
    there, here = (
        score(
            kind(examples=EXAMPLES), build(CONV), weights, None, [Batch(images[i], batch.labels[i])]
        )
        for i in (torch.arange(len(order)), order)
    )
    for name in here:
        assert torch.allclose(here[name], there[name], rtol=1e-9, atol=1e-18)


def test_masks_do_not_depend_on_which_masks_share_their_score() -> None:
    weights = initial_weights(CONV, Init(seed=0))
    score = Snip(examples=EXAMPLES)
    shared = one_shot_scores(CONV, score, weights, data=DATA)
    for density in (0.5, 0.05):
        alone = prune(CONV, score, weights, density, data=DATA).kept
        packed = prune(CONV, score, weights, density, data=DATA, scores=shared).kept
        assert all(torch.equal(alone[n], packed[n]) for n in alone)


def test_vgg_at_initialization_collapses_where_it_was_published_to() -> None:
    """Magnitude keeps a weight in each of VGG-16's layers up to 10^2.75, and not at 10^3."""
    network = Network(name="vgg16_bn", input_shape=(3, 32, 32), classes=100)
    weights = initial_weights(network, Init(seed=0))
    scores = one_shot_scores(network, Magnitude(), weights)
    smallest = {
        exponent: min(
            int(k.sum())
            for k in prune(
                network, Magnitude(), weights, 10**-exponent, scores=scores
            ).kept.values()
        )
        for exponent in (2.75, 3.0)
    }
    assert smallest[2.75] > 0
    assert smallest[3.0] == 0
