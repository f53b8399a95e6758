"""Datasets on the device: pixels as they are stored, normalised when a batch is taken.

Small sets lie on the device as uint8; ImageNet's files are read as they are asked for
(tasks.data.readers). Validation examples are drawn from the training split by a fixed seed.
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
        """Float32 (examples, channels, height, width), augmented."""
        ...


@dataclass(frozen=True)
class InMemory:
    """`pixels` (examples, channels, height, width): uint8, or float32 as the network takes them."""

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
    """`images` (examples, channels, height, width) float32, normalised; `labels` (examples,).

    It is part of a batch of `whole` examples where several devices share one; else 0.
    """

    images: Tensor
    labels: Tensor
    whole: int = 0


@dataclass(frozen=True)
class Split:
    """Images and their labels (examples,) int64.

    `mean` and `std` (channels, 1, 1) normalise what `source` gives, if it is not so already.
    """

    source: Images
    labels: Tensor
    mean: Tensor
    std: Tensor
    normalised: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, chosen: Tensor, draws: Draws | None = None) -> Batch:
        """The chosen examples, normalised; augmented where there are draws."""
        images = self.source.take(chosen, draws).to(self.labels.device)
        if not self.normalised:
            images = (images - self.mean) / self.std
        return Batch(images, self.labels[chosen])

    def part(self, chosen: Tensor) -> "Split":
        """Some of the examples as a split of their own."""
        source = Part(self.source, chosen)
        return Split(source, self.labels[chosen], self.mean, self.std, self.normalised)


@dataclass(frozen=True)
class Part:
    """Some of other images, by number."""

    whole: Images
    chosen: Tensor

    def __len__(self) -> int:
        return len(self.chosen)

    def take(self, chosen: Tensor, draws: Draws | None) -> Tensor:
        return self.whole.take(self.chosen[chosen], draws)


@dataclass(frozen=True)
class Data:
    """A dataset's splits, on one device; `val` where some of train is held out."""

    train: Split
    test: Split
    val: Split | None = None

    def split(self, name: str) -> Split:
        """A split by name.

        Raises
        ------
        ValueError
            When nothing was held out for validation.
        """
        found: Split | None = getattr(self, name)
        if found is None:
            raise ValueError("val is evaluated but no training examples are held out for it")
        return found


@lru_cache(maxsize=8)
def load(dataset: Dataset, device: str = "cpu") -> Data:
    """The dataset on a device; loaded once per process.

    Raises
    ------
    ValueError
        When there is no dataset of that name, or what it gives is not what its facts say.
    FileNotFoundError
        When its files are not there; says the command that fetches them.
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
            if floats:  # once for all, and exactly
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
    """A split as it is given, compared with the facts; files of shipped ones have checksums."""
    users = ":" in dataset.name
    if users:
        found = user_code.call(dataset.name, split, source=dataset.source)
    else:
        found = readers.reader(dataset.name)(split)
    counted = getattr(facts, split) if users else None
    try:
        return checked(found, facts, counted=counted)
    except ValueError as error:
        raise ValueError(f"{dataset.name}, {split}: {error}") from None


def scoring_batches(data: Data, examples: Examples) -> list[Batch]:
    """The training examples that a score looks at, drawn by seed; in class order if balanced.

    Raises
    ------
    ValueError
        When a class has fewer than are asked for.
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
    """The batch of every step from `first_step` to `last_step`, each epoch in a new order.

    A function of the seed and the step alone. `part` (n, of) gives the n-th of so many parts
    of each batch. While images are read from files, the next
    batch is read beside the step that trains on this one.
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
        how = recipe.augment
        drawn_for = how, len(chosen), order_seed, "augment", step
        draws = None if how == "none" else Draws(*drawn_for, *part)
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
