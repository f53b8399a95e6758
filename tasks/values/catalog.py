"""Networks and datasets by name, with the facts that planning needs. Imports nothing heavy."""

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.values import user_code
from tasks.values.torchvision_names import PREFIX
from tasks.values.training import Dataset, InitScheme, Network, Option

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class DatasetFacts:
    """Shape of one example (channels, height, width), classes, and examples per split.

    `mean` and `std` are those of each channel of the training pixels on the scale of 0 to 1.
    """

    input_shape: Shape
    classes: int
    train: int
    test: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


# Constants of normalization: digits by our own count; MNIST's and CIFAR's are the usual ones
# of the training pixels, ImageNet's those of torchvision's models.
_CIFAR10 = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
_CIFAR100 = ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

DATASETS = {
    "digits": DatasetFacts((1, 8, 8), 10, 1438, 359, (0.305,), (0.376,)),
    "mnist": DatasetFacts((1, 28, 28), 10, 60_000, 10_000, (0.1307,), (0.3081,)),
    "fashion_mnist": DatasetFacts((1, 28, 28), 10, 60_000, 10_000, (0.2860,), (0.3530,)),
    "cifar10": DatasetFacts((3, 32, 32), 10, 50_000, 10_000, *_CIFAR10),
    "cifar100": DatasetFacts((3, 32, 32), 100, 50_000, 10_000, *_CIFAR100),
    "svhn": DatasetFacts(
        (3, 32, 32), 10, 73_257, 26_032, (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)
    ),
    "tiny_imagenet": DatasetFacts((3, 64, 64), 200, 100_000, 10_000, *_IMAGENET),
    "imagenet": DatasetFacts((3, 224, 224), 1000, 1_281_167, 50_000, *_IMAGENET),
}


@dataclass(frozen=True)
class NetworkFacts:
    """Prunable weights and multiply-adds of one example on its published dataset's images.

    `side` is those images' height; a plan scales by area, which is near enough for costs.
    `least` is the least side of images that the network can be built for; at sides up to
    `lone` a batch norm sees one position of each image.
    tests/tasks/networks/test_networks.py holds the numbers against the networks.
    """

    weights: int
    flops: int
    side: int
    least: int = 1
    lone: int = 0


NETWORKS = {
    "lenet_300_100": NetworkFacts(266_200, 266_200, 28),
    "lenet_5": NetworkFacts(61_470, 416_520, 28, least=16),
    "lenet_5_caffe": NetworkFacts(430_500, 2_293_000, 28, least=16),
    "conv2_bn": NetworkFacts(6_032, 84_224, 8),
    "conv_2": NetworkFacts(4_300_992, 43_780_608, 32),
    "conv_4": NetworkFacts(2_425_024, 98_306_560, 32),
    "conv_6": NetworkFacts(2_261_184, 153_881_088, 32),
    "vgg11_bn": NetworkFacts(9_222_848, 152_769_536, 32, lone=31),
    "vgg13_bn": NetworkFacts(9_407_168, 228_267_008, 32, lone=31),
    "vgg16_bn": NetworkFacts(14_715_584, 313_201_664, 32, lone=31),
    "vgg19_bn": NetworkFacts(20_024_000, 398_136_320, 32, lone=31),
    "vgg11_bn_three_linear": NetworkFacts(12_373_696, 614_213_632, 64, least=32),
    "vgg16_bn_three_linear": NetworkFacts(17_866_432, 1_255_942_144, 64, least=32),
    "resnet20": NetworkFacts(270_896, 40_813_184, 32, lone=4),
    "resnet32": NetworkFacts(464_432, 69_124_736, 32, lone=4),
    "resnet44": NetworkFacts(657_968, 97_436_288, 32, lone=4),
    "resnet56": NetworkFacts(851_504, 125_747_840, 32, lone=4),
    "resnet110": NetworkFacts(1_722_416, 253_149_824, 32, lone=4),
    "resnet18": NetworkFacts(11_678_912, 1_814_073_344, 224, lone=32),
    "resnet34": NetworkFacts(21_779_648, 3_663_761_408, 224, lone=32),
    "resnet50": NetworkFacts(25_502_912, 4_089_184_256, 224, lone=32),
    "resnet18_small_stem": NetworkFacts(11_164_352, 555_422_720, 32, lone=8),
    "resnet34_small_stem": NetworkFacts(21_265_088, 1_159_402_496, 32, lone=8),
    "resnet50_small_stem": NetworkFacts(23_467_712, 1_297_829_888, 32, lone=8),
    "wrn_16_8": NetworkFacts(10_954_160, 1_548_145_664, 32, lone=4),
    "wrn_28_10": NetworkFacts(36_461_232, 5_243_328_768, 32, lone=4),
    "mobilenet_v1": NetworkFacts(3_195_328, 46_354_432, 32, lone=16),
    "densenet_40": NetworkFacts(1_001_616, 264_812_928, 32, lone=7),
    "vit_small": NetworkFacts(2_665_344, 170_461_056, 32),
}

_OF_UNKNOWN_SIZE = NetworkFacts(5_000_000, 500_000_000, 32)


def dataset_facts(name: str) -> DatasetFacts:
    """The facts of a dataset here, or of a user's own.

    `module:function` has them as the function's attribute `facts`, a DatasetFacts.

    Raises
    ------
    ValueError
        When there is none of that name, or it says no facts.
    """
    if ":" not in name:
        if name not in DATASETS:
            raise ValueError(f"no dataset {name!r}; there are {', '.join(DATASETS)}")
        return DATASETS[name]
    facts = getattr(user_code.load(name), "facts", None)
    if not isinstance(facts, DatasetFacts):
        raise ValueError(f"{name} needs an attribute `facts`, a tasks.values.catalog.DatasetFacts")
    for problem in _impossible(facts):
        raise ValueError(f"{name}.facts: {problem}")
    return facts


def _impossible(facts: DatasetFacts) -> Iterator[str]:
    """Yield a message for each impossible fact of a dataset."""
    shape: Any = facts.input_shape
    if len(shape) != 3 or not all(isinstance(n, int) and n > 0 for n in shape):
        yield f"input_shape takes (channels, height, width), not {shape}"
        return
    for name in ("classes", "train", "test"):
        count = getattr(facts, name)
        if not isinstance(count, int) or count < 1:
            yield f"{name} takes a whole number above 0, not {count}"
    for name, least in (("mean", -math.inf), ("std", 0.0)):
        values: Any = getattr(facts, name)
        if not isinstance(values, Sequence) or len(values) != shape[0]:
            yield f"{name} takes a number for each of {shape[0]} channels, not {values}"
        elif not all(math.isfinite(value) and value > least for value in values):
            yield f"{name} takes {'numbers above 0' if name == 'std' else 'numbers'}, not {values}"


@functools.lru_cache(maxsize=256)
def size(network: Network) -> tuple[int, int]:
    """About how many prunable weights, and multiply-adds of one example."""
    facts = NETWORKS.get(network.name, _OF_UNKNOWN_SIZE)
    area = network.input_shape[1] * network.input_shape[2] / facts.side**2
    wider = network.width**2
    return round(facts.weights * wider), max(1, round(facts.flops * area * wider))


_PLAIN = ("densenet", "resnet", "resnext", "shufflenet", "wide_resnet")
"""Networks of torchvision that are convolutions, linear layers and batch norm, and draw nothing:
tensors drawn by name are right for them, so that they keep their keys."""


_WITH_DROPOUT = "_three_linear"
"""Ends of the names of shipped networks that draw random numbers in training."""


def semantics(name: str) -> int:
    """Return the rule by which a network's tensors get their values (Network.semantics)."""
    if name.startswith(PREFIX):
        return 1 if name.partition(":")[2].startswith(_PLAIN) else 2
    return 2 if ":" in name or name.endswith(_WITH_DROPOUT) else 1


def initialization(network: Network) -> InitScheme:
    """Return the default initialization of a network: its own code's, if it has any."""
    return "kaiming_normal" if network.semantics == 1 else "own"


def network(
    name: str,
    dataset: str,
    width: float = 1.0,
    options: user_code.Options = (),
    prunable: tuple[str, ...] = (),
) -> Network:
    """The named architecture, shaped for the named dataset; a user's own takes options.

    Raises
    ------
    ValueError
        When the dataset's images are too small for it.
    """
    facts = dataset_facts(dataset)
    least = NETWORKS.get(name, _OF_UNKNOWN_SIZE).least
    _, height, across = facts.input_shape
    if min(height, across) < least:
        raise ValueError(
            f"{name} takes images of at least {least} x {least}; "
            f"those of {dataset} are {height} x {across}"
        )
    return Network(
        name=name,
        input_shape=facts.input_shape,
        classes=facts.classes,
        width=width,
        source=_source(name),
        options=tuple(Option(name=option, value=value) for option, value in options),
        prunable=prunable,
        semantics=semantics(name),
    )


def dataset(name: str, validation: int = 0) -> Dataset:
    """The named dataset with so many training examples held out.

    Raises
    ------
    ValueError
        When that leaves none to train on.
    """
    train = dataset_facts(name).train
    if validation >= train:
        raise ValueError(f"validation takes fewer than the {train} training examples of {name}")
    return Dataset(name=name, validation=validation, source=_source(name))


def check_batches(network: Network, examples: int, batch_size: int, steps: int) -> None:
    """Refuse a batch of one example where batch norm would have one value of each channel.

    Known of the networks here; `tombola check` finds it for others.

    Raises
    ------
    ValueError
        When so many steps come to such a batch.
    """
    lone = NETWORKS.get(network.name, _OF_UNKNOWN_SIZE).lone
    per_epoch = -(-examples // batch_size)
    last = examples - (per_epoch - 1) * batch_size
    if max(network.input_shape[1:]) <= lone and (
        batch_size == 1 or (last == 1 and steps >= per_epoch)
    ):
        which = "each batch has" if batch_size == 1 else f"the last of {per_epoch} batches has"
        raise ValueError(
            f"batch_size {batch_size} divides {examples} examples so that {which} one, and batch "
            f"norm of {network.name} takes two or more on images of {network.input_shape[1]} x "
            f"{network.input_shape[2]}: take another batch_size"
        )


def steps_per_epoch(dataset: Dataset, batch_size: int) -> int:
    """Iterations in one pass over the training split; a short last batch counts."""
    return -(-(dataset_facts(dataset.name).train - dataset.validation) // batch_size)


def _source(name: str) -> str:
    return user_code.digest(name) if ":" in name and not name.startswith(PREFIX) else ""
