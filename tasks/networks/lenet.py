"""LeNets, with ReLU in place of their sigmoid-like activations."""

from torch import nn

from tasks.values.training import Network


def lenet_300_100(network: Network) -> nn.Module:
    """Build two hidden layers of 300 and 100 units (266,200 weights on MNIST's 28 × 28).

    It is the fully-connected network of LeCun et al. 1998, section III.
    """
    channels, height, width = network.input_shape
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(channels * height * width, 300),
        nn.ReLU(inplace=True),
        nn.Linear(300, 100),
        nn.ReLU(inplace=True),
        nn.Linear(100, network.classes),
    )


def lenet_5(network: Network) -> nn.Module:
    """Build 5 × 5 convolutions of 6 and 16 channels, then linear layers of 120 and 84 units.

    LeCun et al. 1998, fig. 2. Images of 28 × 28 are padded to the paper's 32 × 32.
    """
    channels, height, width = network.input_shape
    padding = 2 if height == width == 28 else 0
    rows, columns = (_left(side + 2 * padding) for side in (height, width))
    return nn.Sequential(
        *(nn.Conv2d(channels, 6, 5, padding=padding), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        nn.Flatten(),
        *(nn.Linear(16 * rows * columns, 120), nn.ReLU(inplace=True)),
        *(nn.Linear(120, 84), nn.ReLU(inplace=True)),
        nn.Linear(84, network.classes),
    )


def lenet_5_caffe(network: Network) -> nn.Module:
    """Build 5 × 5 convolutions of 20 and 50 channels, then 500 units (430,500 weights on MNIST).

    It is Caffe's form, the "LeNet-5" of Han et al. 2015 (table 1: 431K) and Lee et al. 2019.
    """
    channels, height, width = network.input_shape
    rows, columns = (_left(side) for side in (height, width))
    return nn.Sequential(
        *(nn.Conv2d(channels, 20, 5), nn.MaxPool2d(2)),
        *(nn.Conv2d(20, 50, 5), nn.MaxPool2d(2)),
        nn.Flatten(),
        *(nn.Linear(50 * rows * columns, 500), nn.ReLU(inplace=True)),
        nn.Linear(500, network.classes),
    )


def _left(side: int) -> int:
    """Return the pixels of a side after two 5 × 5 convolutions, each pooled by 2."""
    left = ((side - 4) // 2 - 4) // 2
    if left < 1:
        raise ValueError(f"LeNet-5 takes images of at least 16 x 16, not of a side of {side}")
    return left
