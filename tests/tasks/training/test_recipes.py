"""Published recipes against the official codes: what is prunable, and the weights at step 0.

The figures were measured by running each code's own model (SynFlow at 9dfa57a, OpenLTH, GraSP and
ToST as of 2026-11) on 64 images of N(0, 1), five seeds (three of the large networks): prunable
weights and tensors, standard deviation of the first and the last prunable tensor, and of the
logits in training mode.
"""

from math import sqrt

import pytest
import torch
from torch.func import functional_call

from orchestrator.sweep import recipes
from tasks.measures.layers import dense_layers
from tasks.networks.build import build, initial_weights
from tasks.values import catalog
from tasks.values.training import Init, Network

OFFICIAL = {
    "synflow/resnet18-cifar10": (11_164_352, 21, 0.0589, 0.0255, 0.441),
    "synflow/resnet18-tinyimagenet": (11_261_632, 21, 0.0589, 0.0255, 0.452),
    "synflow/vgg16-cifar100": (14_761_664, 14, 0.272, 0.0625, 0.683),
    "synflow/vgg11-cifar10": (9_222_848, 9, 0.272, 0.0625, 0.615),
    "synflow/vgg16-tinyimagenet": (18_060_992, 16, 0.0589, 0.0100, 0.0582),
    "synflow/vgg11-tinyimagenet": (12_568_256, 11, 0.0589, 0.0100, 0.0571),
    "missing-the-mark/resnet20-cifar10": (270_896, 22, 0.272, 0.177, 0.776),
    "missing-the-mark/vgg16-cifar10": (14_715_584, 14, 0.272, 0.0625, 0.304),
    "openlth/lenet-mnist": (266_200, 3, 0.0505, 0.141, 1.43),
    "grasp/resnet32-cifar10": (1_855_584, 34, 0.0833, 0.0100, 0.132),
    "grasp/vgg19-cifar10": (20_024_000, 17, 0.0589, 0.0100, 0.103),
    "tost/resnet18-cifar10": (11_164_352, 21, 0.111, 0.0255, 0.444),
}


def network_of(published: recipes.Published) -> Network:
    name, width = published.network, 1.0
    if isinstance(name, dict):
        [(name, options)] = name.items()
        width = options["width"]
    return catalog.network(name, published.dataset, width)


@pytest.mark.parametrize(("name", "official"), OFFICIAL.items(), ids=OFFICIAL)
def test_a_recipe_starts_as_its_official_code_does(name: str, official: tuple[float, ...]) -> None:
    published = recipes.PUBLISHED[name]
    network = network_of(published)
    layers = dense_layers(network)
    weights = initial_weights(network, Init(seed=0, **published.init))
    images = torch.randn(24, *network.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = functional_call(build(network).train(), weights, (images,))
    assert (sum(layer.size for layer in layers), len(layers)) == official[:2]
    for end, published_std in zip((0, -1), official[2:4], strict=True):
        tensor = weights[layers[end].layer]
        four_errors = 4 / sqrt(2 * tensor.numel())  # both stds are of so many draws
        assert float(tensor.std()) == pytest.approx(published_std, rel=four_errors + 0.01)
    assert 1 / 1.6 < float(logits.std()) / official[4] < 1.6  # seeds differ by a third


SHAPES = [torch.Size([64, 32, 3, 3]), torch.Size([300, 784])]


@pytest.mark.parametrize("shape", SHAPES, ids=["convolution", "linear"])
@pytest.mark.parametrize(
    ("init", "conv", "linear"),
    [
        ({"weights": "kaiming_normal"}, sqrt(2 / 288), sqrt(2 / 784)),
        ({"weights": "kaiming_normal_fan_out"}, sqrt(2 / 576), sqrt(2 / 300)),
        ({"weights": "glorot_normal"}, sqrt(2 / 864), sqrt(2 / 1084)),
        ({"weights": "lecun_truncated_normal"}, sqrt(1 / 288), sqrt(1 / 784)),
        ({"weights": "pytorch"}, sqrt(1 / 3 / 288), sqrt(1 / 3 / 784)),
        ({"linear": "pytorch"}, sqrt(2 / 288), sqrt(1 / 3 / 784)),
        ({"linear": "normal_001"}, sqrt(2 / 288), 0.01),
    ],
    ids=str,
)
def test_a_scheme_has_the_spread_of_its_formula(init, conv: float, linear: float, shape) -> None:
    from tasks.networks import schemes

    drawn = schemes.weight("a.weight", shape, Init(seed=3, **init))
    expected = conv if len(shape) == 4 else linear
    assert float(drawn.std()) == pytest.approx(expected, rel=0.03)
    assert abs(float(drawn.mean())) < 0.03 * expected
    if "truncated" in init.get("weights", ""):
        assert float(drawn.abs().max()) <= 2 * expected / 0.8796 * (1 + 1e-6)


def test_pytorchs_scheme_is_pytorchs_own() -> None:
    """Bounds of nn.Linear's and nn.Conv2d's weights and biases, which the ends come near."""
    network = Network(name="lenet_5_caffe", input_shape=(1, 28, 28), classes=10)
    weights = initial_weights(network, Init(seed=0, weights="pytorch"))
    for name, own in build_own(network).items():
        bound = 1 / sqrt(weights[name.replace("bias", "weight")][0].numel())
        for tensor in (weights[name], own):
            assert float(tensor.abs().max()) <= bound
            assert float(tensor.abs().max()) > (0.6 if len(tensor) <= 20 else 0.95) * bound


def build_own(network: Network) -> dict[str, torch.Tensor]:
    from tasks.networks.lenet import lenet_5_caffe

    torch.manual_seed(0)
    return {n: t.detach() for n, t in lenet_5_caffe(network).named_parameters()}


def test_biases_start_at_zero_but_in_pytorchs_scheme() -> None:
    network = Network(name="conv_2", input_shape=(3, 32, 32), classes=10)
    for init, zero in (
        ({}, True),
        ({"linear": "normal_001"}, True),
        ({"linear": "pytorch"}, False),
    ):
        weights = initial_weights(network, Init(seed=0, **init))
        assert bool((weights[max(n for n in weights if "bias" in n)] == 0).all()) == zero
