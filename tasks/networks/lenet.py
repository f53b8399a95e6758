"""LeNet-300-100: the fully-connected network of LeCun et al. 1998, with ReLU."""

from torch import nn

from tasks.spec import Network


def lenet_300_100(network: Network) -> nn.Module:
    """Two hidden layers of 300 and 100 units (266,200 weights on MNIST's 28 × 28)."""
    channels, height, width = network.input_shape
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(channels * height * width, 300),
        nn.ReLU(),
        nn.Linear(300, 100),
        nn.ReLU(),
        nn.Linear(100, network.classes),
    )
