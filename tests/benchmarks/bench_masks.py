"""Seconds to prune VGG-16 at initialization on one core: the cost of a mask in a collapse sweep."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from measuring import machine, report, timed

from tasks.networks.build import initial_weights
from tasks.pruning.prune import prune
from tasks.values import catalog
from tasks.values.scores import Magnitude, Synflow
from tasks.values.training import Init


def main() -> None:
    """Seconds by method; a shallower schedule beside the whole one shows that it is linear."""
    torch.set_num_threads(1)
    machine()
    network = catalog.network("vgg16_bn", "cifar100")
    weights = initial_weights(network, Init(seed=0))
    for name, score, aim in (
        ("magnitude", Magnitude(), ""),
        ("SynFlow, 10 iterations", Synflow(iterations=10), ""),
        ("SynFlow, 100 iterations", Synflow(), "<= 60 s"),
    ):
        seconds, _ = timed(lambda score=score: prune(network, score, weights, 1e-2))
        report(f"VGG-16 / CIFAR-100 by {name}", f"{seconds:.1f} s", aim)


if __name__ == "__main__":
    main()
