"""What one train task computes: the one training loop, flat and without global state.

Plain tensors in, plain tensors out; the module holds no weights. Nothing outside the loop
is read or written, so that many trials of one shape can later be trained side by side.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import cos, isfinite, pi
from typing import Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tasks.data.batches import Batch, Data, Split, training_batches
from tasks.heartbeat import paced
from tasks.masks import Kept
from tasks.networks.build import Weights, build, call
from tasks.networks.random_layers import drawing
from tasks.training.gradinit import rescaled
from tasks.training.optimizers import optimizer, update
from tasks.training.precision import Callee, arithmetic, in_its_precision, laid_out
from tasks.training.tost import Ghosts
from tasks.values.training import Arithmetic, Cosine, Network, Recipe, StepDecay

EVALUATION = 2
"""Which way of adding up losses `evaluate` has: it rises with the order of its additions."""

EXAMPLES_AT_ONCE = {"cpu": 512, "cuda": 4096}
"""Of an evaluation, at most."""

VALUES_AT_ONCE = {"cpu": 2**20, "cuda": 2**26}
"""Of the largest activation of an evaluation. On a CPU 4 MiB, so that activations stay in the
cache (measured: ResNet-20 and Conv-2 on two kinds of CPU, tests/benchmarks/RESULTS.md)."""


class MaskViolation(RuntimeError):
    """A pruned weight was found to be non-zero: the run's results are void."""


@dataclass(frozen=True)
class Eval:
    """Loss (mean cross-entropy, nats), top-1 and top-5 accuracy (fractions) of one split."""

    step: int
    split: str
    loss: float
    accuracy: float
    top5: float

    @classmethod
    def of(cls, step: int, split: str, size: int, sums: Tensor) -> "Eval":
        """From the sums over a split of so many examples."""
        loss, correct, among = sums.tolist()
        return cls(step, split, loss / size, correct / size, among / size)


@dataclass(frozen=True)
class Trained:
    """A run's metrics, states asked for, last weights, and where its loss stopped being finite."""

    evals: list[Eval]
    states: dict[int, Weights]
    weights: Weights
    diverged_at: int | None


@dataclass(frozen=True)
class Checkpoint:
    """A run cut after `step` iterations, before that step's evaluation.

    `optimizer` is its state, `losses` (steps,) those of the iterations so far, `states` what
    was to be saved up to here.
    """

    step: int
    weights: Weights
    optimizer: list[Tensor]
    losses: Tensor
    evals: list[Eval]
    states: dict[int, Weights]


class Checkpoints(Protocol):
    """Where a run that may be cut goes on from, and what is kept of it on the way."""

    def last(self) -> Checkpoint | None:
        """The last one that was kept of this very run, if any."""
        ...

    def due(self) -> bool:
        """Whether it is time for another."""
        ...

    def keep(self, checkpoint: Checkpoint) -> None:
        """Keep it, in place of the one before."""
        ...


class Group(Protocol):
    """The place of this process among those that train one run together."""

    @property
    def rank(self) -> int:
        """Which of them it is."""
        ...

    @property
    def size(self) -> int:
        """How many they are."""
        ...

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all of them."""
        ...

    def prepare(self, module: nn.Module) -> None:
        """Let layers that look at a batch look at all of it."""
        ...


class _Never:
    """No checkpoints: the run is made in one go."""

    def last(self) -> None:
        return None

    def due(self) -> bool:
        return False

    def keep(self, checkpoint: Checkpoint) -> None:
        raise NotImplementedError


class _Alone:
    """No others: all sums are those of this process."""

    rank, size = 0, 1

    def sum(self, tensors: Sequence[Tensor]) -> None:
        pass

    def prepare(self, module: nn.Module) -> None:
        pass


NEVER: Checkpoints = _Never()
"""No checkpoints are there, and none are kept."""

_ALONE: Group = _Alone()


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
    group: Group = _ALONE,
) -> Trained:
    """Train from `first_step` to `last_step` (the recipe's end) and evaluate on the way.

    SGD and Adam as in PyTorch: weight decay joins the gradient, buffers start at zero. Both
    are masked before they meet the weights, so that a pruned weight is exactly zero at every
    step; this is checked at each evaluation. A non-finite loss ends training at the next
    evaluation: the states still asked for are then those of that moment. A run that goes on
    from one of its `checkpoints` is, bit for bit, the run. In a `group` each process trains
    on its part of every batch.

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
        there = (tensor.to(device, copy=True) for tensor in cut.optimizer)
        updates.restore([laid_out(tensor, recipe.precision) for tensor in there])
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
            ghosts.haunt(None)
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
        ghosts.haunt(step)
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
    """A run's weights as they are now, in PyTorch's usual layout."""
    return {n: t.detach().clone(memory_format=torch.contiguous_format) for n, t in state.items()}


def loss_of(logits: Tensor, batch: Batch, recipe: Recipe) -> Tensor:
    """Mean cross-entropy; of a part of a batch, what it adds to the whole batch's mean."""
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
    """Before the first iteration; an empty `optimizer` is one that has seen none."""
    if recipe.rescale_steps and first_step == 0:
        here = {n: t.to(data.train.labels.device) for n, t in weights.items()}
        with arithmetic("float32"):  # as scores are: it is an initialization
            weights = rescaled(network, recipe, data, here, kept, order_seed=order_seed)
    return Checkpoint(first_step, weights, [], torch.zeros(last_step), [], {})


def learning_rate(recipe: Recipe, step: int) -> float:
    """The rate at which the weights after `step` iterations are updated."""
    rate = recipe.lr
    match recipe.schedule:
        case StepDecay(at=at, factor=factor):
            rate *= factor ** sum(step >= drop for drop in at)
        case Cosine():
            rate *= (1 + cos(pi * step / recipe.steps)) / 2
    return rate * min(1.0, (step + 1) / recipe.warmup) if recipe.warmup else rate


@torch.no_grad()
def evaluate(
    module: nn.Module,
    weights: Weights,
    data: Data,
    step: int,
    splits: Collection[str] = ("train", "test"),
    group: Group = _ALONE,
    precision: Arithmetic = "float32",
) -> list[Eval]:
    """Loss and accuracy on all of each split, unaugmented, batch norm in evaluation."""
    module.eval()
    evals = []
    with arithmetic(precision):
        called = Callee(module, weights, precision)
        for name in splits:
            split = data.split(name)
            numbers = torch.arange(len(split), device=split.labels.device)
            own = numbers[group.rank :: group.size]
            parts = torch.split(own, evaluation_batch(module, weights, split))
            sums = evaluation(called, split, parts)
            group.sum([sums])
            evals.append(Eval.of(step, name, len(split), sums))
    return evals


@torch.no_grad()
def evaluation(called: Callee, split: Split, parts: Sequence[Tensor]) -> Tensor:
    """Sums (3,) float64 over numbered examples: loss, answers right, right among the best five."""
    answers: list[tuple[Tensor, Tensor, Tensor]] = []
    for chosen in paced(parts):
        batch = split.batch(chosen)
        logits = called.logits(batch.images)
        best = logits.topk(min(5, logits.shape[1])).indices
        answers.append(
            (
                cross_entropy(logits, batch.labels, reduction="none"),
                logits.argmax(1) == batch.labels,
                (best == batch.labels[:, None]).any(1),
            )
        )
    columns = [torch.cat(column) for column in zip(*answers, strict=True)]
    return torch.stack([column.sum(dtype=torch.float64) for column in columns])


def evaluation_batch(module: nn.Module, weights: Weights, split: Split) -> int:
    """Examples at a time: so many that each activation stays in the cache."""
    device = split.labels.device
    if module not in _largest:
        example = split.batch(torch.zeros(1, dtype=torch.int64, device=device)).images
        _largest[module] = _largest_activation(module, weights, example)
    kind = device.type if device.type in EXAMPLES_AT_ONCE else "cpu"
    return max(1, min(EXAMPLES_AT_ONCE[kind], VALUES_AT_ONCE[kind] // _largest[module]))


_largest: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()


def _largest_activation(module: nn.Module, weights: Weights, example: Tensor) -> int:
    """Values of the largest tensor that goes into or out of a layer, for one example."""
    sizes = [example.numel()]

    def note(_: nn.Module, __: object, output: object) -> None:
        if isinstance(output, Tensor):
            sizes.append(output.numel())

    hooks = [child.register_forward_hook(note) for child in module.modules()]
    call(module, weights, example)
    for hook in hooks:
        hook.remove()
    return max(sizes)


def masks_of(network: Network, state: Weights, kept: Kept | None) -> Weights:
    """What each weight is multiplied by; every mask must be of a tensor that is computed with."""
    if strange := sorted(kept.keys() - state.keys() if kept else ()):
        raise MaskViolation(f"{network.name} computes with no tensor {', '.join(strange)}")
    return {name: mask.to(state[name]) for name, mask in kept.items()} if kept else {}


def check_masks(state: Weights, momenta: Weights, masks: Weights) -> None:
    """Look at what the forward pass computes with: `state` has each of its tensors, once."""
    for name, mask in masks.items():
        pruned, weight = mask == 0, state[name].detach()
        momentum = momenta.get(name, torch.zeros_like(weight))  # that of a frozen one
        # NaN weights belong to a diverged run, which is a result and not a broken mask.
        stray = int(torch.count_nonzero(weight[pruned].nan_to_num(0.0)))
        if stray or torch.count_nonzero(momentum[pruned].nan_to_num(0.0)):
            raise MaskViolation(f"{stray} pruned weights of {name} are not zero")


def first_non_finite(losses: Tensor, first: int, last: int) -> int | None:
    """The first of these steps whose loss is not finite, if any."""
    if first == last or isfinite(float(losses[first:last].sum())):
        return None
    bad = torch.nonzero(~torch.isfinite(losses[first:last])).flatten()
    return first + int(bad[0]) if len(bad) else None
