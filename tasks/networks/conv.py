"""Plain convolutional networks: Conv-2/4/6 of the lottery ticket hypothesis, and a small one."""

from collections.abc import Callable

from torch import nn

from tasks.values.training import Network


def conv2_bn(network: Network) -> nn.Module:
    """Build two 3 × 3 convolutions (16, 32 channels, batch norm, pooling) and a linear layer.

    It is a small network of the VGG form, for images of at least 4 × 4.
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
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
    )


def conv(convolutions: int) -> Callable[[Network], nn.Module]:
    """Return a builder of Conv-2, 4 or 6 (Frankle and Carbin 2019, fig. 2).

    Pairs of 3 × 3 convolutions have 64, 128 and 256 channels, each pair pooled. Two linear
    layers of 256 units and the output follow. On CIFAR-10 Conv-2 has 4.3M and Conv-4 2.4M
    weights. The paper's 1.7M of Conv-6 is 2.26M by the layers it lists, as in OpenLTH.
    """

    def build(network: Network) -> nn.Module:
        channels, height, width = network.input_shape
        layers: list[nn.Module] = []
        for outputs in (64, 128, 256)[: convolutions // 2]:
            for inputs in (channels, outputs):
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
            layers.append(nn.MaxPool2d(2))
            channels, height, width = outputs, height // 2, width // 2
        layers += [nn.Flatten(), nn.Linear(channels * height * width, 256), nn.ReLU(inplace=True)]
        return nn.Sequential(
            *layers, nn.Linear(256, 256), nn.ReLU(inplace=True), nn.Linear(256, network.classes)
        )

    return build
