"""What exists, by name, with the facts that planning needs. Imports nothing heavy."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from tasks.spec import Network


@dataclass(frozen=True)
class DatasetFacts:
    """Shape of one example (channels, height, width), classes, and examples per split."""

    input_shape: tuple[int, int, int]
    classes: int
    train: int
    test: int


DATASETS = {
    "digits": DatasetFacts(input_shape=(1, 8, 8), classes=10, train=1438, test=359),
}


@dataclass(frozen=True)
class NetworkFacts:
    """Prunable weights and multiply-adds of one example, for estimates before any run."""

    weights: Callable[[tuple[int, int, int], int], int]
    flops: Callable[[tuple[int, int, int], int], int]


def _lenet(shape: tuple[int, int, int], classes: int) -> int:
    return prod(shape) * 300 + 300 * 100 + 100 * classes


def _conv2_weights(shape: tuple[int, int, int], classes: int) -> int:
    c, h, w = shape
    return 9 * c * 16 + 9 * 16 * 32 + 32 * (h // 4) * (w // 4) * classes


def _conv2_flops(shape: tuple[int, int, int], classes: int) -> int:
    c, h, w = shape
    first, second = 9 * c * 16 * h * w, 9 * 16 * 32 * (h // 2) * (w // 2)
    return first + second + 32 * (h // 4) * (w // 4) * classes


NETWORKS = {
    "lenet_300_100": NetworkFacts(weights=_lenet, flops=_lenet),
    "conv2_bn": NetworkFacts(weights=_conv2_weights, flops=_conv2_flops),
}


def network(name: str, dataset: str) -> Network:
    """The named architecture, shaped for the named dataset."""
    facts = DATASETS[dataset]
    return Network(name=name, input_shape=facts.input_shape, classes=facts.classes)


def steps_per_epoch(dataset: str, batch_size: int) -> int:
    """Iterations in one pass over the training split; a short last batch counts."""
    return -(-DATASETS[dataset].train // batch_size)
