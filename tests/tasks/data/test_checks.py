"""Users' datasets are compared with their facts: each kind of mistake gives one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tasks.data.batches import load
from tasks.data.checks import checked
from tasks.values.catalog import DatasetFacts
from tasks.values.training import Dataset

FACTS = DatasetFacts((3, 4, 5), 10, train=20, test=20, mean=(0.5,) * 3, std=(0.2,) * 3)
Z_SCORED = DatasetFacts((3, 4, 5), 10, train=20, test=20, mean=(0.0,) * 3, std=(1.0,) * 3)
IMAGES = np.random.default_rng(0).integers(0, 256, (20, 3, 4, 5), dtype=np.uint8)
FLOATS = torch.from_numpy(IMAGES).float() / 255
LABELS = np.arange(20) % 10


class Listed(torch.utils.data.Dataset):
    """A torch Dataset, which is read one example at a time."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> Any:
        return FLOATS[index], int(LABELS[index])


class Read:
    """Images that are read on demand."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def __len__(self) -> int:
        return 20

    def take(self, chosen: torch.Tensor, draws: object) -> torch.Tensor:
        return torch.zeros(len(chosen), *self.shape)


def spoilt(value: float) -> torch.Tensor:
    images = FLOATS.clone()
    images[3, 1, 2, 2] = value
    return images


RIGHT: dict[str, Any] = {
    "bytes": (IMAGES, LABELS),
    "a list of the two": [IMAGES, LABELS],
    "tensors": (torch.from_numpy(IMAGES), torch.from_numpy(LABELS)),
    "floats": (FLOATS, LABELS),
    "doubles": (FLOATS.double(), LABELS),
    "half": (FLOATS.half(), LABELS),
    "labels of a small type": (IMAGES, LABELS.astype(np.uint8)),
    "labels in a list": (IMAGES, LABELS.tolist()),
    "labels of two classes as truth": (IMAGES, LABELS % 2 == 1),
    "overshoot of resizing": (spoilt(1.0005), LABELS),
    "read as asked for": (Read((3, 4, 5)), LABELS),
}

WRONG: dict[str, tuple[Any, str]] = {
    "nothing": (None, "gives NoneType; right: a pair, images and labels"),
    "images alone": (IMAGES, "gives ndarray; right: a pair"),
    "three things": ((IMAGES, LABELS, LABELS), "gives a tuple of 3"),
    "a Dataset": (Listed(), "gives a Dataset (Listed); right: a pair, images and labels"),
    "a Dataset for images": ((Listed(), LABELS), "gives images as a Dataset (Listed)"),
    "images in a list": ((list(IMAGES), LABELS), "gives images as list; right: one array"),
    "fewer labels": ((IMAGES, LABELS[:-3]), "gives 20 images and 17 labels"),
    "fewer images": ((IMAGES[:5], LABELS), "gives 5 images and 20 labels"),
    "fewer of both": ((IMAGES[:5], LABELS[:5]), "gives 5 examples, and its facts say 20"),
    "none": ((IMAGES[:0], LABELS[:0]), "gives no examples"),
    "channels last": ((IMAGES.transpose(0, 2, 3, 1), LABELS), "transpose(0, 3, 1, 2)"),
    "flat": ((IMAGES.reshape(20, -1), LABELS), "of shape (20, 60), and its facts say (examples, 3"),
    "other side": ((IMAGES[..., :4], LABELS), "of shape (20, 3, 4, 4)"),
    "no axis at all": ((np.uint8(3), LABELS), "gives images as uint8"),
    "read in another shape": ((Read((4, 5, 3)), LABELS), "channels come first"),
    "int16": ((IMAGES.astype(np.int16), LABELS), "gives images of int16; right: uint8"),
    "int64": ((IMAGES.astype(np.int64), LABELS), "gives images of int64; right: uint8"),
    "truth": ((IMAGES > 9, LABELS), "gives images of bool; right: uint8"),
    "complex": ((FLOATS.cfloat(), LABELS), "gives images of complex64"),
    "objects": ((IMAGES.astype(object), LABELS), "gives images of type object"),
    "0 to 255": ((FLOATS * 255, LABELS), "gives floats from 0 to 255; right: images / 255"),
    "above 1": ((spoilt(1.5), LABELS), "to 1.5; right: images / 255"),
    "below 0": ((spoilt(-0.5), LABELS), "gives floats from -0.5"),
    "not a number": ((spoilt(float("nan")), LABELS), "not finite"),
    "infinite": ((spoilt(float("inf")), LABELS), "not finite"),
    "labels from 1": ((IMAGES, LABELS + 1), "labels from 1 to 10, and 10 classes are 0 to 9"),
    "labels below 0": ((IMAGES, LABELS - 1), "labels from -1 to 8"),
    "a label too high": ((IMAGES, LABELS + 5), "labels from 5 to 14"),
    "one-hot": ((IMAGES, np.eye(10)[LABELS]), "(one-hot?); right: argmax(1)"),
    "a column": ((IMAGES, LABELS[:, None]), "gives labels of shape (20, 1)"),
    "floats for labels": ((IMAGES, LABELS / 1.0), "gives labels of float64; right: one whole"),
    "text for labels": ((IMAGES, [str(n) for n in LABELS]), "gives labels as list"),
    "no labels": ((IMAGES, None), "gives labels as NoneType"),
}


@pytest.mark.parametrize("what", RIGHT)
def test_what_is_right_is_taken(what: str) -> None:
    images, labels = checked(RIGHT[what], FACTS, counted=20)
    assert len(images) == len(labels) == 20
    assert labels.dtype == torch.int64


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_refused_with_what_would_be_right(what: str) -> None:
    found, message = WRONG[what]
    with pytest.raises(ValueError, match=r".") as caught:
        checked(found, FACTS, counted=20)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_normalised_floats_have_facts_that_say_so() -> None:
    standard = (FLOATS - 0.5) / 0.2
    with pytest.raises(ValueError, match="mean 0 and std 1"):
        checked((standard, LABELS), FACTS, counted=20)
    assert len(checked((standard, LABELS), Z_SCORED, counted=20)[0]) == 20
    with pytest.raises(ValueError, match=r"images / 255"):
        checked((FLOATS * 255, LABELS), Z_SCORED, counted=20)


def test_a_shape_of_one_channel_may_lack_its_axis() -> None:
    facts = DatasetFacts((1, 4, 5), 10, 20, 20, (0.5,), (0.2,))
    with pytest.raises(ValueError, match=r"images\[:, None\]"):
        checked((IMAGES[:, 0], LABELS), facts, counted=20)


MODULE = """
from tasks.data import readers
from tasks.values.catalog import DatasetFacts

def own(split):
    images, labels = readers.reader("digits")(split)
    {change}
    return images, labels

own.facts = DatasetFacts({facts})
"""
ABOUT = {
    "input_shape": "(1, 8, 8)",
    "classes": "10",
    "train": "1438",
    "test": "359",
    "mean": "(0.3,)",
    "std": "(0.4,)",
}


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    monkeypatch.chdir(tmp_path)

    def module(change: str = "", **facts: str) -> None:
        said = ", ".join(f"{n}={v}" for n, v in {**ABOUT, **facts}.items())
        load.cache_clear()
        (tmp_path / "dataset_of_mine.py").write_text(MODULE.format(change=change, facts=said))

    yield module
    load.cache_clear()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("labels = labels[:-5]", "dataset_of_mine:own, train: gives 1438 images and 1433 labels"),
        ("images, labels = images[:1000], labels[:1000]", "gives 1000 examples"),
        ("if split == 'test': images, labels = images[:0], labels[:0]", "test: gives no examples"),
    ],
)
def test_each_split_is_compared_when_it_is_loaded(write: Any, change: str, message: str) -> None:
    write(change)
    with pytest.raises(ValueError, match=message):
        load(Dataset(name="dataset_of_mine:own"))


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"mean": "(0.3, 0.3, 0.3)"}, "mean takes a number for each of 1 channels"),
        ({"std": "()"}, "std takes a number for each of 1 channels"),
        ({"std": "(0.0,)"}, "std takes numbers above 0"),
        ({"mean": "(float('nan'),)"}, "mean takes numbers"),
        ({"mean": "0.3"}, "mean takes a number for each"),
        ({"input_shape": "(8, 8)"}, "input_shape takes .channels, height, width."),
        ({"classes": "0"}, "classes takes a whole number above 0"),
        ({"train": "0"}, "train takes a whole number above 0"),
        ({"test": "3.5"}, "test takes a whole number above 0"),
    ],
)
def test_facts_that_no_dataset_has_are_refused_before_it_is_read(
    write: Any, facts: dict[str, str], message: str
) -> None:
    write("raise AssertionError('it was read')", **facts)
    with pytest.raises(ValueError, match=f"dataset_of_mine:own.facts: {message}"):
        load(Dataset(name="dataset_of_mine:own"))


def test_what_fits_is_loaded(write: Any) -> None:
    write()
    data = load(Dataset(name="dataset_of_mine:own"))
    assert (len(data.train), len(data.test)) == (1438, 359)
