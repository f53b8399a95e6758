"""From a `Network` to a module without weights, and from an `Init` to its weights.

A module here is architecture only: it lives on the meta device and is called with
`torch.func.functional_call`, so no weights hide in it and runs cannot touch each other.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tasks import own, streams
from tasks.networks import schemes
from tasks.networks.conv import conv, conv2_bn
from tasks.networks.densenet import densenet_40
from tasks.networks.lenet import lenet_5, lenet_5_caffe, lenet_300_100
from tasks.networks.mobile import mobilenet_v1
from tasks.networks.resnet import resnet_cifar, resnet_imagenet, wide_resnet
from tasks.networks.vgg import vgg_bn, vgg_bn_three_linear
from tasks.networks.vit import vit_small
from tasks.spec import Init, Network

Weights = dict[str, Tensor]
"""A network's parameters and buffers by name, as in a state dict."""

Builder = Callable[[Network], nn.Module]

BUILDERS: dict[str, Builder] = {
    "lenet_300_100": lenet_300_100,
    "lenet_5": lenet_5,
    "lenet_5_caffe": lenet_5_caffe,
    "conv2_bn": conv2_bn,
    **{f"conv_{n}": conv(n) for n in (2, 4, 6)},
    **{f"vgg{depth}_bn": vgg_bn(depth) for depth in (11, 13, 16, 19)},
    **{f"vgg{depth}_bn_three_linear": vgg_bn_three_linear(depth) for depth in (11, 16)},
    **{f"resnet{depth}": resnet_cifar(depth) for depth in (20, 32, 44, 56, 110)},
    **{f"resnet{depth}": resnet_imagenet(f"resnet{depth}") for depth in (18, 34, 50)},
    **{
        f"resnet{depth}_small_stem": resnet_imagenet(f"resnet{depth}", small_stem=True)
        for depth in (18, 34, 50)
    },
    "wrn_16_8": wide_resnet(16, 8),
    "wrn_28_10": wide_resnet(28, 10),
    "mobilenet_v1": mobilenet_v1,
    "densenet_40": densenet_40,
    "vit_small": vit_small,
}


def build(network: Network, *, in_place: bool = False) -> nn.Module:
    """The architecture, on the meta device.

    `in_place` leaves activations that overwrite their input as they are: the same values with
    half the memory traffic, for training. Scores differentiate twice through every
    activation, which needs its input.

    Raises
    ------
    ValueError
        When no architecture has that name, or it cannot take such images.
    """
    with torch.device("meta"):
        try:
            module = _builder(network.name)(network)
        except (RuntimeError, ZeroDivisionError) as error:
            shape = " x ".join(map(str, network.input_shape))
            raise ValueError(
                f"{network.name} cannot be built for {shape} images: {error}"
            ) from None
    for child in module.modules():
        if getattr(child, "inplace", False) and not in_place:
            setattr(child, "inplace", False)  # noqa: B010 -- a module's attribute may be a tensor
    return module


def prunable(module: nn.Module) -> list[str]:
    """Names of the prunable tensors in sorted order: weights of Conv2d and Linear."""
    return sorted(
        f"{name}.weight"
        for name, child in module.named_modules()
        if isinstance(child, nn.Conv2d | nn.Linear)
    )


def initial_weights(network: Network, init: Init) -> Weights:
    """Float32 weights and buffers at step 0, drawn on the CPU tensor by tensor.

    Scales of norms are 1 (or drawn, of batch norm), biases and running means 0; any other
    parameter, such as a transformer's positions, is N(0, 0.02²) (Dosovitskiy et al. 2021).
    """
    module = build(network)
    drawn = set(prunable(module))
    weights: Weights = {}
    for name, tensor in module.state_dict().items():
        owner, _, role = name.rpartition(".")
        norm = isinstance(module.get_submodule(owner), _BatchNorm)
        if name in drawn:
            weights[name] = schemes.weight(name, tensor.shape, init)
        elif role == "num_batches_tracked":
            weights[name] = torch.zeros((), dtype=torch.int64)
        elif role == "bias" and f"{owner}.weight" in drawn:
            fan_in = module.get_parameter(f"{owner}.weight")[0].numel()
            weights[name] = schemes.bias(name, tensor.shape, fan_in, init)
        elif role in {"bias", "running_mean"}:
            weights[name] = torch.zeros(tensor.shape)
        elif norm and role == "weight" and init.batch_norm == "uniform":
            scale = streams.uniform(tensor.numel(), init.seed, "batch norm", name)
            weights[name] = torch.from_numpy(scale).float().reshape(tensor.shape)
        elif role in {"weight", "running_var"}:
            weights[name] = torch.ones(tensor.shape)
        else:
            draws = streams.normal(tensor.numel(), init.seed, "weights", name)
            weights[name] = torch.from_numpy(0.02 * draws).float().reshape(tensor.shape)
    return weights


def _builder(name: str) -> Builder:
    if name.startswith("torchvision:"):
        return _torchvision
    if ":" in name:
        return _own
    if name not in BUILDERS:
        raise ValueError(f"no network {name!r}; there are {', '.join(BUILDERS)}")
    return BUILDERS[name]


def _own(network: Network) -> nn.Module:
    """A user's network, by the function that builds it."""
    options = tuple((option.name, option.value) for option in network.options)
    module = own.call(network.name, network, source=network.source, options=options)
    if not isinstance(module, nn.Module):
        raise ValueError(
            f"{network.name} returned {type(module).__name__}; "
            "the function of a network returns a torch.nn.Module"
        )
    return module


def _torchvision(network: Network) -> nn.Module:
    """A network of torchvision's by name, without weights, for the dataset's classes."""
    from torchvision import models

    name = network.name.partition(":")[2]
    if name not in models.list_models():
        raise ValueError(f"torchvision has no network {name!r}")
    if network.input_shape[0] != 3:
        raise ValueError(f"{network.name} takes images of 3 channels")
    module: nn.Module = models.get_model(name, weights=None, num_classes=network.classes)
    return module
