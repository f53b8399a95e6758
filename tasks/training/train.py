"""The training loop: what one train task computes, flat and without global state.

Plain tensors go in, plain tensors come out; the module holds no weights. The loop reads and
writes nothing outside itself. lanes.py trains several runs side by side, each to the same bits.
"""

from collections.abc import Collection
from dataclasses import dataclass
from math import cos, isfinite, pi
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tasks.data.batches import Batch, Data, training_batches
from tasks.heartbeat import paced
from tasks.masks import Kept
from tasks.networks.build import Weights, build
from tasks.networks.random_layers import drawing
from tasks.training.evaluation import EVALUATION, Eval, evaluate
from tasks.training.gradinit import rescale_weights
from tasks.training.group import ALONE, Group
from tasks.training.optimizers import optimizer, update
from tasks.training.precision import Callee, arithmetic, in_its_precision, laid_out
from tasks.training.tost import Ghosts
from tasks.values.training import Cosine, Network, Recipe, StepDecay

__all__ = ["EVALUATION", "Checkpoint", "Checkpoints", "Eval", "MaskViolation", "Trained", "train"]


class MaskViolation(RuntimeError):
    """A pruned weight is not zero: the results of the run are void."""


@dataclass(frozen=True)
class Trained:
    """Result of training a run: metrics, saved states by step, and the last weights.

    `diverged_at` is the first step whose loss was not finite; None if there is none.
    """

    evals: list[Eval]
    states: dict[int, Weights]
    weights: Weights
    diverged_at: int | None


@dataclass(frozen=True)
class Checkpoint:
    """A run interrupted after `step` iterations, before the evaluation of that step.

    `optimizer` is the optimizer's state, empty before its first update. `losses` (steps,) holds
    the losses of the iterations so far, `states` the states saved so far.
    """

    step: int
    weights: Weights
    optimizer: list[Tensor]
    losses: Tensor
    evals: list[Eval]
    states: dict[int, Weights]


class Checkpoints(Protocol):
    """Storage for the checkpoints of one run."""

    def last(self) -> Checkpoint | None:
        """Return the last checkpoint of this run, or None."""
        ...

    def due(self) -> bool:
        """Return whether it is time for another checkpoint."""
        ...

    def keep(self, checkpoint: Checkpoint) -> None:
        """Store a checkpoint in place of the one before."""
        ...


class _Never:
    """No checkpoints: the run is trained without interruption."""

    def last(self) -> None:
        return None

    def due(self) -> bool:
        return False

    def keep(self, checkpoint: Checkpoint) -> None:
        raise NotImplementedError


NEVER: Checkpoints = _Never()
"""No checkpoint exists, and none is stored."""


@in_its_precision
def train(
    network: Network,
    recipe: Recipe,
    data: Data,
    weights: Weights,
    kept: Kept | None = None,
    *,
    order_seed: int,
    first_step: int = 0,
    last_step: int | None = None,
    save: Collection[int] = (),
    checkpoints: Checkpoints = NEVER,
    group: Group = ALONE,
) -> Trained:
    """Train from `first_step` to `last_step` (default: the recipe's end) and evaluate.

    SGD and Adam are those of PyTorch: weight decay is added to the gradient, and buffers start
    at zero. Gradients and buffers are masked before they change the weights, so a pruned weight
    is exactly zero at every step; each evaluation checks this. A non-finite loss ends training
    at the next evaluation, whose weights then stand for all states still to be saved. A run
    that continues from one of its `checkpoints` gives the same bits as one without
    interruption. In a `group` each process trains on its part of every batch.

    Parameters
    ----------
    weights
        Parameters and buffers at `first_step`, by name, on any device.
    kept
        Bool tensors, True where a weight is kept, by name; None is the dense network.
    order_seed
        Seed of the order of the examples and of their augmentation.
    save
        Steps at which the state is returned.

    Raises
    ------
    MaskViolation
        When a pruned weight or its momentum is not zero.
    """
    last_step = recipe.steps if last_step is None else last_step
    module = build(network, in_place=recipe.ghosts == "none")
    group.prepare(module)
    device = data.train.labels.device
    cut = checkpoints.last() or beginning(
        network, recipe, data, weights, kept, order_seed, first_step, last_step
    )
    state = {n: laid_out(t.to(device, copy=True), recipe.precision) for n, t in cut.weights.items()}
    params = {n: state[n].requires_grad_() for n, p in module.named_parameters() if p.requires_grad}
    tensors = list(params.values())
    masks = {n: laid_out(m, recipe.precision) for n, m in masks_of(network, state, kept).items()}
    masked = [(i, masks[n]) for i, n in enumerate(params) if n in masks]
    updates = optimizer(recipe, tensors)
    ghosts = Ghosts(module, recipe)
    if cut.optimizer:
        buffers = (tensor.to(device, copy=True) for tensor in cut.optimizer)
        updates.restore([laid_out(tensor, recipe.precision) for tensor in buffers])
    losses = cut.losses.to(device, copy=True)
    evals, states = list(cut.evals), dict(cut.states)
    batches = training_batches(
        data.train, recipe, order_seed, cut.step, last_step, (group.rank, group.size)
    )
    with torch.no_grad():
        for name, mask in masks.items():
            state[name].mul_(mask)
    called = Callee(module, state, recipe.precision)

    diverged_at = None
    for step in paced(range(cut.step, last_step + 1)):
        if cut.step < step < last_step and checkpoints.due():
            now = {n: t.detach().contiguous() for n, t in state.items()}
            optimizer_state = [tensor.contiguous() for tensor in updates.state()]
            checkpoints.keep(Checkpoint(step, now, optimizer_state, losses, evals, states))
        due = step in (first_step, last_step) or step % recipe.evaluate_every == 0
        if due:
            check_masks(state, dict(zip(params, updates.buffers, strict=True)), masks)
            ghosts.set_step(None)
            splits = recipe.evaluate
            with drawing(network, order_seed, "evaluation", f"{step} {group.rank}", device):
                evals += evaluate(module, state, data, step, splits, group, recipe.precision)
            diverged_at = first_non_finite(losses, first_step, step)
        if step in save:
            states[step] = copied(state)
        if step == last_step or diverged_at is not None:
            break

        batch = next(batches)
        if not module.training:
            module.train()
        ghosts.set_step(step)
        with drawing(network, order_seed, "training", f"{step} {group.rank}", device):
            logits = called.logits(batch.images)
        gradients = called.gradients(loss := loss_of(logits, batch, recipe))
        with torch.no_grad():
            group.sum([*gradients, loss := loss.detach()])
            losses[step] = loss
        update(recipe, updates, tensors, gradients, masked, learning_rate(recipe, step))
        called.refresh()

    for step in save:
        states.setdefault(step, copied(state))
    weights = {n: t.detach().contiguous() for n, t in state.items()}
    return Trained(evals, states, weights, diverged_at)


def copied(state: Weights) -> Weights:
    """Return a copy of a run's weights, in PyTorch's usual memory layout."""
    return {n: t.detach().clone(memory_format=torch.contiguous_format) for n, t in state.items()}


def loss_of(logits: Tensor, batch: Batch, recipe: Recipe) -> Tensor:
    """Return the mean cross-entropy of a batch.

    Of a part of a batch, return its share of the mean of the whole batch.
    """
    smoothing = recipe.label_smoothing
    if batch.whole in (0, len(batch.labels)):
        return cross_entropy(logits, batch.labels, label_smoothing=smoothing)
    total = cross_entropy(logits, batch.labels, label_smoothing=smoothing, reduction="sum")
    return total / batch.whole


def beginning(
    network: Network,
    recipe: Recipe,
    data: Data,
    weights: Weights,
    kept: Kept | None,
    order_seed: int,
    first_step: int,
    last_step: int,
) -> Checkpoint:
    """Return the checkpoint before the first iteration, its weights rescaled if the recipe asks."""
    if recipe.rescale_steps and first_step == 0:
        moved = {n: t.to(data.train.labels.device) for n, t in weights.items()}
        with arithmetic("float32"):  # part of the initialization, so in the precision of scores
            weights = rescale_weights(network, recipe, data, moved, kept, order_seed=order_seed)
    return Checkpoint(first_step, weights, [], torch.zeros(last_step), [], {})


def learning_rate(recipe: Recipe, step: int) -> float:
    """Return the learning rate of the update that follows `step` iterations."""
    rate = recipe.lr
    match recipe.schedule:
        case StepDecay(at=at, factor=factor):
            rate *= factor ** sum(step >= drop for drop in at)
        case Cosine():
            rate *= (1 + cos(pi * step / recipe.steps)) / 2
    return rate * min(1.0, (step + 1) / recipe.warmup) if recipe.warmup else rate


def masks_of(network: Network, state: Weights, kept: Kept | None) -> Weights:
    """Return each mask in the type and on the device of its tensor, to multiply it by.

    Raises
    ------
    MaskViolation
        When a mask has the name of no tensor of the network.
    """
    if unknown := sorted(kept.keys() - state.keys() if kept else ()):
        raise MaskViolation(f"{network.name} has no tensor {', '.join(unknown)} to mask")
    return {name: mask.to(state[name]) for name, mask in kept.items()} if kept else {}


def check_masks(state: Weights, momenta: Weights, masks: Weights) -> None:
    """Check that pruned weights and their momenta are zero.

    `state` holds each tensor that the forward pass computes with, once.

    Raises
    ------
    MaskViolation
        When one of them is not zero.
    """
    for name, mask in masks.items():
        pruned, weight = mask == 0, state[name].detach()
        momentum = momenta.get(name, torch.zeros_like(weight))  # a frozen weight has none
        # NaN weights belong to a diverged run, which is a result and not a broken mask.
        stray = int(torch.count_nonzero(weight[pruned].nan_to_num(0.0)))
        if stray or torch.count_nonzero(momentum[pruned].nan_to_num(0.0)):
            raise MaskViolation(f"{stray} pruned weights of {name} are not zero")


def first_non_finite(losses: Tensor, first: int, last: int) -> int | None:
    """Return the first step in [first, last) whose loss is not finite, or None."""
    if first == last or isfinite(float(losses[first:last].sum())):
        return None
    bad = torch.nonzero(~torch.isfinite(losses[first:last])).flatten()
    return first + int(bad[0]) if len(bad) else None
