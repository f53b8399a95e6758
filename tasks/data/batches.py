"""Datasets on the device: pixels as stored, normalised when a batch is taken.

Small datasets lie on the device as uint8. The files of ImageNet are read when a batch needs
them (tasks.data.readers). Validation examples are drawn from the training split by a fixed
seed.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from tasks import random_streams
from tasks.data import readers
from tasks.data.augment import Draws, augmented
from tasks.data.checks import checked
from tasks.heartbeat import paced
from tasks.values import catalog, user_code
from tasks.values.catalog import DatasetFacts
from tasks.values.scores import Examples
from tasks.values.training import Dataset, Recipe


class Images(Protocol):
    """Images by number, from memory or from files."""

    def __len__(self) -> int: ...

    def take(self, chosen: Tensor, draws: Draws | None) -> Tensor:
        """Return float32 images (examples, channels, height, width), augmented by the draws."""
        ...


@dataclass(frozen=True)
class InMemory:
    """Images in memory, `pixels` (examples, channels, height, width): uint8, or float32.

    Float32 pixels are normalised already.
    """

    pixels: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, chosen: Tensor, draws: Draws | None) -> Tensor:
        taken = self.pixels[chosen]
        if not taken.is_floating_point():
            taken = taken.float() / 255
        return taken if draws is None else augmented(taken, draws)


@dataclass(frozen=True)
class Batch:
    """Normalised `images` (examples, channels, height, width) float32, `labels` (examples,).

    `whole` is the number of examples of the whole batch if several devices share it, else 0.
    """

    images: Tensor
    labels: Tensor
    whole: int = 0


@dataclass(frozen=True)
class Split:
    """Images and their labels (examples,) int64.

    `mean` and `std` (channels, 1, 1) normalise the images of `source`, unless they are already
    `normalised`.
    """

    source: Images
    labels: Tensor
    mean: Tensor
    std: Tensor
    normalised: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, chosen: Tensor, draws: Draws | None = None) -> Batch:
        """Return the examples with the chosen numbers, normalised, and augmented by the draws."""
        images = self.source.take(chosen, draws).to(self.labels.device)
        if not self.normalised:
            images = (images - self.mean) / self.std
        return Batch(images, self.labels[chosen])

    def part(self, chosen: Tensor) -> "Split":
        """Return the examples with the chosen numbers as a split."""
        source = Part(self.source, chosen)
        return Split(source, self.labels[chosen], self.mean, self.std, self.normalised)


@dataclass(frozen=True)
class Part:
    """The images of `whole` with the chosen numbers."""

    whole: Images
    chosen: Tensor

    def __len__(self) -> int:
        return len(self.chosen)

    def take(self, chosen: Tensor, draws: Draws | None) -> Tensor:
        return self.whole.take(self.chosen[chosen], draws)


@dataclass(frozen=True)
class Data:
    """The splits of a dataset on one device; `val` holds the examples held out of train."""

    train: Split
    test: Split
    val: Split | None = None

    def split(self, name: str) -> Split:
        """Return a split by name: "train", "test" or "val".

        Raises
        ------
        ValueError
            When no examples were held out for validation.
        """
        split: Split | None = getattr(self, name)
        if split is None:
            raise ValueError("val is evaluated but no training examples are held out for it")
        return split


@lru_cache(maxsize=8)
def load(dataset: Dataset, device: str = "cpu") -> Data:
    """Load a dataset on a device, once per process.

    Raises
    ------
    ValueError
        When no dataset has that name, or its data differ from its facts.
    FileNotFoundError
        When its files are missing; the message names the command that fetches them.
    """
    facts = catalog.dataset_facts(dataset.name)
    mean, std = (
        torch.tensor(c, dtype=torch.float64)[:, None, None] for c in (facts.mean, facts.std)
    )

    def split(name: str) -> Split:
        images, labels = _read(dataset, facts, name)
        floats = False
        if isinstance(images, Tensor):
            floats = images.is_floating_point()
            if floats:  # normalised once, in float64
                images = ((images.double() - mean) / std).float()
            images = InMemory(images.to(device))
        means, deviations = mean.float().to(device), std.float().to(device)
        return Split(images, labels.to(device), means, deviations, floats)

    train, test = split("train"), split("test")
    if not dataset.validation:
        return Data(train, test)
    order = torch.from_numpy(random_streams.permutation(len(train), 0, "validation split")).to(
        device
    )
    held = order[: dataset.validation].sort().values
    rest = order[dataset.validation :].sort().values
    return Data(train.part(rest), test, train.part(held))


def _read(dataset: Dataset, facts: DatasetFacts, split: str) -> tuple[Any, Tensor]:
    """Read the images and labels of a split, and compare them with the facts.

    Examples of shipped datasets are not counted, since their files have checksums.
    """
    users = ":" in dataset.name
    if users:
        examples = user_code.call(dataset.name, split, source=dataset.source)
    else:
        examples = readers.reader(dataset.name)(split)
    counted = getattr(facts, split) if users else None
    try:
        return checked(examples, facts, counted=counted)
    except ValueError as error:
        raise ValueError(f"{dataset.name}, {split}: {error}") from None


def scoring_batches(data: Data, examples: Examples) -> list[Batch]:
    """Return the training examples of a score, drawn by seed; in the order of classes if balanced.

    Raises
    ------
    ValueError
        When a class has fewer examples than `per_class`.
    """
    labels = data.train.labels.cpu().numpy()
    if examples.draw == "balanced":
        drawn = [
            _draw_of_class(np.flatnonzero(labels == label), examples, int(label))
            for label in np.unique(labels)
        ]
        chosen = np.concatenate(drawn)
    else:
        order = random_streams.permutation(len(labels), examples.seed, "random examples")
        chosen = order[: examples.per_class * len(np.unique(labels))]
    index = torch.from_numpy(chosen).to(data.train.labels.device)
    return [
        data.train.batch(part, _scoring_draws(examples, number, len(part)))
        for number, part in paced(enumerate(torch.split(index, examples.batch_size or len(index))))
    ]


def _scoring_draws(examples: Examples, number: int, size: int) -> Draws | None:
    if examples.augment == "none":
        return None
    return Draws(examples.augment, size, examples.seed, "augment scoring", number)


def training_batches(
    split: Split,
    recipe: Recipe,
    order_seed: int,
    first_step: int,
    last_step: int,
    part: tuple[int, int] = (0, 1),
) -> Iterator[Batch]:
    """Yield the batch of each step from `first_step` to `last_step`, each epoch in a new order.

    A batch depends on the seed and the step alone. `part` (rank, size) selects every size-th
    example of each batch, beginning with number rank. If images are read from files, a thread
    reads the next batch during the current step.
    """
    if isinstance(split.source, InMemory | Part):
        yield from _batches(split, recipe, order_seed, first_step, last_step, part)
        return
    ahead = _batches(split, recipe, order_seed, first_step, last_step, part)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(next, ahead, None)
        while (batch := waiting.result()) is not None:
            waiting = pool.submit(next, ahead, None)
            yield batch


def _batches(
    split: Split,
    recipe: Recipe,
    order_seed: int,
    first_step: int,
    last_step: int,
    part: tuple[int, int],
) -> Iterator[Batch]:
    per_epoch = -(-len(split) // recipe.batch_size)
    order = torch.empty(0, dtype=torch.int64)
    for step in range(first_step, last_step):
        epoch, batch = divmod(step, per_epoch)
        if batch == 0 or not len(order):
            drawn = random_streams.permutation(len(split), order_seed, "order", epoch)
            order = torch.from_numpy(drawn).to(split.labels.device)
        chosen = order[batch * recipe.batch_size : (batch + 1) * recipe.batch_size]
        draws = None
        if recipe.augment != "none":
            draws = Draws(recipe.augment, len(chosen), order_seed, "augment", step, *part)
        yield replace(split.batch(chosen[part[0] :: part[1]], draws), whole=len(chosen))


def _draw_of_class(
    members: random_streams.IntArray, examples: Examples, label: int
) -> random_streams.IntArray:
    if len(members) < examples.per_class:
        raise ValueError(
            f"per_class takes at most {len(members)} on {examples.dataset.name} "
            f"(class {label} has no more), not {examples.per_class}"
        )
    order = random_streams.permutation(len(members), examples.seed, "examples", label)
    return members[order[: examples.per_class]]
