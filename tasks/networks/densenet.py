"""DenseNet-40 in its CIFAR form."""

import torch
from torch import Tensor, nn

from tasks.networks.widths import scaled
from tasks.values.training import Network


class _Dense(nn.Module):
    """A layer that appends its output channels to its input channels."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(inputs, growth, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.branch(x)], dim=1)


def densenet_40(network: Network) -> nn.Module:
    """Build three blocks of 12 layers that each add 12 channels (Huang et al. 2017, section 3).

    It is the plain form without bottlenecks, with 1.0M parameters (their table 2).
    """
    growth = scaled(12, network.width)
    channels = 16
    layers: list[nn.Module] = [
        nn.Conv2d(network.input_shape[0], channels, 3, padding=1, bias=False)
    ]
    for block in range(3):
        if block:
            layers += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
            layers += [nn.Conv2d(channels, channels, 1, bias=False), nn.AvgPool2d(2)]
        for _ in range(12):
            layers.append(_Dense(channels, growth))
            channels += growth
    layers += [
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    ]
    return nn.Sequential(*layers, nn.Linear(channels, network.classes))
