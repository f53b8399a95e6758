"""Read datasets through torchvision's classes, and fetch them on request.

Files lie in the folder that TOMBOLA_DATA names, or `data`. Only `fetch` downloads.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tasks import random_streams
from tasks.data.augment import Draws
from tasks.data.files import missing, root
from tasks.heartbeat import paced

SplitOf = Literal["train", "test"]
Reader = Callable[[str], tuple[Any, Any]]

TINY_IMAGENET = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
TINY_IMAGENET_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"


def reader(name: str) -> Reader:
    """Return a function that reads a split ("train" or "test"): pixels (or `Images`) and labels.

    Raises
    ------
    ValueError
        When no dataset has that name.
    """
    if name not in _READERS:
        raise ValueError(f"no dataset {name!r}; there are {', '.join(_READERS)}")
    return lambda split: _READERS[name](name, split)


def fetch(name: str) -> Path:
    """Download a dataset, compare its checksums, and return the folder of all datasets.

    Existing files are not downloaded again.

    Raises
    ------
    ValueError
        When it cannot be fetched: ImageNet needs an account.
    OSError
        When the download fails, or a checksum differs.
    """
    if name == "imagenet":
        raise ValueError(
            "ImageNet cannot be fetched: download ILSVRC2012_img_train.tar, "
            "ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz from image-net.org into "
            f"{root()}/imagenet"
        )
    if name not in _READERS:
        raise ValueError(f"no dataset {name!r}; there are {', '.join(_READERS)}")
    try:
        if name == "tiny_imagenet":
            _fetch_tiny_imagenet()
        elif name != "digits":
            for split in ("train", "test"):
                _torchvision(name, split, download=True)
    except RuntimeError as error:  # torchvision raises it when a checksum differs
        raise OSError(str(error)) from None
    return root()


def present(name: str) -> bool:
    """Return whether all files of a dataset exist and are intact."""
    try:
        if name == "tiny_imagenet":
            return (_tiny_imagenet() / "val" / "val_annotations.txt").is_file()
        if name == "imagenet":
            return (root() / name / "train").is_dir() and (root() / name / "val").is_dir()
        if name != "digits":
            _torchvision(name, "test", download=False)
    except (RuntimeError, OSError):
        return False
    return True


# ---------------------------------------------------------------- readers


def _digits(_: str, split: str) -> tuple[Tensor, npt.NDArray[np.int64]]:
    """Read scikit-learn's digits (test part of UCI optdigits): 1,797 8 × 8 images, 17 greys.

    The test split is a fixed fifth of each class.
    """
    pixels, labels = _optdigits()
    test = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        members = np.flatnonzero(labels == label)
        order = random_streams.permutation(len(members), 0, "digits split", label)
        test[members[order[: round(len(members) / 5)]]] = True
    chosen = np.flatnonzero(test if split == "test" else ~test)
    images = torch.from_numpy(pixels / 16).reshape(-1, 1, 8, 8)
    return images[torch.from_numpy(chosen)], labels[chosen].astype(np.int64)


def _optdigits() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return pixels (1797, 64), 0 to 16, and labels (1797,), as scikit-learn's load_digits does.

    The file is read without importing scikit-learn, which takes seconds.
    """
    package = find_spec("sklearn")
    folders = package.submodule_search_locations if package else None
    if not folders:
        raise FileNotFoundError("digits are part of scikit-learn, which is not installed")
    rows = np.loadtxt(Path(folders[0]) / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    return rows[:, :-1], rows[:, -1].astype(np.int64)


def _torchvision(name: str, split: str, *, download: bool) -> Any:
    from torchvision import datasets as sets

    folder = str(root() / name)
    if name == "svhn":
        return sets.SVHN(folder, split=split, download=download)
    kinds = {
        "mnist": sets.MNIST,
        "fashion_mnist": sets.FashionMNIST,
        "cifar10": sets.CIFAR10,
        "cifar100": sets.CIFAR100,
    }
    return kinds[name](folder, train=split == "train", download=download)


def _in_memory(name: str, split: str) -> tuple[npt.NDArray[np.uint8], Any]:
    try:
        dataset = _torchvision(name, split, download=False)
    except RuntimeError:
        raise _missing(name) from None
    pixels = np.asarray(dataset.data)
    if pixels.ndim == 3:  # MNIST: (examples, height, width)
        pixels = pixels[:, None]
    elif pixels.shape[-1] == 3:  # CIFAR: channels last
        pixels = pixels.transpose(0, 3, 1, 2)
    labels = dataset.labels if name == "svhn" else dataset.targets
    return np.ascontiguousarray(pixels), labels


def _tiny_imagenet() -> Path:
    return root() / "tiny_imagenet" / "tiny-imagenet-200"


def _fetch_tiny_imagenet() -> None:
    from torchvision.datasets.utils import download_and_extract_archive

    if not present("tiny_imagenet"):
        download_and_extract_archive(
            TINY_IMAGENET, str(_tiny_imagenet().parent), md5=TINY_IMAGENET_MD5
        )


def _read_tiny_imagenet(name: str, split: str) -> tuple[npt.NDArray[np.uint8], list[int]]:
    """Read 100,000 training images, or as test the 10,000 of its `val` folder.

    The images of its `test` folder have no labels.
    """
    from torchvision.datasets import ImageFolder

    if not present(name):
        raise _missing(name)
    folder = _tiny_imagenet()
    train = ImageFolder(str(folder / "train"))
    samples = train.samples
    if split == "test":
        rows = (folder / "val" / "val_annotations.txt").read_text().splitlines()
        named = [row.split("\t")[:2] for row in rows if row]
        samples = [
            (str(folder / "val" / "images" / file), train.class_to_idx[wnid])
            for file, wnid in named
        ]
    with ThreadPoolExecutor() as pool:
        pixels = list(paced(pool.map(lambda sample: _decoded(sample[0]), samples)))
    return np.stack(pixels).transpose(0, 3, 1, 2), [label for _, label in samples]


def _read_imagenet(name: str, split: str) -> tuple["Streamed", list[int]]:
    from torchvision.datasets import ImageNet

    if not present(name):
        raise _missing(name)
    try:
        dataset = ImageNet(str(root() / name), split="train" if split == "train" else "val")
    except RuntimeError as error:
        raise FileNotFoundError(str(error).splitlines()[0]) from None
    return Streamed([path for path, _ in dataset.samples]), dataset.targets


def _decoded(path: str) -> npt.NDArray[np.uint8]:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


class Streamed:
    """The files of ImageNet, which threads decode when a batch needs them.

    Training images are cropped at random and resized to 224 × 224. Without draws, the shorter
    side is resized to 256 and the middle 224 × 224 are taken (He et al. 2016, section 3.4).
    """

    SIDE = 224

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._pool = ThreadPoolExecutor(os.cpu_count())

    def __len__(self) -> int:
        return len(self._paths)

    def take(self, chosen: Tensor, draws: Draws | None) -> Tensor:
        """Return float32 images (examples, 3, 224, 224) from 0 to 1."""
        boxes: Any = [None] * len(chosen) if draws is None else draws.boxes().T
        flips = np.zeros(len(chosen), dtype=bool) if draws is None else draws.flips()
        images = self._pool.map(self._image, chosen.tolist(), boxes, flips)
        return torch.stack(list(paced(images))).float() / 255

    def _image(self, number: int, box: random_streams.FloatArray | None, flip: bool) -> Tensor:
        from torchvision.transforms.v2 import functional as f

        image = torch.from_numpy(_decoded(self._paths[number]).copy()).permute(2, 0, 1)
        if box is None:
            small: Tensor = f.center_crop(f.resize(image, [256], antialias=True), [self.SIDE] * 2)
            return small
        height, width = image.shape[1:]
        top, left = int(box[0] * height), int(box[1] * width)
        rows, columns = max(1, round(box[2] * height)), max(1, round(box[3] * width))
        sides = [self.SIDE] * 2
        cropped: Tensor = f.resized_crop(image, top, left, rows, columns, sides, antialias=True)
        return cropped.flip(-1) if flip else cropped


def _missing(name: str) -> FileNotFoundError:
    """Build the error for files that are missing or were altered."""
    return FileNotFoundError(
        missing(name)
        or f"the files of {name} in {root()}/{name} are incomplete or altered: "
        f"fetch them again with `tombola data fetch {name}`"
    )


_READERS: dict[str, Callable[[str, str], tuple[Any, Any]]] = {
    "digits": _digits,
    **dict.fromkeys(("mnist", "fashion_mnist", "cifar10", "cifar100", "svhn"), _in_memory),
    "tiny_imagenet": _read_tiny_imagenet,
    "imagenet": _read_imagenet,
}
