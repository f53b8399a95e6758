"""The look of figures: colours, markers, words and sizes in one place.

Colours are Okabe and Ito's, distinct for colour-blind readers; a method has the same colour
and marker in every figure. The typeface comes with matplotlib and sits well in the Times of
ICLR, NeurIPS and ICML; it is embedded as TrueType.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

from tasks.values import methods

WIDTHS = {"iclr": 5.5, "neurips": 5.5, "icml": 6.75, "icml-column": 3.25}
"""Text widths in inches."""

Dashes = str | tuple[float, tuple[float, ...]]

_DASHES: tuple[Dashes, ...] = (
    "-",
    (0, (4, 1.2)),
    (0, (1.2, 1.0)),
    (0, (4, 1, 1.2, 1)),
    (0, (6, 1, 1, 1, 1, 1)),
)


@dataclass(frozen=True)
class Look:
    """Colour, marker, line and name of a curve; `filled` markers are not white inside."""

    colour: str
    marker: str
    label: str
    line: Dashes = "-"
    filled: bool = False


METHODS = {
    name: Look(method.colour, method.marker, method.label)
    for name, method in methods.METHODS.items()
}
"""Looks of the built-in methods, in the order of legends; tasks/values/methods.py has them."""

_OTHERS = (("#661100", "*"), ("#44AA99", "X"), ("#DDCC77", "H"), ("#AA4466", "1"))

DENSE = Look("#222222", "", "Dense", _DASHES[1])

ABLATIONS = {
    "none": Look("#222222", "o", "Unmodified", filled=True),
    "shuffle": Look("#D55E00", "^", "Shuffled", _DASHES[2]),
    "shuffle_global": Look("#CC79A7", "<", "Shuffled globally", _DASHES[2]),
    "reinit": Look("#0072B2", "s", "Reinitialized", _DASHES[1]),
    "invert": Look("#009E73", "v", "Inverted", _DASHES[3]),
}

DATASETS = {
    "mnist": "MNIST",
    "fashion_mnist": "FashionMNIST",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "svhn": "SVHN",
    "tiny_imagenet": "Tiny ImageNet",
    "imagenet": "ImageNet",
}
NETWORKS = {
    "lenet_300_100": "LeNet-300-100",
    "lenet_5": "LeNet-5",
    "lenet_5_caffe": "LeNet-5 (Caffe)",
    "conv2_bn": "Conv-2 (batch norm)",
    **{f"conv_{n}": f"Conv-{n}" for n in (2, 4, 6)},
    **{f"vgg{depth}_bn": f"VGG-{depth}" for depth in (11, 13, 16, 19)},
    **{f"vgg{depth}_bn_three_linear": f"VGG-{depth}" for depth in (11, 16)},
    **{f"resnet{depth}": f"ResNet-{depth}" for depth in (18, 20, 32, 34, 44, 50, 56, 110)},
    **{f"resnet{depth}_small_stem": f"ResNet-{depth}" for depth in (18, 34, 50)},
    "wrn_16_8": "WRN-16-8",
    "wrn_28_10": "WRN-28-10",
    "mobilenet_v1": "MobileNetV1",
    "densenet_40": "DenseNet-40",
    "vit_small": "ViT",
}

GREY = "#555555"

_RC: Any = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "text.parse_math": False,  # what others wrote is no formula
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.0,
    "legend.title_fontsize": 8.0,
    "axes.titlepad": 4.0,
    "axes.labelpad": 2.5,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#444444",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.8,
    "lines.markeredgewidth": 0.9,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "legend.columnspacing": 1.4,
    "legend.labelspacing": 0.35,
    "figure.dpi": 100,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,
    "svg.hashsalt": "tombola",
    "svg.fonttype": "none",
}


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's settings for our figures, for as long as the context lasts."""
    from matplotlib import rc_context

    with rc_context(_RC):
        yield


def look(method: str) -> Look:
    """The look of a method; one we do not know gets the same look everywhere too."""
    if method in METHODS:
        return METHODS[method]
    colour, marker = _OTHERS[crc32(method.encode()) % len(_OTHERS)]
    return Look(colour, marker, own_name(method))


def own_name(method: str) -> str:
    """Return the label of a user's method: its function, in words."""
    return method.rpartition(":")[2].replace("_", " ").strip() or method


def ablated(label: str, ablation: str) -> str:
    """The name of a curve: its method and setting, and what was done to its mask."""
    return label if ablation == "none" else f"{label}, {look_of_ablation(ablation).label.lower()}"


def look_of_ablation(name: str) -> Look:
    """The look of an ablation; one that this version does not know is called as the store does."""
    return ABLATIONS.get(name) or replace(ABLATIONS["none"], label=name, filled=False)


def ablation_order(name: str) -> tuple[int, str]:
    """Return the rank of an ablation; those of the palette come first."""
    known = list(ABLATIONS)
    return (known.index(name), "") if name in known else (len(known), name)


def variant(of: Look, number: int) -> Look:
    """The look of a method's n-th setting, from 0: another shade, another line."""
    if number == 0:
        return of
    shade = (-0.4, 0.35, -0.65)[(number - 1) % 3]
    return replace(
        of, colour=lighter(of.colour, shade), line=_DASHES[number % len(_DASHES)], filled=number > 3
    )


def lighter(colour: str, amount: float) -> str:
    """The colour mixed with white: 0 leaves it, 1 is white; below 0 it is mixed with black."""
    end = 255 if amount > 0 else 0
    channels = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(c + (end - c) * abs(amount)):02X}" for c in channels)


def sequence(count: int) -> list[str]:
    """So many colours in order, from dark to light but never too light to see on white."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    ordered = colormaps["plasma"]
    return [to_hex(ordered(0.05 + 0.8 * n / max(count - 1, 1))) for n in range(count)]


def percent(fraction: float) -> str:
    """A density as an axis says it, to three digits: 100, 51.2, 6.87, 0.591."""
    return f"{float(f'{100 * fraction:.3g}'):f}".rstrip("0").rstrip(".")


def problem(network: str, dataset: str) -> str:
    """Return the title of a problem, such as ResNet-20 on CIFAR-10."""
    name, _, width = network.partition(" x")
    solver = NETWORKS.get(name, name.replace("_", " ")) + (f" (width × {width})" if width else "")
    return f"{solver} on {DATASETS.get(dataset, dataset.replace('_', ' '))}"
