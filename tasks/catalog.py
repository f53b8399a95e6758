"""What exists, by name, with the facts that planning needs. Imports nothing heavy."""

from dataclasses import dataclass

from tasks.spec import Network


@dataclass(frozen=True)
class DatasetFacts:
    """Shape of one example (channels, height, width), classes, and examples per split."""

    input_shape: tuple[int, int, int]
    classes: int
    train: int
    test: int


DATASETS = {
    "digits": DatasetFacts(input_shape=(1, 8, 8), classes=10, train=1437, test=360),
}

NETWORKS = ("lenet_300_100", "conv2_bn")


def network(name: str, dataset: str) -> Network:
    """The named architecture, shaped for the named dataset."""
    facts = DATASETS[dataset]
    return Network(name=name, input_shape=facts.input_shape, classes=facts.classes)


def steps_per_epoch(dataset: str, batch_size: int) -> int:
    """Iterations in one pass over the training split; a short last batch counts."""
    return -(-DATASETS[dataset].train // batch_size)
