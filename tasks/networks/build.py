"""Build a module without weights from a `Network`, and weights from an `Init`.

A module here is architecture only: its parameters and buffers lie on the meta device, and
`call` passes it those of a run. It holds no weights, so runs cannot affect each other. A user's
network is constructed on the CPU, since its code may read values. Then its tensors are moved to
the meta device.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.lazy import LazyModuleMixin

from tasks import random_streams
from tasks.networks import schemes, tensors
from tasks.networks.conv import conv, conv2_bn
from tasks.networks.densenet import densenet_40
from tasks.networks.lenet import lenet_5, lenet_5_caffe, lenet_300_100
from tasks.networks.mobile import mobilenet_v1
from tasks.networks.random_layers import seeded
from tasks.networks.resnet import resnet_cifar, resnet_imagenet, wide_resnet
from tasks.networks.vgg import vgg_bn, vgg_bn_three_linear
from tasks.networks.vit import vit_small
from tasks.values import user_code
from tasks.values.training import Init, Network

# Attention must compute in evaluation as in training. PyTorch's fast kernel calls no hooks and
# has no derivative.
torch.backends.mha.set_fastpath_enabled(False)

Weights = dict[str, Tensor]
"""Parameters and buffers by name, each once, including buffers that no state dict holds."""

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
    """Build the architecture with parameters and buffers on the meta device; use it by `call`.

    With `in_place`, activations may overwrite their input: the same values with half the memory
    traffic, for training. Scores differentiate twice through each activation and need its
    input.

    Raises
    ------
    ValueError
        When no architecture has that name, or it cannot take images of that shape.
    """
    module = _described(network, _on_meta(network))
    for child in module.modules():
        if getattr(child, "inplace", False) and not in_place:
            setattr(child, "inplace", False)  # noqa: B010 -- a module's attribute may be a tensor
    return module


def loaded(network: Network, weights: Weights, *, in_place: bool = False) -> nn.Module:
    """Build the network with copies of these weights, on their device: a callable module."""
    module = build(network, in_place=in_place)
    tensors.replace(module, lambda name, _: weights[name].detach().clone())
    return module


def call(module: nn.Module, weights: Weights, images: Tensor) -> Tensor:
    """Return the logits (examples, classes) of a module from `build` with these weights.

    Changes of buffers, such as batch norm's statistics, are made in `weights`.

    Raises
    ------
    ValueError
        When the network returns anything but one tensor.
    """
    others: dict[str, str] = module.__dict__.get(_OTHERS, {})
    given = {**weights, **{other: weights[name] for other, name in others.items()}}
    given = given if others else weights
    logits = functional_call(module, given, (images,), tie_weights=False)
    if given is not weights:
        weights.update({name: given[name] for name in weights})
    if not isinstance(logits, Tensor):
        raise ValueError(
            f"the network returns {type(logits).__name__}; right: one tensor of logits "
            "(examples, classes), without auxiliary outputs"
        )
    return logits


def prunable(module: nn.Module) -> list[str]:
    """Return the names of the prunable tensors of a module, sorted, each once."""
    known: list[str] | None = module.__dict__.get(_PRUNABLE)
    return tensors.usual(module) if known is None else list(known)


def initial_weights(network: Network, init: Init) -> Weights:
    """Draw the weights and buffers at step 0 on the CPU from the seed."""
    if network.semantics == 1 and init.weights != "own":
        return _named(network, init)
    module = _constructed(network, init.seed)
    weights = {name: tensor.clone() for name, tensor in _tensors(module).items()}
    for name, tensor in weights.items():
        owner = module.get_submodule(name.rpartition(".")[0])
        if isinstance(owner, _BatchNorm):
            if init.batch_norm == "uniform" and name.rpartition(".")[2] == "weight":
                weights[name] = schemes.scale(name, tensor.shape, init).to(tensor.dtype)
        elif init.weights != "own" and (fans := tensors.fans(module, name)):
            weights[name] = schemes.weight(name, tensor.shape, init, fans).to(tensor.dtype)
    return weights


def example_weights(network: Network) -> Weights:
    """Return weights and buffers with which the network runs, for uses where only shapes matter."""
    if network.semantics > 1:
        return initial_weights(network, Init(seed=0, weights="own"))
    return {n: torch.zeros(t.shape, dtype=t.dtype) for n, t in build(network).state_dict().items()}


_PRUNABLE, _OTHERS = "_tombola_prunable", "_tombola_other_names"
"""Attributes of a built module: its prunable tensors, and further names of its tensors."""

_STORED = frozenset({torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
                     torch.float16, torch.float32, torch.float64})  # fmt: skip
"""Types of tensors that a store can hold."""


# ---------------------------------------------------------------- modules


def _on_meta(network: Network) -> nn.Module:
    if network.semantics > 1:
        module = _constructed(network, seed=0)
        tensors.replace(module, lambda _, tensor: tensor.detach().to("meta"))
        return module
    with torch.device("meta"):
        return _made(network)


def _constructed(network: Network, seed: int) -> nn.Module:
    """Construct a network by its own code, on the CPU, with seeded random generators."""
    with seeded(seed, "own initialization"), torch.device("cpu"):
        module = _made(network)
        if any(isinstance(child, LazyModuleMixin) for child in module.modules()):
            with torch.no_grad():
                module.eval()(torch.zeros(2, *network.input_shape))
            module.train()
    _check(network, module)
    return module


def _made(network: Network) -> nn.Module:
    try:
        return _builder(network.name)(network)
    except (RuntimeError, ZeroDivisionError) as error:
        shape = " x ".join(map(str, network.input_shape))
        raise ValueError(f"{network.name} cannot be built for {shape} images: {error}") from error


def _check(network: Network, module: nn.Module) -> None:
    """Refuse modules that would compute wrong results silently, or cannot be stored."""
    for name, tensor in _tensors(module).items():
        if tensor.dtype not in _STORED:
            raise ValueError(
                f"{network.name}: {name} is of type {tensor.dtype}, which a store cannot hold"
            )
    owners: dict[int, str] = {}
    for name, parameter in module.named_parameters():
        other = owners.setdefault(parameter.data_ptr(), name) if parameter.numel() else name
        if other != name:
            raise ValueError(
                f"{network.name}: {other} and {name} share memory but are two parameters; "
                "to tie them, make them one parameter (b.weight = a.weight)"
            )
    if getattr(module, "aux_logits", False):
        raise ValueError(f"{network.name} has auxiliary outputs, which are not trained here")


def _described(network: Network, module: nn.Module) -> nn.Module:
    """Store in the module which tensors are prunable and which have further names."""
    names = tensors.usual(module) if network.semantics > 1 else _plain(module)
    if network.prunable:
        names = tensors.chosen(module, network.prunable, names)
    if not names:
        raise ValueError(f"{network.name} has no weight that can be pruned")
    module.__dict__[_PRUNABLE] = names
    module.__dict__[_OTHERS] = tensors.shared(module)
    return module


def _plain(module: nn.Module) -> list[str]:
    """Return the names of the weights of Conv2d and Linear: prunable in semantics version 1."""
    return sorted(
        f"{name}.weight" if name else "weight"
        for name, child in module.named_modules()
        if isinstance(child, nn.Conv2d | nn.Linear)
    )


def _tensors(module: nn.Module) -> Weights:
    named = [*module.named_parameters(), *module.named_buffers()]
    return {name: tensor.detach() for name, tensor in named}


def _builder(name: str) -> Builder:
    if name.startswith("torchvision:"):
        return _torchvision
    if ":" in name:
        return _own
    if name not in BUILDERS:
        raise ValueError(f"no network {name!r}; there are {', '.join(BUILDERS)}")
    return BUILDERS[name]


def _own(network: Network) -> nn.Module:
    """Build a user's network by the user's function."""
    options = tuple((option.name, option.value) for option in network.options)
    module = user_code.call(network.name, network, source=network.source, options=options)
    if not isinstance(module, nn.Module):
        raise ValueError(
            f"{network.name} returned {type(module).__name__}; right: a torch.nn.Module"
        )
    return module


def _torchvision(network: Network) -> nn.Module:
    """Build a network of torchvision by name, without weights, for the dataset's classes."""
    from torchvision import models

    name = network.name.partition(":")[2]
    if name not in models.list_models(module=models):
        raise ValueError(f"torchvision has no network for classification {name!r}")
    if network.input_shape[0] != 3:
        raise ValueError(f"{network.name} takes images of 3 channels")
    module: nn.Module = models.get_model(name, weights=None, num_classes=network.classes)
    return module


# ---------------------------------------------------------------- weights by name


def _named(network: Network, init: Init) -> Weights:
    """Draw float32 weights and buffers by their names, each from its own stream.

    Scales of norms are 1 (those of batch norm may be drawn), biases and running means are 0.
    Any other parameter, such as a transformer's positions, is drawn from N(0, 0.02²)
    (Dosovitskiy et al. 2021).
    """
    module = build(network)
    drawn = set(_plain(module))
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
            weights[name] = schemes.scale(name, tensor.shape, init)
        elif role in {"weight", "running_var"}:
            weights[name] = torch.ones(tensor.shape)
        else:
            draws = random_streams.normal(tensor.numel(), init.seed, "weights", name)
            weights[name] = torch.from_numpy(0.02 * draws).float().reshape(tensor.shape)
    return weights
