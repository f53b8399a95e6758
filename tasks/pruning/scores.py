"""Score every prunable weight: a function for each score, beside its paper's equation.

The largest scores are kept. Functions take and give tensors; tasks.pruning.prune turns scores
into masks, and scores anew while the density falls.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from tasks import random_streams
from tasks.data.batches import Batch
from tasks.heartbeat import paced
from tasks.masks import Kept, Scores
from tasks.networks.build import Weights, call, prunable
from tasks.pruning.second_derivatives import DifferentiableTwice
from tasks.values.scores import Grasp, Magnitude, Obd, Random, Score, Snip, Synflow
from tasks.values.training import Network

EXAMPLES_AT_ONCE = 16
"""Number of per-example gradients in memory at once."""


@dataclass(frozen=True)
class Subject:
    """A network to score: its weights, the mask so far (`kept`), and scoring batches."""

    network: Network
    module: nn.Module
    weights: Weights
    kept: Kept | None
    batches: list[Batch]


def random(score: Random, module: nn.Module) -> Scores:
    """U(0, 1), each tensor from its own stream."""
    shapes = {name: module.get_parameter(name).shape for name in prunable(module)}
    return {
        name: torch.from_numpy(
            random_streams.uniform(shape.numel(), score.seed, "random score", name)
        ).reshape(shape)
        for name, shape in shapes.items()
    }


def magnitude(module: nn.Module, weights: Weights) -> Scores:
    """|θ|."""
    return {name: weights[name].abs() for name in prunable(module)}


def snip(
    score: Snip, module: nn.Module, weights: Weights, kept: Kept | None, batches: list[Batch]
) -> Scores:
    """|θ ⊙ ∂L/∂θ|, the effect on the loss of removing each weight (Lee et al. 2019, eq. 5-6).

    Their normalisation by the sum is left out: it does not change the ranking. Batches
    count by their examples.
    """
    names, live, others = _parts(module, weights, kept, score.precision)
    module.train(score.batch_norm == "train")
    total = [torch.zeros_like(tensor) for tensor in live.values()]
    for batch, share in paced(_shares(batches)):
        loss = _loss(module, {**others, **live}, batch)
        gradients = torch.autograd.grad(loss, list(live.values()), materialize_grads=True)
        if score.total == "absolute":
            gradients = tuple(g.abs() for g in gradients)
        torch._foreach_add_(total, list(gradients), alpha=share)
    return {
        name: (live[name].detach() * gradient).abs()
        for name, gradient in zip(names, total, strict=True)
    }


@sdpa_kernel(SDPBackend.MATH)
def grasp(
    score: Grasp, module: nn.Module, weights: Weights, kept: Kept | None, batches: list[Batch]
) -> Scores:
    """θ ⊙ Hg: how much a weight's removal lowers the gradient norm (Wang et al. 2020, eq. 8).

    The paper removes the weights with the largest −θ ⊙ Hg; those are kept last here. The
    gradient g is that of all batches, as in the paper's algorithm 2; then each batch's
    Hessian is multiplied by it.
    """
    names, live, others = _parts(module, weights, kept, score.precision)
    module.train(score.batch_norm == "train")
    tensors, shares = list(live.values()), _shares(batches)
    gradient = [torch.zeros_like(tensor) for tensor in tensors]
    if len(shares) > 1:
        for batch, share in paced(shares):
            loss = _loss(module, {**others, **live}, batch, score.temperature)
            slopes = torch.autograd.grad(loss, tensors, materialize_grads=True)
            torch._foreach_add_(gradient, list(slopes), alpha=share)
    curvature = [torch.zeros_like(tensor) for tensor in tensors]
    for batch, share in paced(shares):
        with DifferentiableTwice():
            loss = _loss(module, {**others, **live}, batch, score.temperature)
        own = torch.autograd.grad(loss, tensors, create_graph=True, materialize_grads=True)
        fixed = gradient if len(shares) > 1 else [g.detach() for g in own]
        product = torch.stack([(f * g).sum() for f, g in zip(fixed, own, strict=True)]).sum()
        bent = torch.autograd.grad(product, tensors, materialize_grads=True)
        torch._foreach_add_(curvature, list(bent), alpha=share)
    scores = {n: live[n].detach() * c for n, c in zip(names, curvature, strict=True)}
    return {n: s.abs() for n, s in scores.items()} if score.absolute else scores


@sdpa_kernel(SDPBackend.MATH)
def obd(
    score: Obd, module: nn.Module, weights: Weights, kept: Kept | None, batches: list[Batch]
) -> Scores:
    """½ h θ², the loss by second order when a weight is removed (LeCun et al. 1990, eq. 5).

    The Gauss-Newton diagonal of cross-entropy is Σ_c (∂(s_c · z)/∂θ)² with s_c the columns
    of a root of diag(p) - p pᵀ, the loss's curvature in the logits z. A ReLU network's
    logits are linear in any one weight, so for it this is the Hessian's diagonal. Batch
    norm in evaluation, since examples are taken one by one.
    """
    names, live, others = _parts(module, weights, kept, "float32")
    module.eval()

    def one_logit(live: Weights, image: Tensor, direction: Tensor) -> Tensor:
        return (call(module, {**others, **live}, image[None])[0] * direction).sum()

    slopes = _of_each(grad(one_logit))
    total = [torch.zeros_like(live[name]) for name in names]
    batch = Batch(torch.cat([b.images for b in batches]), torch.cat([b.labels for b in batches]))
    with torch.no_grad():
        logits = call(module, {**others, **live}, batch.images)
    for direction in _directions(score, logits, batch.labels):
        parts = (torch.split(t, EXAMPLES_AT_ONCE) for t in (batch.images, direction))
        for images, part in paced(zip(*parts, strict=True)):
            found = slopes({n: t.detach() for n, t in live.items()}, images, part)
            for i, name in enumerate(names):
                total[i] += found[name].square().sum(0)
    return {
        name: live[name].detach().square() * h / (2 * len(batch.labels))
        for name, h in zip(names, total, strict=True)
    }


def synflow(
    module: nn.Module,
    weights: Weights,
    kept: Kept | None,
    input_shape: tuple[int, ...],
    precision: str = "float64",
) -> Scores:
    """|θ ⊙ ∂R/∂θ| with R the sum of outputs for an input of ones through |θ| (Tanaka 2020, eq. 3).

    Float64, since R reaches 1e139 on deep networks. Batch norm in evaluation with running
    mean 0 and variance 1, also for trained weights: what was learned of the data's
    statistics is no part of the synaptic flow, and subtracting a mean would break its
    conservation.
    """
    flow = {n: t.detach().abs() if t.is_floating_point() else t for n, t in weights.items()}
    for name, tensor in flow.items():
        if name.endswith("running_mean"):
            flow[name] = torch.zeros_like(tensor)
        elif name.endswith("running_var"):
            flow[name] = torch.ones_like(tensor)
    names, live, others = _parts(module, flow, kept, precision)
    module.eval()
    ones = torch.ones(1, *input_shape, dtype=live[names[0]].dtype, device=live[names[0]].device)
    total = call(module, {**others, **live}, ones).sum()
    gradients = torch.autograd.grad(total, list(live.values()), materialize_grads=True)
    return {
        name: live[name].detach().mul_(gradient).abs_()
        for name, gradient in zip(names, gradients, strict=True)
    }


FUNCTIONS: dict[type[Score], Callable[[Any, Subject], Scores]] = {
    Random: lambda score, s: random(score, s.module),
    Magnitude: lambda _, s: magnitude(s.module, s.weights),
    Snip: lambda score, s: snip(score, s.module, s.weights, s.kept, s.batches),
    Grasp: lambda score, s: grasp(score, s.module, s.weights, s.kept, s.batches),
    Obd: lambda score, s: obd(score, s.module, s.weights, s.kept, s.batches),
    Synflow: lambda score, s: synflow(
        s.module, s.weights, s.kept, s.network.input_shape, score.precision
    ),
}
"""The function of each score by its record."""


def _directions(score: Obd, logits: Tensor, labels: Tensor) -> Iterable[Tensor]:
    """Directions (examples, classes) in the logits whose squared slopes add up to h."""
    p = logits.softmax(1)
    if score.hessian == "fisher":
        yield p - torch.nn.functional.one_hot(labels, p.shape[1])
        return
    for c in range(p.shape[1]):
        axis = torch.zeros_like(p)
        axis[:, c] = 1
        yield p[:, c : c + 1].sqrt() * (axis - p)


def _of_each(slope: Callable[..., Weights]) -> Callable[..., Weights]:
    """A slope of each example, of all together where the network's operations allow it.

    Recurrent ones do not, nor does code that looks at values.
    """

    def slopes(live: Weights, images: Tensor, directions: Tensor) -> Weights:
        try:
            return vmap(slope, in_dims=(None, 0, 0))(live, images, directions)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            pairs = zip(images, directions, strict=True)
            found = [slope(live, image, direction) for image, direction in pairs]
            return {name: torch.stack([one[name] for one in found]) for name in live}

    return slopes


def _loss(module: nn.Module, weights: Weights, batch: Batch, temperature: float = 1.0) -> Tensor:
    images = batch.images.to(weights[prunable(module)[0]].dtype)
    return cross_entropy(call(module, weights, images) / temperature, batch.labels)


def _shares(batches: list[Batch]) -> list[tuple[Batch, float]]:
    """Batches with their share of all examples."""
    examples = sum(len(batch.labels) for batch in batches)
    return [(batch, len(batch.labels) / examples) for batch in batches]


def _parts(
    module: nn.Module, weights: Weights, kept: Kept | None, precision: str
) -> tuple[list[str], dict[str, Tensor], Weights]:
    """Prunable names; their masked weights, to be differentiated; copies of all else.

    Copies, because batch norm in training mode writes its running statistics.
    """
    names = prunable(module)
    if precision == "float64":
        weights = {n: t.double() if t.is_floating_point() else t for n, t in weights.items()}
    live = {
        name: (weights[name] if kept is None else weights[name] * kept[name])
        .detach()
        .clone()
        .requires_grad_()
        for name in names
    }
    others = {n: t.detach().clone() for n, t in weights.items() if n not in live}
    return names, live, others
