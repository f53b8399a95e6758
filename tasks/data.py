"""Datasets as tensors on the device, normalised, with a fixed split."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from tasks import streams
from tasks.spec import Dataset, Examples


@dataclass(frozen=True)
class Split:
    """`images` (examples, channels, height, width) float32; `labels` (examples,) int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Data:
    """A dataset's two splits, on one device."""

    train: Split
    test: Split


@lru_cache(maxsize=8)
def load(dataset: Dataset, device: str = "cpu") -> Data:
    """The dataset on a device; loaded once per process.

    Raises
    ------
    ValueError
        When there is no dataset of that name.
    """
    if dataset.name != "digits":
        raise ValueError(f"no dataset {dataset.name!r}; there is digits")
    return _digits(device)


def scoring_batch(data: Data, examples: Examples) -> Split:
    """`per_class` training examples of each class, in class order; drawn by seed.

    Raises
    ------
    ValueError
        When a class has fewer.
    """
    labels = data.train.labels.cpu().numpy()
    chosen = [
        _draw_of_class(np.flatnonzero(labels == label), examples, int(label))
        for label in np.unique(labels)
    ]
    index = torch.from_numpy(np.concatenate(chosen)).to(data.train.labels.device)
    return Split(data.train.images[index], data.train.labels[index])


def _draw_of_class(members: streams.IntArray, examples: Examples, label: int) -> streams.IntArray:
    if len(members) < examples.per_class:
        raise ValueError(
            f"per_class takes at most {len(members)} on {examples.dataset.name} "
            f"(class {label} has no more), not {examples.per_class}"
        )
    order = streams.permutation(len(members), examples.seed, "examples", label)
    return members[order[: examples.per_class]]


def _digits(device: str) -> Data:
    """scikit-learn's digits (UCI optdigits' test part): 1,797 real 8 × 8 images, 16 greys.

    Test is a fixed fifth of each class. Normalised by the mean and standard deviation of
    all pixels, 0.305 and 0.376 on the scale of 0 to 1.
    """
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = torch.from_numpy((pixels / 16 - 0.305) / 0.376).float().reshape(-1, 1, 8, 8)
    test = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        members = np.flatnonzero(labels == label)
        order = streams.permutation(len(members), 0, "digits split", label)
        test[members[order[: round(len(members) / 5)]]] = True
    answers = torch.from_numpy(labels.astype(np.int64))

    def split(chosen: np.ndarray) -> Split:
        index = torch.from_numpy(np.flatnonzero(chosen))
        return Split(images[index].to(device), answers[index].to(device))

    return Data(train=split(~test), test=split(test))
