"""Where the files of shipped datasets lie, and whether they are there. Imports nothing heavy."""

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
"""What a dataset's own folder holds at the least; digits are part of scikit-learn."""


def root() -> Path:
    """The folder of the datasets' files."""
    return Path(os.environ.get("TOMBOLA_DATA", "data"))


def missing(name: str) -> str | None:
    """The sentence to say where a shipped dataset's files are not there, else None."""
    if name not in FOLDERS or (root() / name / FOLDERS[name]).exists():
        return None
    return (
        f"the files of {name} are not in {root()}/{name}: fetch them with "
        f"`tombola data fetch {name}`, or say where they are in TOMBOLA_DATA"
    )
