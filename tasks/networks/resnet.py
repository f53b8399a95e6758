"""Residual networks: those for CIFAR, wide ones, and torchvision's, also with a small stem."""

from collections.abc import Callable

from torch import Tensor, nn

from tasks.networks.widths import scaled
from tasks.values.training import Network


class _Residual(nn.Module):
    """last(branch(x) + shortcut(x)), where `last` is ReLU or the identity."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module, last: nn.Module) -> None:
        super().__init__()
        self.branch, self.shortcut, self.last = branch, shortcut, last

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.branch(x) + self.shortcut(x))
        return out


def _conv3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)


def _shortcut(inputs: int, outputs: int, stride: int, *, norm: bool) -> nn.Module:
    """Build the identity, or a 1 × 1 convolution (option B) if the shape changes."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs)) if norm else conv


def _basic(inputs: int, outputs: int, stride: int) -> nn.Module:
    branch = nn.Sequential(
        *(_conv3(inputs, outputs, stride), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)),
        *(_conv3(outputs, outputs), nn.BatchNorm2d(outputs)),
    )
    return _Residual(branch, _shortcut(inputs, outputs, stride, norm=True), nn.ReLU(inplace=True))


def _preactivated(inputs: int, outputs: int, stride: int) -> nn.Module:
    branch = nn.Sequential(
        *(nn.BatchNorm2d(inputs), nn.ReLU(inplace=True), _conv3(inputs, outputs, stride)),
        *(nn.BatchNorm2d(outputs), nn.ReLU(inplace=True), _conv3(outputs, outputs)),
    )
    return _Residual(branch, _shortcut(inputs, outputs, stride, norm=False), nn.Identity())


def _stages(
    block: Callable[[int, int, int], nn.Module], channels: int, widths: list[int], repeats: int
) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for stage, outputs in enumerate(widths):
        for position in range(repeats):
            stride = 2 if stage and position == 0 else 1
            layers.append(block(channels, outputs, stride))
            channels = outputs
    return layers


def resnet_cifar(depth: int) -> Callable[[Network], nn.Module]:
    """Return a builder of ResNet-20 to 110 for CIFAR (He et al. 2016, section 4.2).

    It has 6n + 2 layers of 16, 32 and 64 channels. Shortcuts that change the shape are 1 × 1
    convolutions, as in OpenLTH and the code of Missing the Mark (the paper's option A has no
    weights). Depth 20 has 270,896 weights.
    """

    def build(network: Network) -> nn.Module:
        widths = [scaled(c, network.width) for c in (16, 32, 64)]
        stem = (
            _conv3(network.input_shape[0], widths[0]),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        )
        blocks = _stages(_basic, widths[0], widths, (depth - 2) // 6)
        return nn.Sequential(*stem, *blocks, *_head(widths[-1], network.classes))

    return build


def wide_resnet(depth: int, factor: int) -> Callable[[Network], nn.Module]:
    """Return a builder of WRN-depth-factor (Zagoruyko and Komodakis 2016).

    It has 6n + 4 layers, with norm before convolution. WRN-28-10 has 36.5M parameters (their
    table 5).
    """

    def build(network: Network) -> nn.Module:
        widths = [scaled(c * factor, network.width) for c in (16, 32, 64)]
        blocks = _stages(_preactivated, 16, widths, (depth - 4) // 6)
        last = (nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True))
        stem = _conv3(network.input_shape[0], 16)
        return nn.Sequential(stem, *blocks, *last, *_head(widths[-1], network.classes))

    return build


def resnet_imagenet(name: str, *, small_stem: bool = False) -> Callable[[Network], nn.Module]:
    """Return a builder of torchvision's ResNet-18, 34 or 50 (He et al. 2016, table 1).

    A small stem is a 3 × 3 convolution of stride 1 without pooling, in place of the 7 × 7 of
    stride 2 with pooling. It is the "modified" form for CIFAR and Tiny ImageNet (Tanaka et al.
    2020). ResNet-18 then has 11,164,352 weights on CIFAR-10.
    """

    def build(network: Network) -> nn.Module:
        from torchvision import models

        module: nn.Module = models.get_model(name, weights=None, num_classes=network.classes)
        channels = network.input_shape[0]
        if small_stem:
            module.conv1, module.maxpool = _conv3(channels, 64), nn.Identity()
        elif channels != 3:
            module.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
        return module

    return build


def _head(channels: int, classes: int) -> tuple[nn.Module, ...]:
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)
