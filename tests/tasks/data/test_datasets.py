"""The reader of every dataset, on small files of the same format, through torchvision."""

import hashlib
import pickle
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets as sets

from tasks.data import readers
from tasks.data.batches import load, scoring_batches, training_batches
from tasks.networks.build import initial_weights
from tasks.training.train import train
from tasks.values import catalog
from tasks.values.scores import Examples
from tasks.values.training import Dataset, Init, Network, Recipe

DRAWS = np.random.default_rng(0)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOMBOLA_DATA", str(tmp_path))
    load.cache_clear()
    yield tmp_path
    load.cache_clear()


def pixels(*shape: int) -> np.ndarray:
    return DRAWS.integers(0, 256, shape, dtype=np.uint8)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def write_cifar(root: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> np.ndarray:
    """Write Python 2 pickles of rows of 3,072 bytes, as the University of Toronto has them."""
    kind = {"cifar10": sets.CIFAR10, "cifar100": sets.CIFAR100}[name]
    folder = root / name / kind.base_folder
    folder.mkdir(parents=True)
    label = "labels" if name == "cifar10" else "fine_labels"
    classes = 10 if name == "cifar10" else 100
    written = {}
    for split in ("train_list", "test_list"):
        entries = []
        for file, _ in getattr(kind, split):
            rows = pixels(20, 3072)
            body = {"data": rows, label: [n % classes for n in range(20)]}
            (folder / file).write_bytes(pickle.dumps(body, protocol=2))
            entries.append([file, md5(folder / file)])
            written[file] = rows
        monkeypatch.setattr(kind, split, entries)
    meta = kind.meta["filename"]
    (folder / meta).write_bytes(pickle.dumps({kind.meta["key"]: list(map(str, range(classes)))}))
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": md5(folder / meta)})
    return written[kind.train_list[0][0]]


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_is_read_normalised(name, root, monkeypatch) -> None:
    rows = write_cifar(root, monkeypatch, name)
    assert readers.present(name)
    data, facts = load(Dataset(name=name)), catalog.DATASETS[name]
    batch = data.train.batch(torch.arange(4))
    assert data.train.source.pixels.dtype == torch.uint8
    assert batch.images.shape == (4, 3, 32, 32)
    raw = torch.from_numpy(rows[:4].reshape(4, 3, 32, 32).copy()).float() / 255
    mean, std = (torch.tensor(c).reshape(3, 1, 1) for c in (facts.mean, facts.std))
    assert torch.allclose(batch.images, (raw - mean) / std, atol=1e-6)


def test_a_damaged_file_is_not_read(root, monkeypatch) -> None:
    write_cifar(root, monkeypatch, "cifar10")
    path = root / "cifar10" / sets.CIFAR10.base_folder / "data_batch_1"
    path.write_bytes(path.read_bytes()[:-1])
    assert not readers.present("cifar10")
    with pytest.raises(FileNotFoundError, match="tombola data fetch cifar10"):
        load(Dataset(name="cifar10"))


def write_mnist(root: Path, name: str) -> np.ndarray:
    """Write IDX files (LeCun): magic number, sizes, bytes."""
    kind = {"mnist": sets.MNIST, "fashion_mnist": sets.FashionMNIST}[name]
    folder = root / name / kind.__name__ / "raw"
    folder.mkdir(parents=True)
    images = {"train": pixels(40, 28, 28), "t10k": pixels(10, 28, 28)}
    for part, values in images.items():
        head = np.array([0x803, *values.shape], dtype=">u4").tobytes()
        (folder / f"{part}-images-idx3-ubyte").write_bytes(head + values.tobytes())
        labels = np.arange(len(values), dtype=np.uint8) % 10
        head = np.array([0x801, len(labels)], dtype=">u4").tobytes()
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(head + labels.tobytes())
    return images["train"]


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_mnist_is_read_normalised(name, root) -> None:
    written = write_mnist(root, name)
    data, facts = load(Dataset(name=name, validation=8)), catalog.DATASETS[name]
    assert (len(data.train), len(data.val), len(data.test)) == (32, 8, 10)
    whole = load(Dataset(name=name)).train.batch(torch.arange(40)).images
    raw = torch.from_numpy(written).float()[:, None] / 255
    assert torch.allclose(whole, (raw - facts.mean[0]) / facts.std[0], atol=1e-5)


def test_svhn_is_read(root, monkeypatch) -> None:
    """MATLAB files, examples last."""
    from scipy.io import savemat

    (root / "svhn").mkdir()
    entries = {}
    for split, (_, file, _) in sets.SVHN.split_list.items():
        path = root / "svhn" / file
        body = {"X": pixels(32, 32, 3, 12), "y": np.arange(1, 13).reshape(-1, 1) % 10}
        savemat(path, body)
        entries[split] = ["", file, md5(path)]
    monkeypatch.setattr(sets.SVHN, "split_list", entries)
    data = load(Dataset(name="svhn"))
    assert data.train.batch(torch.arange(3)).images.shape == (3, 3, 32, 32)
    assert sorted(set(data.train.labels.tolist())) == list(range(10))


def write_tiny_imagenet(root: Path) -> None:
    folder = root / "tiny_imagenet" / "tiny-imagenet-200"
    for wnid in ("n01", "n02"):
        images = folder / "train" / wnid / "images"
        images.mkdir(parents=True)
        for n in range(6):
            Image.fromarray(pixels(64, 64, 3)).save(images / f"{wnid}_{n}.JPEG")
    (folder / "val" / "images").mkdir(parents=True)
    rows = []
    for n, wnid in enumerate(["n02", "n01", "n02"]):
        grey = Image.fromarray(pixels(64, 64))  # some of the real ones are grey
        grey.save(folder / "val" / "images" / f"val_{n}.JPEG")
        rows.append(f"val_{n}.JPEG\t{wnid}\t0\t0\t62\t62\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(rows))


def test_tiny_imagenet_is_read_with_the_labels_of_its_annotations(root) -> None:
    write_tiny_imagenet(root)
    data = load(Dataset(name="tiny_imagenet"))
    assert data.train.batch(torch.arange(2)).images.shape == (2, 3, 64, 64)
    assert data.train.labels.tolist() == [0] * 6 + [1] * 6
    assert data.test.labels.tolist() == [1, 0, 1]


def write_imagenet(root: Path) -> None:
    folder = root / "imagenet"
    wnids = ["n01440764", "n01443537"]
    for split, count in (("train", 5), ("val", 2)):
        for wnid in wnids:
            (folder / split / wnid).mkdir(parents=True)
            for n in range(count):
                image = Image.fromarray(pixels(80, 100, 3)).resize((300, 260))
                image.save(folder / split / wnid / f"{wnid}_{n}.JPEG")
    names = {wnid: (wnid,) for wnid in wnids}
    torch.save((names, [wnids[0]]), folder / "meta.bin")


def test_imagenet_streams_from_its_files(root) -> None:
    """Images are decoded on demand, one batch ahead, and are the same each time."""
    write_imagenet(root)
    data = load(Dataset(name="imagenet"))
    assert isinstance(data.train.source, readers.Streamed)
    recipe = Recipe(steps=4, batch_size=4, lr=0.1, evaluate_every=4, augment="resized_crop_flip")
    once = list(training_batches(data.train, recipe, 0, 0, 4))
    again = list(training_batches(data.train, recipe, 0, 2, 4))
    assert [len(batch.labels) for batch in once] == [4, 4, 2, 4]
    assert once[0].images.shape == (4, 3, 224, 224)
    assert all(torch.equal(a.images, b.images) for a, b in zip(once[2:], again, strict=True))
    assert data.test.batch(torch.arange(2)).images.shape == (2, 3, 224, 224)


def test_imagenet_trains(root) -> None:
    write_imagenet(root)
    network = Network(name="torchvision:squeezenet1_1", input_shape=(3, 224, 224), classes=2)
    recipe = Recipe(
        steps=2,
        batch_size=3,
        lr=0.01,
        evaluate_every=2,
        augment="resized_crop_flip",
        evaluate=("test",),
    )
    weights = initial_weights(network, Init(seed=0))
    trained = train(network, recipe, load(Dataset(name="imagenet")), weights, order_seed=0)
    assert [e.split for e in trained.evals] == ["test", "test"]


@pytest.mark.parametrize("name", [n for n in catalog.DATASETS if n != "digits"])
def test_missing_files_are_named_with_the_command_that_fetches_them(name, root) -> None:
    assert not readers.present(name)
    with pytest.raises(FileNotFoundError, match=f"tombola data fetch {name}"):
        load(Dataset(name=name))


def test_tiny_imagenet_is_fetched_once_and_its_checksum_compared(root, monkeypatch) -> None:
    write_tiny_imagenet(root / "made")
    source = root / "served"
    source.mkdir()
    archive = source / "tiny-imagenet-200.zip"
    made = root / "made" / "tiny_imagenet"
    with zipfile.ZipFile(archive, "w") as zipped:
        for path in made.rglob("*"):
            zipped.write(path, path.relative_to(made))
    handler = partial(SimpleHTTPRequestHandler, directory=source)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/{archive.name}"
        monkeypatch.setattr(readers, "TINY_IMAGENET", address)
        _fetch_from(root, archive, monkeypatch)
        server.shutdown()


def _fetch_from(root: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match=r"not found or corrupted"):
        readers.fetch("tiny_imagenet")
    (root / "tiny_imagenet" / archive.name).unlink()
    monkeypatch.setattr(readers, "TINY_IMAGENET_MD5", md5(archive))
    readers.fetch("tiny_imagenet")
    assert readers.present("tiny_imagenet")
    archive.unlink()
    readers.fetch("tiny_imagenet")


def test_imagenet_cannot_be_fetched_and_says_what_to_do(root) -> None:
    with pytest.raises(ValueError, match=r"ILSVRC2012_img_train.tar"):
        readers.fetch("imagenet")
    with pytest.raises(ValueError, match="no dataset 'cifar'"):
        readers.fetch("cifar")


# ---------------------------------------------------------------- validation and augmentation


def test_validation_is_held_out_of_training_by_a_fixed_seed() -> None:
    plain, held = load(Dataset(name="digits")), load(Dataset(name="digits", validation=100))
    assert len(held.train) + len(held.val) == len(plain.train)

    def images(split: Any) -> set[bytes]:
        return {i.numpy().tobytes() for i in split.batch(torch.arange(len(split))).images}

    assert not images(held.train) & images(held.val)
    assert images(held.train) | images(held.val) == images(plain.train)
    assert images(held.test) == images(plain.test)


@pytest.mark.parametrize("augment", ["flip", "crop_flip", "resized_crop_flip"])
def test_augmentation_is_a_function_of_the_step_alone(augment: str) -> None:
    data = load(Dataset(name="digits"))
    recipe = Recipe(steps=6, batch_size=64, lr=0.1, evaluate_every=6, augment=augment)
    whole = list(training_batches(data.train, recipe, 3, 0, 6))
    tail = list(training_batches(data.train, recipe, 3, 4, 6))
    assert all(torch.equal(a.images, b.images) for a, b in zip(whole[4:], tail, strict=True))
    plain = Recipe(steps=6, batch_size=64, lr=0.1, evaluate_every=6)
    bare = next(training_batches(data.train, plain, 3, 0, 1))
    assert not torch.equal(whole[0].images, bare.images)
    assert torch.equal(whole[0].labels, bare.labels)


def test_half_of_the_images_are_mirrored_and_crops_are_shifts() -> None:
    from tasks.data.augment import Draws, augmented

    images = torch.rand(400, 1, 8, 8, generator=torch.Generator().manual_seed(0)) + 1
    flipped = augmented(images, Draws("flip", 400, 0, "test", 0))
    mirrored = [torch.equal(a, b.flip(-1)) for a, b in zip(images, flipped, strict=True)]
    same = [torch.equal(a, b) for a, b in zip(images, flipped, strict=True)]
    assert all(m != s for m, s in zip(mirrored, same, strict=True))
    assert 150 < sum(mirrored) < 250
    draws = Draws("crop_flip", 400, 0, "test", 0)
    found = augmented(images, draws)
    top, left = (draws.uniform(3)[:2] * 9).astype(int)
    padded = torch.nn.functional.pad(images, (4, 4, 4, 4))
    for n in range(400):
        crop = padded[n, :, top[n] : top[n] + 8, left[n] : left[n] + 8]
        assert torch.equal(found[n], crop.flip(-1) if draws.flips()[n] else crop)


def test_a_whole_resized_crop_is_the_image() -> None:
    from tasks.data.augment import Draws, _resized

    class Whole(Draws):
        def boxes(self) -> np.ndarray:
            return np.tile([[0.0], [0.0], [1.0], [1.0]], self.size)

    images = torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    found = _resized(images, Whole("resized_crop_flip", 3, 0, "test", 0))
    assert torch.allclose(found, images, atol=1e-5)
    boxes = Draws("resized_crop_flip", 500, 0, "test", 0).boxes()
    assert (boxes >= 0).all()
    assert (boxes[0] + boxes[2] <= 1 + 1e-12).all()
    assert 0.09 < (boxes[2] * boxes[3]).min() < 0.2


def test_random_scoring_examples_come_in_batches() -> None:
    data = load(Dataset(name="digits"))
    examples = Examples(
        dataset=Dataset(name="digits"), seed=0, per_class=5, draw="random", batch_size=20
    )
    batches = scoring_batches(data, examples)
    assert [len(batch.labels) for batch in batches] == [20, 20, 10]
    counts = torch.cat([batch.labels for batch in batches]).bincount(minlength=10)
    assert counts.max() > counts.min()
