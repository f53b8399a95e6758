"""Loss and accuracy of a network on whole splits: in parts, on one process or several."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tasks.data.batches import Data, Split
from tasks.heartbeat import paced
from tasks.networks.build import Weights, call
from tasks.training.group import ALONE, Group
from tasks.training.precision import Callee, arithmetic
from tasks.values.training import Arithmetic

EVALUATION = 2
"""Version of how `evaluate` adds up losses: it rises when the order of additions changes."""

EXAMPLES_AT_ONCE = {"cpu": 512, "cuda": 4096}
"""Largest number of examples in one forward pass of an evaluation, by kind of device."""

VALUES_AT_ONCE = {"cpu": 2**20, "cuda": 2**26}
"""Largest number of values in one activation of an evaluation, by kind of device.

On a CPU they are 4 MiB, so activations stay in the cache (measured with ResNet-20 and Conv-2
on two kinds of CPU, tests/benchmarks/RESULTS.md)."""


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
        """Build it from the sums (3,) over a split of `size` examples."""
        loss, top1, top5 = sums.tolist()
        return cls(step, split, loss / size, top1 / size, top5 / size)


@torch.no_grad()
def evaluate(
    module: nn.Module,
    weights: Weights,
    data: Data,
    step: int,
    splits: Collection[str] = ("train", "test"),
    group: Group = ALONE,
    precision: Arithmetic = "float32",
) -> list[Eval]:
    """Evaluate a network on all of each split, unaugmented, batch norm in evaluation mode."""
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
    """Return sums (3,) float64 over numbered examples: loss, top-1 hits, top-5 hits.

    Each of `parts` holds the example numbers (examples,) of one forward pass.
    """
    measured: list[tuple[Tensor, Tensor, Tensor]] = []
    for numbers in paced(parts):
        batch = split.batch(numbers)
        logits = called.logits(batch.images)
        best = logits.topk(min(5, logits.shape[1])).indices
        measured.append(
            (
                cross_entropy(logits, batch.labels, reduction="none"),
                logits.argmax(1) == batch.labels,
                (best == batch.labels[:, None]).any(1),
            )
        )
    columns = [torch.cat(column) for column in zip(*measured, strict=True)]
    return torch.stack([column.sum(dtype=torch.float64) for column in columns])


def evaluation_batch(module: nn.Module, weights: Weights, split: Split) -> int:
    """Return the number of examples of one forward pass, by the limits above."""
    device = split.labels.device
    if module not in _largest:
        example = split.batch(torch.zeros(1, dtype=torch.int64, device=device)).images
        _largest[module] = _largest_activation(module, weights, example)
    kind = device.type if device.type in EXAMPLES_AT_ONCE else "cpu"
    return max(1, min(EXAMPLES_AT_ONCE[kind], VALUES_AT_ONCE[kind] // _largest[module]))


_largest: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()


def _largest_activation(module: nn.Module, weights: Weights, example: Tensor) -> int:
    """Return the size of the largest input or output of a layer, for one example."""
    sizes = [example.numel()]

    def note(_: nn.Module, __: object, output: object) -> None:
        if isinstance(output, Tensor):
            sizes.append(output.numel())

    hooks = [child.register_forward_hook(note) for child in module.modules()]
    call(module, weights, example)
    for hook in hooks:
        hook.remove()
    return max(sizes)
