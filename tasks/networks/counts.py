"""Count the parameters of a shipped network and its prunable ones, without building it.

`tombola plan` shows these numbers, and the modules of tasks.networks take seconds to import. A
test compares the layers here with those of the modules. Users' networks are counted by building
them (tasks.measures.layers.share).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from tasks.networks.widths import scaled
from tasks.values.training import Network

MOST_NAMED = 5


@dataclass(frozen=True)
class Share:
    """Numbers of prunable weights and of all parameters; `others` names the kinds of the rest."""

    prunable: int
    parameters: int
    others: tuple[str, ...]

    @property
    def percent(self) -> str:
        """The prunable share in per cent; "100.0%" only if all parameters are prunable."""
        share = f"{self.prunable / max(1, self.parameters):.1%}"
        return ">99.9%" if share == "100.0%" and self.others else share

    @property
    def without(self) -> str:
        """The names of the parameters that cannot be pruned, at most MOST_NAMED of them."""
        named = ", ".join(self.others[:MOST_NAMED])
        left = len(self.others) - MOST_NAMED
        return f"{named} and {left} more" if left > 0 else named


@lru_cache(maxsize=256)
def share(network: Network) -> Share | None:
    """Return the prunable share of a shipped network; None if it must be built to count."""
    count = _NETWORKS.get(network.name)
    if count is None or network.prunable:
        return None
    layers = _Layers()
    count(network, layers)
    others = [name for name, size in layers.others.items() if size]
    total = layers.weights + sum(layers.others.values())
    return Share(layers.weights, total, tuple(others))


class _Layers:
    """Counts of weights and other parameters; each method adds a layer and returns its outputs.

    `side` is the side of a convolution's kernel.
    """

    def __init__(self) -> None:
        self.weights = 0
        self.others = {"0.position": 0, "biases": 0, "norms": 0}

    def linear(self, *sizes: int) -> int:
        """Add linear layers with biases from the first size to the last."""
        for inputs, outputs in pairwise(sizes):
            self.biased(inputs, outputs, 1)
        return sizes[-1]

    def biased(self, inputs: int, outputs: int, side: int = 3) -> int:
        """Add a convolution with a bias."""
        self.others["biases"] += outputs
        return self.plain(inputs, outputs, side)

    def plain(self, inputs: int, outputs: int, side: int = 3, groups: int = 1) -> int:
        """Add a convolution without a bias."""
        self.weights += inputs // groups * outputs * side**2
        return outputs

    def normed(self, inputs: int, outputs: int, side: int = 3, groups: int = 1) -> int:
        """Add a convolution without a bias and a norm of its outputs."""
        return self.norm(self.plain(inputs, outputs, side, groups))

    def norm(self, channels: int) -> int:
        """Add a norm: a scale and a shift of each channel."""
        self.others["norms"] += 2 * channels
        return channels


_Count = Callable[[Network, _Layers], object]


def _lenet_300_100(n: Network, layers: _Layers) -> None:
    channels, height, width = n.input_shape
    layers.linear(channels * height * width, 300, 100, n.classes)


def _lenet_5(n: Network, layers: _Layers) -> None:
    channels, height, width = n.input_shape
    padding = 4 if height == width == 28 else 0
    layers.biased(layers.biased(channels, 6, 5), 16, 5)
    layers.linear(16 * _pooled(height + padding) * _pooled(width + padding), 120, 84, n.classes)


def _lenet_5_caffe(n: Network, layers: _Layers) -> None:
    channels, height, width = n.input_shape
    layers.biased(layers.biased(channels, 20, 5), 50, 5)
    layers.linear(50 * _pooled(height) * _pooled(width), 500, n.classes)


def _pooled(side: int) -> int:
    return ((side - 4) // 2 - 4) // 2


def _conv2_bn(n: Network, layers: _Layers) -> None:
    channels, height, width = n.input_shape
    last = layers.normed(layers.normed(channels, 16), 32)
    layers.linear(last * (height // 4) * (width // 4), n.classes)


def _conv(convolutions: int) -> _Count:
    def count(n: Network, layers: _Layers) -> None:
        channels, height, width = n.input_shape
        for outputs in (64, 128, 256)[: convolutions // 2]:
            channels = layers.biased(layers.biased(channels, outputs), outputs)
            height, width = height // 2, width // 2
        layers.linear(channels * height * width, 256, 256, n.classes)

    return count


_VGG = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def _vgg(depth: int, *, three_linear: bool = False) -> _Count:
    def count(n: Network, layers: _Layers) -> None:
        channels, height, width = n.input_shape
        for repeats, outputs in zip(_VGG[depth], (64, 128, 256, 512, 512), strict=True):
            for _ in range(repeats):
                channels = layers.normed(channels, scaled(outputs, n.width))
        values = channels * (height // 32) * (width // 32)
        between = (values, values // 2, values // 2) if three_linear else (channels,)
        layers.linear(*between, n.classes)

    return count


def _resnet_cifar(depth: int) -> _Count:
    def count(n: Network, layers: _Layers) -> None:
        widths = [scaled(c, n.width) for c in (16, 32, 64)]
        channels = layers.normed(n.input_shape[0], widths[0])
        for stage, outputs in enumerate(widths):
            for position in range((depth - 2) // 6):
                changes = bool(stage) and position == 0  # it halves the image, at any width
                channels = _basic(layers, channels, outputs, shortcut=changes)
        layers.linear(channels, n.classes)

    return count


def _basic(layers: _Layers, inputs: int, outputs: int, *, shortcut: bool) -> int:
    if shortcut:
        layers.normed(inputs, outputs, 1)
    return layers.normed(layers.normed(inputs, outputs), outputs)


def _bottleneck(layers: _Layers, inputs: int, middle: int, *, shortcut: bool) -> int:
    if shortcut:
        layers.normed(inputs, 4 * middle, 1)
    return layers.normed(layers.normed(layers.normed(inputs, middle, 1), middle), 4 * middle, 1)


def _resnet(repeats: tuple[int, ...], block: Callable[..., int], stem: int) -> _Count:
    def count(n: Network, layers: _Layers) -> None:
        channels = layers.normed(n.input_shape[0], 64, stem)
        for stage, blocks in enumerate(repeats):
            for position in range(blocks):
                changes = position == 0 and (stage > 0 or block is _bottleneck)
                channels = block(layers, channels, 64 * 2**stage, shortcut=changes)
        layers.linear(channels, n.classes)

    return count


def _wide_resnet(depth: int, factor: int) -> _Count:
    def count(n: Network, layers: _Layers) -> None:
        channels = layers.plain(n.input_shape[0], 16)
        for stage, base in enumerate((16, 32, 64)):
            outputs = scaled(base * factor, n.width)
            for position in range((depth - 4) // 6):
                if channels != outputs or (stage and position == 0):
                    layers.plain(channels, outputs, 1)
                layers.plain(layers.norm(channels), outputs)
                channels = layers.plain(layers.norm(outputs), outputs)
        layers.linear(layers.norm(channels), n.classes)

    return count


def _mobilenet_v1(n: Network, layers: _Layers) -> None:
    channels = layers.normed(n.input_shape[0], scaled(32, n.width))
    for outputs in (64, 128, 128, 256, 256, *(512,) * 6, 1024, 1024):
        layers.normed(channels, channels, 3, channels)
        channels = layers.normed(channels, scaled(outputs, n.width), 1)
    layers.linear(channels, n.classes)


def _densenet_40(n: Network, layers: _Layers) -> None:
    growth = scaled(12, n.width)
    channels = layers.plain(n.input_shape[0], 16)
    for block in range(3):
        if block:
            layers.plain(layers.norm(channels), channels, 1)
        for _ in range(12):
            channels += layers.plain(layers.norm(channels), growth)
    layers.linear(layers.norm(channels), n.classes)


def _vit_small(n: Network, layers: _Layers) -> None:
    channels, height, width = n.input_shape
    size, patch = 3 * scaled(64, n.width), max(1, min(height, width) // 8)
    layers.biased(channels, size, patch)
    layers.others["0.position"] = (height // patch) * (width // patch) * size
    for _ in range(6):
        layers.linear(layers.norm(size), 3 * size)
        layers.linear(size, size)
        layers.linear(layers.norm(size), 4 * size, size)
    layers.linear(layers.norm(size), n.classes)


_BLOCKS = {18: ((2, 2, 2, 2), _basic), 34: ((3, 4, 6, 3), _basic), 50: ((3, 4, 6, 3), _bottleneck)}

_NETWORKS: dict[str, _Count] = {
    "lenet_300_100": _lenet_300_100,
    "lenet_5": _lenet_5,
    "lenet_5_caffe": _lenet_5_caffe,
    "conv2_bn": _conv2_bn,
    **{f"conv_{n}": _conv(n) for n in (2, 4, 6)},
    **{f"vgg{depth}_bn": _vgg(depth) for depth in _VGG},
    **{f"vgg{depth}_bn_three_linear": _vgg(depth, three_linear=True) for depth in (11, 16)},
    **{f"resnet{depth}": _resnet_cifar(depth) for depth in (20, 32, 44, 56, 110)},
    **{f"resnet{depth}": _resnet(*how, 7) for depth, how in _BLOCKS.items()},
    **{f"resnet{depth}_small_stem": _resnet(*how, 3) for depth, how in _BLOCKS.items()},
    "wrn_16_8": _wide_resnet(16, 8),
    "wrn_28_10": _wide_resnet(28, 10),
    "mobilenet_v1": _mobilenet_v1,
    "densenet_40": _densenet_40,
    "vit_small": _vit_small,
}
