"""Locations of the files of shipped datasets. Imports nothing heavy."""

import os
from pathlib import Path

FOLDERS = {
    "mnist": "MNIST",
    "fashion_mnist": "FashionMNIST",
    "cifar10": "cifar-10-batches-py",
    "cifar100": "cifar-100-python",
    "svhn": "train_32x32.mat",
    "tiny_imagenet": "tiny-imagenet-200",
    "imagenet": "train",
}
"""A file or folder that each dataset's folder must hold; digits are part of scikit-learn."""


def root() -> Path:
    """Return the folder of all datasets' files: TOMBOLA_DATA, or `data`."""
    return Path(os.environ.get("TOMBOLA_DATA", "data"))


def missing(name: str) -> str | None:
    """Return a message if the files of a shipped dataset are missing, else None."""
    if name not in FOLDERS or (root() / name / FOLDERS[name]).exists():
        return None
    return (
        f"the files of {name} are not in {root()}/{name}: fetch them with "
        f"`tombola data fetch {name}`, or set TOMBOLA_DATA to their folder"
    )
