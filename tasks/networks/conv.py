"""Small convolutional networks with batch norm."""

from torch import nn

from tasks.spec import Network


def conv2_bn(network: Network) -> nn.Module:
    """Two 3 × 3 convolutions (16 and 32 channels, batch norm, pooling), one linear layer.

    A small network of the VGG form, for images of at least 4 × 4.
    """
    channels, height, width = network.input_shape
    return nn.Sequential(
        *_block(channels, 16),
        *_block(16, 32),
        nn.Flatten(),
        nn.Linear(32 * (height // 4) * (width // 4), network.classes),
    )


def _block(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )
