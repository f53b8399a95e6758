"""Layers pruned at different rates (Frankle and Carbin 2019, appendices G and H)."""

import math

import pytest
import torch

from tasks.networks.build import initial_weights
from tasks.pruning.prune import prune
from tasks.values import catalog
from tasks.values.scores import LayerRate, Magnitude
from tasks.values.training import Init

CONV = catalog.network("conv_2", "cifar10")


def _exponent(rate: float) -> float:
    return math.log(1 - rate) / math.log(0.8)


def test_conv2_after_three_levels_keeps_what_the_paper_prunes_each_layer_to() -> None:
    rates = (LayerRate("conv", _exponent(0.1)), LayerRate("last", _exponent(0.1)))
    weights = initial_weights(CONV, Init(seed=0))
    kept, counts = None, []
    for level in (1, 2, 3):
        kept_before = kept
        kept = prune(
            CONV, Magnitude(), weights, 0.8**level, scope="layerwise", within=kept, rates=rates
        ).kept
        counts.append({name: int(mask.sum()) for name, mask in kept.items()})
        if kept_before is not None:
            assert all(bool((kept_before[n] | ~kept[n]).all()) for n in kept)
    last = list(weights)[-2] if list(weights)[-1].endswith("bias") else list(weights)[-1]
    for name, count in counts[-1].items():
        gentle = weights[name].dim() == 4 or name == last
        assert count == round((0.9 if gentle else 0.8) ** 3 * weights[name].numel())


def test_the_more_exact_name_wins_and_rate_0_keeps_a_layer_dense() -> None:
    net = catalog.network("lenet_300_100", "digits")
    weights = initial_weights(net, Init(seed=0))
    first, middle, last = (n for n, t in weights.items() if t.dim() == 2)
    rates = (LayerRate("linear", 2.0), LayerRate("last", 1.0), LayerRate(first, 0.0))
    kept = prune(net, Magnitude(), weights, 0.5, scope="layerwise", rates=rates).kept
    shares = {name: float(mask.float().mean()) for name, mask in kept.items()}
    assert shares[first] == 1.0
    assert shares[middle] == pytest.approx(0.25, abs=1e-4)
    assert shares[last] == pytest.approx(0.5, abs=1e-3)
    assert torch.equal(kept[first], torch.ones_like(kept[first]))


def test_a_layer_that_is_not_there_is_named() -> None:
    net = catalog.network("lenet_300_100", "digits")
    weights = initial_weights(net, Init(seed=0))
    with pytest.raises(ValueError, match=r"not 'head\.weight'; lenet_300_100 has"):
        prune(
            net,
            Magnitude(),
            weights,
            0.5,
            scope="layerwise",
            rates=(LayerRate("head.weight", 0.5),),
        )
