"""Error barrier on the line between two trained networks, and the distance between them.

Frankle, Dziugaite, Roy and Carbin 2020, "Linear Mode Connectivity and the Lottery Ticket
Hypothesis", section 2.
"""

from collections.abc import Collection
from dataclasses import dataclass

import torch

from tasks.data.batches import Data
from tasks.heartbeat import paced
from tasks.networks.build import Weights, build
from tasks.networks.random_layers import drawing
from tasks.training.evaluation import evaluate
from tasks.values.training import Arithmetic, Network


@dataclass(frozen=True)
class Barrier:
    """Top-1 errors (points,), as fractions, from the first network to the second.

    The barrier of a split is the largest error on the path minus the mean error of its two
    ends. The paper calls two networks linearly connected if it is below 0.02.
    """

    train_errors: tuple[float, ...]
    test_errors: tuple[float, ...]

    @property
    def train(self) -> float:
        """Barrier of the training error."""
        return _height(self.train_errors)

    @property
    def test(self) -> float:
        """Barrier of the test error."""
        return _height(self.test_errors)


def barrier(
    network: Network,
    first: Weights,
    second: Weights,
    data: Data,
    points: int = 30,
    precision: Arithmetic = "float32",
) -> Barrier:
    """Measure errors at `points` evenly spaced weights (1 − α) first + α second, ends included.

    The running statistics of batch norm are interpolated with the weights, not measured again.
    Weights may lie on any device. They are evaluated on the device of the data, in the
    `precision` in which they were trained.

    Raises
    ------
    ValueError
        When there are fewer than 2 points, or the tensors of the two networks differ in name.
    """
    if points < 2:
        raise ValueError(f"points takes at least 2, the two ends, not {points}")
    if first.keys() != second.keys():
        raise ValueError("the two networks do not have tensors of the same names")
    module, device = build(network), data.train.labels.device
    first, second = ({n: t.to(device) for n, t in end.items()} for end in (first, second))
    errors: dict[str, list[float]] = {"train": [], "test": []}
    for point in paced(range(points)):
        between = _between(first, second, point / (points - 1))
        with drawing(network, 0, "barrier", point, device):
            evals = evaluate(module, between, data, point, precision=precision)
        for measured in evals:
            errors[measured.split].append(1 - measured.accuracy)
    return Barrier(tuple(errors["train"]), tuple(errors["test"]))


def distance(first: Weights, second: Weights, names: Collection[str]) -> tuple[float, float]:
    """Return the L2 and the cosine distance (1 − cosine, from 0 to 2) over the named tensors.

    The tensors of each network form one vector, in float64. The cosine distance is computed as
    half the squared distance of the unit vectors, since 1 − cosine would lose digits. It is
    NaN if a vector is 0.
    """
    a, b = (
        torch.cat([end[name].detach().flatten().double() for name in names])
        for end in (first, second)
    )
    cosine = (a / a.norm() - b / b.norm()).square().sum() / 2
    return float((a - b).norm()), float(cosine)


@torch.no_grad()
def _between(first: Weights, second: Weights, alpha: float) -> Weights:
    """Interpolate the weights, exactly at both ends.

    Counters, which evaluation does not read, are those of the first network.
    """
    return {
        name: torch.lerp(tensor, second[name], alpha) if tensor.is_floating_point() else tensor
        for name, tensor in first.items()
    }


def _height(errors: tuple[float, ...]) -> float:
    return max(errors) - (errors[0] + errors[-1]) / 2
