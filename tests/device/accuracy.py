"""Bfloat16 against float32 on real images, over paired seeds, dense and at density 0.05."""

import os
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch

from tasks.data.batches import Data, InMemory, Split
from tasks.networks.build import initial_weights
from tasks.pruning.prune import prune
from tasks.training.lanes import Lap
from tasks.values.scores import Magnitude
from tasks.values.training import Init, Recipe, StepDecay
from tests.device.shapes import RESNET_20, device, go, lanes, noise

T_OF_7 = 2.365
"""Two-sided 95 % point of Student's t with 7 degrees of freedom."""

DENSITIES = (1.0, 0.05)

RECIPE = Recipe(
    steps=1170,  # 15 epochs of 10,000 images
    batch_size=128,
    lr=0.1,
    evaluate_every=10**6,
    evaluate=("test",),
    weight_decay=1e-4,
    augment="crop_flip",
    schedule=StepDecay(at=(585, 878)),
)


def study(clock: Any, seeds: int = 8) -> None:
    """Train each seed in both precisions; note the confidence interval of the differences."""
    if clock.dry:
        data, seeds = noise(RESNET_20, 16, 16), 2
        recipe = replace(RECIPE, steps=3, batch_size=4, schedule=StepDecay(at=(2,)))
    else:
        data, recipe = _cifar(), RECIPE
    found = {
        precision: _accuracies(replace(recipe, precision=precision), data, seeds)
        for precision in ("float32", "bfloat16")
    }
    for density in DENSITIES:
        pairs = zip(found["bfloat16"][density], found["float32"][density], strict=True)
        differences = [one - other for one, other in pairs]
        half = T_OF_7 * stdev(differences) / len(differences) ** 0.5
        said = {
            **{precision: accuracies[density] for precision, accuracies in found.items()},
            "difference": mean(differences),
            "half_interval": half,
            "inside": abs(mean(differences)) <= half,
        }
        clock.note(**{f"density {density:g}": said})


def _accuracies(recipe: Recipe, data: Data, seeds: int) -> dict[float, list[float]]:
    """Return test accuracies by density, one for each seed, all through the same lanes."""
    asked: list[Any] = []
    for seed in range(seeds):
        weights = initial_weights(RESNET_20, Init(seed=seed))
        for density in DENSITIES:
            kept = None if density == 1 else prune(RESNET_20, Magnitude(), weights, density).kept
            asked.append(((density, seed), Lap(weights, kept, seed)))
    found: dict[Any, Any] = go(asked, lanes(RESNET_20, recipe, data, seeds), recipe)
    return {d: [found[d, seed].evals[-1].accuracy for seed in range(seeds)] for d in DENSITIES}


def _cifar() -> Data:
    """Load a subset of CIFAR-10 that is sent with the script: DEVICE_IMAGES names its .npz."""
    held = np.load(Path(os.environ["DEVICE_IMAGES"]))
    mean_, std = (
        torch.tensor(c)[:, None, None].to(device())
        for c in ((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616))
    )

    def split(name: str) -> Split:
        pixels = torch.from_numpy(held[f"{name}_images"]).to(device())
        labels = torch.from_numpy(held[f"{name}_labels"].astype(np.int64)).to(device())
        return Split(InMemory(pixels), labels, mean_, std)

    return Data(split("train"), split("test"))
