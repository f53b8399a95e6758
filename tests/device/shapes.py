"""Networks, data and recipes that the device script times; a digest of the end of a run."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from unittest import mock

import torch

from tasks.data.batches import Data, InMemory, Split
from tasks.masks import Kept
from tasks.networks.build import initial_weights
from tasks.pruning.prune import prune
from tasks.training import evaluation, precision
from tasks.training import lanes as lane_module
from tasks.training import train as train_module
from tasks.training.lanes import Lap, lanes, train_side_by_side
from tasks.training.train import Trained
from tasks.values.scores import Random
from tasks.values.training import Init, Network, Recipe

WIDE = Network(name="lenet_300_100", input_shape=(1, 28, 28), classes=10)
CONV_2 = Network(name="conv_2", input_shape=(3, 32, 32), classes=10)
RESNET_20 = Network(name="resnet20", input_shape=(3, 32, 32), classes=10)
VGG_16 = Network(name="vgg16_bn", input_shape=(3, 32, 32), classes=10)
RESNET_18 = Network(name="resnet18_small_stem", input_shape=(3, 64, 64), classes=200)
RESNET_50 = Network(name="resnet50", input_shape=(3, 224, 224), classes=1000)

SGD = Recipe(steps=64, batch_size=128, lr=0.01, evaluate_every=10**6, evaluate=("test",))
SMALL = replace(SGD, batch_size=60)
CROPPED = replace(SGD, augment="crop_flip", weight_decay=1e-4)


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def noise(network: Network, examples: int, test: int | None = None) -> Data:
    """Draw random bytes in the shape of a dataset: speed does not depend on their content."""
    test = test or (256 if torch.cuda.is_available() else 4)
    draws = torch.Generator().manual_seed(0)

    def split(count: int) -> Split:
        shape = (count, *network.input_shape)
        pixels = torch.randint(256, shape, dtype=torch.uint8, generator=draws)
        labels = torch.randint(network.classes, (count,), generator=draws)
        mean = torch.full((network.input_shape[0], 1, 1), 0.47)
        pixels, labels, mean = (t.to(device()) for t in (pixels, labels, mean))
        return Split(InMemory(pixels), labels, mean, mean / 2)

    return Data(split(examples), split(test))


def mask(network: Network, density: float) -> Kept:
    return prune(network, Random(seed=0), None, density).kept


def laps(
    network: Network, count: int, *, density: float = 1.0, **how: object
) -> list[tuple[int, Lap]]:
    """Build runs of different seeds."""
    kept = None if density == 1 else mask(network, density)
    return [
        (seed, Lap(initial_weights(network, Init(seed=seed)), kept, seed, **how))  # type: ignore[arg-type]
        for seed in range(count)
    ]


def go(
    asked: list[tuple[int, Lap]], where: list[lane_module.Lane], recipe: Recipe
) -> dict[int, Trained]:
    """Train; raise the error of any run."""
    found = {}
    for name, trained in train_side_by_side(asked, where, recipe):
        if isinstance(trained, Exception):
            raise trained
        found[name] = trained
    return found


def digest(trained: Trained) -> str:
    """Digest the last weights, the saved ones and the evaluations."""
    sha = hashlib.sha256(repr(trained.evals).encode())
    for weights in (trained.weights, *trained.states.values()):
        for name in sorted(weights):
            sha.update(
                weights[name].cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
            )
    return sha.hexdigest()[:16]


@contextmanager
def eagerly() -> Iterator[None]:
    """Use lanes that record nothing."""
    made = lane_module.Lane.__init__

    def without(lane: lane_module.Lane, *told: object) -> None:
        made(lane, *told)  # type: ignore[arg-type]
        lane.mode = "eager: asked"

    with mock.patch.object(lane_module.Lane, "__init__", without):
        yield


@contextmanager
def as_pytorch_has_it() -> Iterator[None]:
    """Use PyTorch's default switches: TF32 in convolutions, algorithms of cuDNN's choice."""
    nothing = lambda _: nullcontext()  # noqa: E731
    with (
        mock.patch.object(precision, "arithmetic", nothing),
        mock.patch.object(train_module, "arithmetic", nothing),
        mock.patch.object(evaluation, "arithmetic", nothing),
    ):
        yield


__all__ = ["lanes"]
