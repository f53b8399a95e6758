"""Scores of every prunable weight; larger is kept. Each beside its paper's equation.

All but SynFlow's schedule are one shot: one score answers every density (tasks.prune).
"""

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from tasks import streams
from tasks.data import Split
from tasks.masks import Kept, Scores
from tasks.networks.build import Weights, prunable
from tasks.spec import Grasp, Random, Snip


def random(score: Random, module: nn.Module) -> Scores:
    """U(0, 1), each tensor from its own stream."""
    shapes = {name: module.get_parameter(name).shape for name in prunable(module)}
    return {
        name: torch.from_numpy(
            streams.uniform(shape.numel(), score.seed, "random score", name)
        ).reshape(shape)
        for name, shape in shapes.items()
    }


def magnitude(module: nn.Module, weights: Weights) -> Scores:
    """|θ|."""
    return {name: weights[name].abs() for name in prunable(module)}


def snip(
    score: Snip, module: nn.Module, weights: Weights, kept: Kept | None, batch: Split
) -> Scores:
    """|θ ⊙ ∂L/∂θ|, the effect on the loss of removing each weight (Lee et al. 2019, eq. 5-6).

    Their normalisation by the sum is left out: it does not change the ranking.
    """
    names, live, others = _parts(module, weights, kept)
    module.train(score.batch_norm == "train")
    logits = functional_call(module, {**others, **live}, (batch.images,))
    gradients = torch.autograd.grad(cross_entropy(logits, batch.labels), list(live.values()))
    return {
        name: (live[name].detach() * gradient).abs()
        for name, gradient in zip(names, gradients, strict=True)
    }


def grasp(
    score: Grasp, module: nn.Module, weights: Weights, kept: Kept | None, batch: Split
) -> Scores:
    """θ ⊙ Hg: how much a weight's removal lowers the gradient norm (Wang et al. 2020, eq. 8).

    The paper removes the weights with the largest −θ ⊙ Hg; those are kept last here. The
    Hessian-gradient product is that of the paper's algorithm 2, gradient and product from
    the same examples.
    """
    names, live, others = _parts(module, weights, kept)
    module.train(score.batch_norm == "train")
    logits = functional_call(module, {**others, **live}, (batch.images,))
    loss = cross_entropy(logits / score.temperature, batch.labels)
    gradients = torch.autograd.grad(loss, list(live.values()), create_graph=True)
    product = torch.stack([(g.detach() * g).sum() for g in gradients]).sum()
    curvatures = torch.autograd.grad(product, list(live.values()))
    return {
        name: live[name].detach() * curvature
        for name, curvature in zip(names, curvatures, strict=True)
    }


def synflow(
    module: nn.Module, weights: Weights, kept: Kept | None, input_shape: tuple[int, ...]
) -> Scores:
    """|θ ⊙ ∂R/∂θ| with R the sum of outputs for an input of ones through |θ| (Tanaka 2020, eq. 3).

    Float64, since R reaches 1e139 on deep networks. Batch norm in evaluation with running
    mean 0 and variance 1, also for trained weights: what was learned of the data's
    statistics is no part of the synaptic flow, and subtracting a mean would break its
    conservation.
    """
    flow = {name: tensor.detach().abs() for name, tensor in weights.items()}
    for name, tensor in flow.items():
        if name.endswith("running_mean"):
            flow[name] = torch.zeros_like(tensor)
        elif name.endswith("running_var"):
            flow[name] = torch.ones_like(tensor)
    flow = {n: t.double() if t.is_floating_point() else t for n, t in flow.items()}
    names, live, others = _parts(module, flow, kept)
    module.eval()
    ones = torch.ones(1, *input_shape, dtype=torch.float64, device=live[names[0]].device)
    total = functional_call(module, {**others, **live}, (ones,)).sum()
    gradients = torch.autograd.grad(total, list(live.values()))
    return {
        name: (live[name].detach() * gradient).abs()
        for name, gradient in zip(names, gradients, strict=True)
    }


def _parts(
    module: nn.Module, weights: Weights, kept: Kept | None
) -> tuple[list[str], dict[str, Tensor], Weights]:
    """Prunable names; their masked weights, to be differentiated; copies of all else.

    Copies, because batch norm in training mode writes its running statistics.
    """
    names = prunable(module)
    live = {
        name: (weights[name] if kept is None else weights[name] * kept[name])
        .detach()
        .clone()
        .requires_grad_()
        for name in names
    }
    others = {n: tensor.detach().clone() for n, tensor in weights.items() if n not in live}
    return names, live, others
