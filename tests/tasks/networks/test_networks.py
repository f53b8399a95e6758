"""Architectures against their published sizes; each can be scored and trained."""

import pytest
import torch

from tasks.measures.layers import dense_layers, parameters
from tasks.networks.build import BUILDERS, build, initial_weights, prunable
from tasks.pruning.prune import prune
from tasks.values import catalog
from tasks.values.scores import Synflow
from tasks.values.training import Init, Network

MNIST, CIFAR, TINY, IMAGENET = (1, 28, 28), (3, 32, 32), (3, 64, 64), (3, 224, 224)

# (network, images, classes): (prunable weights, prunable tensors)
PUBLISHED_WEIGHTS = {
    ("lenet_300_100", MNIST, 10): (266_200, 3),
    ("resnet20", CIFAR, 10): (270_896, 22),
    ("vgg16_bn", CIFAR, 10): (14_715_584, 14),
    ("vgg16_bn", CIFAR, 100): (14_761_664, 14),
    ("vgg11_bn", CIFAR, 10): (9_222_848, 9),
    ("vgg16_bn_three_linear", TINY, 200): (18_060_992, 16),
    ("vgg11_bn_three_linear", TINY, 200): (12_568_256, 11),
    ("resnet18_small_stem", CIFAR, 10): (11_164_352, 21),
    ("resnet18_small_stem", TINY, 200): (11_261_632, 21),
    ("resnet18", TINY, 200): (11_269_312, 21),
    ("resnet50", IMAGENET, 1000): (25_502_912, 54),
}

# Parameters as the papers print them, in as many digits as they print.
PUBLISHED_PARAMETERS = [
    ("lenet_5", MNIST, 10, 61_706, 5),  # LeCun et al. 1998, with all feature maps connected
    ("lenet_5_caffe", MNIST, 10, 431e3, 3),  # Han et al. 2015, table 1
    ("conv_2", CIFAR, 10, 4.3e6, 2),  # Frankle and Carbin 2019, figure 2
    ("conv_4", CIFAR, 10, 2.4e6, 2),
    ("vgg19_bn", CIFAR, 10, 20.0e6, 3),  # the same
    ("resnet32", CIFAR, 10, 0.46e6, 2),  # He et al. 2016, table 6
    ("resnet44", CIFAR, 10, 0.66e6, 2),
    ("resnet56", CIFAR, 10, 0.85e6, 2),
    ("resnet110", CIFAR, 10, 1.7e6, 2),
    ("resnet34", IMAGENET, 1000, 21_797_672, 8),  # torchvision's documentation
    ("resnet50", IMAGENET, 1000, 25_557_032, 8),
    ("wrn_28_10", CIFAR, 10, 36.5e6, 3),  # Zagoruyko and Komodakis 2016, table 5
    ("wrn_16_8", CIFAR, 10, 11.0e6, 3),
    ("densenet_40", CIFAR, 10, 1.0e6, 2),  # Huang et al. 2017, table 2
]

# Multiply-adds of one image.
PUBLISHED_FLOPS = [
    ("vgg16_bn", CIFAR, 10, 3.13e8),  # Li et al. 2017, table 1
    ("resnet56", CIFAR, 10, 1.25e8),
    ("resnet110", CIFAR, 10, 2.53e8),
    ("resnet34", IMAGENET, 1000, 3.64e9),
    ("resnet18", IMAGENET, 1000, 1.81e9),  # torchvision's documentation
    ("resnet50", IMAGENET, 1000, 4.09e9),
]


def named(name: str, shape: tuple[int, ...], classes: int, width: float = 1.0) -> Network:
    return Network(name=name, input_shape=shape, classes=classes, width=width)


@pytest.mark.parametrize(("network", "published"), PUBLISHED_WEIGHTS.items())
def test_prunable_weights_are_the_published(network, published) -> None:
    found = dense_layers(named(*network))
    assert (sum(layer.size for layer in found), len(found)) == published


@pytest.mark.parametrize(("name", "shape", "classes", "published", "digits"), PUBLISHED_PARAMETERS)
def test_parameters_are_the_published(name, shape, classes, published, digits) -> None:
    found = parameters(named(name, shape, classes))
    assert float(f"{found:.{digits}g}") == pytest.approx(
        published, rel=0.025 if digits < 3 else 1e-9
    )


@pytest.mark.parametrize(("name", "shape", "classes", "published"), PUBLISHED_FLOPS)
def test_flops_are_the_published(name, shape, classes, published) -> None:
    found = sum(layer.flops for layer in dense_layers(named(name, shape, classes)))
    assert found == pytest.approx(published, rel=0.01)


@pytest.mark.parametrize("name", catalog.NETWORKS)
def test_the_catalog_has_the_sizes_of_the_networks(name: str) -> None:
    facts = catalog.NETWORKS[name]
    channels = 1 if facts.side in {8, 28} else 3
    classes = 1000 if facts.side == 224 else 10
    found = dense_layers(named(name, (channels, facts.side, facts.side), classes))
    sizes = sum(layer.size for layer in found), sum(layer.flops for layer in found)
    assert sizes == (facts.weights, facts.flops)


def test_every_network_is_in_the_catalog() -> None:
    assert set(BUILDERS) == set(catalog.NETWORKS)


SMALL = ["resnet20", "vgg11_bn", "mobilenet_v1", "densenet_40", "vit_small", "lenet_5_caffe"]


@pytest.mark.parametrize("name", SMALL)
def test_networks_differentiate_twice_and_are_deterministic(name: str) -> None:
    """SNIP, GraSP and training need this of an architecture; on one batch of noise."""
    width = 1.0 if name.startswith("lenet") else 0.25
    network = named(name, MNIST if name.startswith("lenet") else CIFAR, 10, width)
    module, weights = build(network).train(), initial_weights(network, Init(seed=1))
    again = initial_weights(network, Init(seed=1))
    assert all(torch.equal(weights[n], again[n]) for n in weights)
    live = {n: weights[n].requires_grad_() for n in prunable(module)}
    images = torch.randn(4, *network.input_shape, generator=torch.Generator().manual_seed(0))
    logits = torch.func.functional_call(module, {**weights, **live}, (images,))
    assert logits.shape == (4, 10)
    loss = torch.nn.functional.cross_entropy(logits, torch.arange(4))
    first = torch.autograd.grad(loss, list(live.values()), create_graph=True)
    second = torch.autograd.grad(sum((g.detach() * g).sum() for g in first), list(live.values()))
    assert all(torch.isfinite(g).all() for g in second)
    assert any(g.abs().sum() > 0 for g in second)


@pytest.mark.parametrize(("name", "factor"), [("resnet20", 2.0), ("vgg11_bn", 0.5)])
def test_width_multiplies_the_channels(name: str, factor: float) -> None:
    plain, wide = (dense_layers(named(name, CIFAR, 10, width)) for width in (1.0, factor))
    for one, other in list(zip(plain, wide, strict=True))[1:-1]:
        assert other.size == one.size * factor**2


def test_batch_norm_scales_are_drawn_where_a_study_drew_them() -> None:
    network = named("resnet20", CIFAR, 10, 0.5)
    drawn = initial_weights(network, Init(seed=0, batch_norm="uniform"))["1.weight"]
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert drawn.std() > 0.1
    assert torch.equal(initial_weights(network, Init(seed=0))["1.weight"], torch.ones(8))


@pytest.mark.parametrize("weights", ["kaiming_normal", "kaiming_normal_fan_out", "glorot_normal"])
def test_initial_weights_have_the_deviation_of_their_paper(weights: str) -> None:
    network = named("vgg11_bn", CIFAR, 10)
    tensor = initial_weights(network, Init(seed=0, weights=weights))["4.weight"]
    fan_in, fan_out = 64 * 9, 128 * 9
    fans = {
        "kaiming_normal": fan_in,
        "kaiming_normal_fan_out": fan_out,
        "glorot_normal": fan_in + fan_out,
    }
    assert float(tensor.std()) == pytest.approx((2 / fans[weights]) ** 0.5, rel=0.01)


def test_torchvision_networks_are_named(tmp_path) -> None:
    network = named("torchvision:squeezenet1_1", TINY, 7)
    assert parameters(network) > 700_000
    with pytest.raises(
        ValueError, match="torchvision has no network for classification 'resnet2000'"
    ):
        build(named("torchvision:resnet2000", TINY, 7))
    with pytest.raises(ValueError, match="takes images of 3 channels"):
        build(named("torchvision:squeezenet1_1", MNIST, 7))


def test_a_network_that_cannot_take_the_images_says_so() -> None:
    with pytest.raises(ValueError, match="LeNet-5 takes images of at least 16 x 16"):
        build(named("lenet_5", (1, 8, 8), 10))


def test_synflow_prunes_a_deep_network_without_overflow() -> None:
    """ResNet-110's flow exceeds float32; in float64 every layer keeps a weight at 100 ×."""
    network = named("resnet110", CIFAR, 10, 0.25)
    kept = prune(network, Synflow(iterations=3), initial_weights(network, Init(seed=0)), 0.1).kept
    assert sum(int(t.sum()) for t in kept.values()) == round(
        0.1 * sum(t.numel() for t in kept.values())
    )
