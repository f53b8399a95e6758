"""Pruning of whole units: norms, coupling, and outputs of the smaller network."""

import pytest
import torch
from torch.func import functional_call

from tasks.measures.layers import dense_layers
from tasks.networks.build import build, initial_weights
from tasks.pruning.prune import prune
from tasks.pruning.structured import shrink, unit_mask
from tasks.values.scores import Inverted, Magnitude, Units
from tasks.values.training import Init, Network

LENET = Network(name="lenet_300_100", input_shape=(1, 8, 8), classes=10)
CONV = Network(name="conv2_bn", input_shape=(1, 8, 8), classes=10)
RESNET = Network(name="resnet20", input_shape=(3, 16, 16), classes=10, width=0.5)


def trained(network: Network) -> dict[str, torch.Tensor]:
    """Return initial weights with norms and biases changed."""
    draws = torch.Generator().manual_seed(0)
    weights = initial_weights(network, Init(seed=0))
    for name, tensor in weights.items():
        if name.endswith(("bias", "running_mean", "running_var")) or tensor.ndim == 1:
            weights[name] = torch.rand(tensor.shape, generator=draws) + 0.1
    return weights


def without_units(weights, kept):
    """Return the masked network with bias, scale and shift of removed units set to 0."""
    found = {n: t * kept[n] if n in kept else t.clone() for n, t in weights.items()}
    names = list(weights)
    for name, mask in kept.items():
        dead = ~mask.flatten(1).any(dim=1)
        layer = name.removesuffix(".weight")
        if f"{layer}.bias" in found:
            found[f"{layer}.bias"][dead] = 0
        following = names[names.index(name) + 1] if names[-1] != name else ""
        norm = following.rpartition(".")[0]
        if f"{norm}.running_mean" in found:
            found[f"{norm}.weight"][dead] = 0
            found[f"{norm}.bias"][dead] = 0
    return found


@pytest.mark.parametrize("network", [LENET, CONV, RESNET], ids=lambda n: n.name)
@pytest.mark.parametrize("scope", ["global", "layerwise"])
@pytest.mark.parametrize("density", [0.6, 0.2, 0.001])
def test_the_shrunk_network_computes_what_the_masked_one_does(network, scope, density) -> None:
    weights = trained(network)
    kept = unit_mask(network, weights, density, "l2", scope)
    module, small = shrink(network, weights, kept)
    images = torch.randn(5, *network.input_shape, generator=torch.Generator().manual_seed(1))
    masked = without_units(weights, kept)
    expected = functional_call(build(network).eval(), masked, (images,))
    assert torch.allclose(module(images), expected, atol=1e-4, rtol=1e-4)
    assert sum(t.numel() for t in small.values()) < sum(t.numel() for t in weights.values())
    last = dense_layers(network)[-1].layer
    assert small[last].shape[0] == network.classes
    assert all(0 not in tensor.shape for tensor in small.values())


@pytest.mark.parametrize(("norm", "order"), [("l1", 1), ("l2", 2)])
def test_the_strongest_units_of_a_layer_stay(norm, order) -> None:
    weights = initial_weights(LENET, Init(seed=0))
    kept = unit_mask(LENET, weights, 0.25, norm, "layerwise")
    strengths = weights["1.weight"].double().norm(p=order, dim=1)
    expected = torch.zeros(300, dtype=torch.bool)
    expected[strengths.topk(75).indices] = True
    assert torch.equal(kept["1.weight"].any(1), expected)
    assert torch.equal(kept["3.weight"].any(0), expected)
    assert kept["3.weight"].any(1).sum() == 25
    assert kept["5.weight"].any(1).all()


def test_channels_that_a_residual_sum_couples_go_together() -> None:
    kept = unit_mask(RESNET, initial_weights(RESNET, Init(seed=0)), 0.5, "l1", "layerwise")
    stem = kept["0.weight"].flatten(1).any(1)
    assert stem.sum() == 4
    for block in (3, 4, 5):
        assert torch.equal(kept[f"{block}.branch.3.weight"].flatten(1).any(1), stem)


def test_a_mask_task_prunes_units() -> None:
    weights = initial_weights(CONV, Init(seed=0))
    found = prune(CONV, Magnitude(), weights, 0.5, pattern=Units(), scope="layerwise").kept
    assert found["0.weight"].flatten(1).any(1).sum() == 8
    with pytest.raises(ValueError, match="not pruned in inverted order"):
        prune(CONV, Magnitude(), weights, 0.5, pattern=Units(), ablation=Inverted())
