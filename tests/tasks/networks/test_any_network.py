"""Users' networks: each kind of layer starts, is pruned, counted and trained as its code says.

Mistakes are refused in a sentence.
"""

import random
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, hardsigmoid, relu

from tasks.data.batches import Data, InMemory, Split, load
from tasks.measures import layers as measure
from tasks.networks import tensors
from tasks.networks.build import Weights, build, call, initial_weights, loaded, prunable
from tasks.networks.random_layers import seeded
from tasks.pruning.prune import prune
from tasks.training.train import Checkpoint, train
from tasks.values import catalog
from tasks.values.scores import (
    Examples,
    GemMiner,
    Grasp,
    Magnitude,
    Obd,
    Random,
    Score,
    Snip,
    Synflow,
)
from tasks.values.training import Dataset, Init, Network, Recipe
from tombola.store import artifacts

DIGITS = Dataset(name="digits")
OWN = Init(seed=3, weights="own")
ROWS = (8, 8)
"""An image of the digits: rows, and values of each."""


class Rows(nn.Module):
    """Pass the rows of an image to a body as a sequence (examples, 8, 8)."""

    def __init__(self, body: nn.Module, classes: int, wide: int) -> None:
        super().__init__()
        self.body, self.out = body, nn.Linear(wide, classes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x[:, 0])
        y = y[0] if isinstance(y, tuple) else y
        out: Tensor = self.out(torch.tanh(y).flatten(1))
        return out


class SelfAttention(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True, **options)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.attention(x, x, x, need_weights=False)[0]
        return out


class Tokens(nn.Module):
    """Embeds each pixel's grey level."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.Embedding(17, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.levels((x * 4 + 8).clamp(0, 16).long())
        return out


class Tied(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, classes)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(relu(self.b(relu(self.a(x.flatten(1))))))
        return out


class Constants(nn.Module):
    """Buffers of all types, one in no state dict, and parameters with unusual initial values."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.rates = [rate.item() for rate in torch.linspace(0.1, 0.2, 3)]
        self.register_buffer("mean", torch.full((64,), 0.25))
        self.register_buffer("places", torch.arange(63, -1, -1))
        self.register_buffer("mask", torch.arange(64) % 3 > 0, persistent=False)
        self.gain = nn.Parameter(torch.full((64,), 1e-2))
        self.frozen = nn.Parameter(torch.full((64,), 3.0), requires_grad=False)
        self.first, self.act, self.out = nn.Linear(64, 32), nn.PReLU(), nn.Linear(32, classes)
        nn.init.constant_(self.out.bias, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = (x.flatten(1)[:, self.places] - self.mean) * self.mask * self.gain * self.frozen
        out: Tensor = self.out(self.act(self.first(x)))
        return out


class Cells(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.cell, self.out = nn.LSTMCell(8, 12), nn.Linear(12, classes)

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for row in x[:, 0].unbind(1):
            state = self.cell(row, state)
        assert state is not None
        out: Tensor = self.out(state[0])
        return out


class Bilinear(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.pairs, self.out = nn.Bilinear(32, 32, 16), nn.Linear(16, classes)

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.flatten(1).chunk(2, dim=1)
        out: Tensor = self.out(torch.tanh(self.pairs(left, right)))
        return out


class Volume(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.cube, self.out = nn.Conv3d(1, 4, 3, padding=1), nn.Linear(256, classes)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(relu(self.cube(x.view(-1, 1, 4, 4, 4))).flatten(1))
        return out


class Sampling(nn.Module):
    """A network that draws from torch's, numpy's and Python's generators in its forward pass."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(64, 32), nn.Linear(32, classes)
        self.drop = nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        import numpy as np

        y = self.drop(relu(self.first(x.flatten(1))))
        if self.training:
            y = y + 0.1 * torch.rand_like(y) + 0.1 * random.random() + 0.1 * np.random.rand()  # noqa: NPY002
        out: Tensor = self.out(y)
        return out


def _transposed(classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(4, 6, 2, stride=2),
        nn.InstanceNorm2d(6, affine=True),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(384, classes),
    )


def _normed(classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.GroupNorm(2, 8),
        nn.GELU(),
        nn.Dropout2d(0.1),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(128, classes),
    )


class Gated(nn.Module):
    """Squeeze and excitation by a hard sigmoid, which torch differentiates only once."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.down, self.up = nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, 32)

    def forward(self, x: Tensor) -> Tensor:
        y = relu(self.first(x.flatten(1)))
        return y * hardsigmoid(self.up(relu(self.down(y))))


def _gated(classes: int) -> nn.Module:
    return nn.Sequential(Gated(), nn.Hardswish(), nn.Linear(32, classes))


def _lazy(classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(48), nn.ReLU(), nn.Linear(48, classes))


def _conv1d(classes: int) -> nn.Module:
    body = nn.Sequential(nn.Conv1d(8, 16, 3, padding=1), nn.ReLU(), nn.Conv1d(16, 16, 3, padding=1))
    return Rows(body, classes, 128)


MODULES: dict[str, tuple[Callable[[int], nn.Module], int]] = {
    "conv1d": (_conv1d, 8 * 16 * 3 + 16 * 16 * 3 + 1280),
    "conv3d": (Volume, 108 + 2560),
    "transposed": (_transposed, 36 + 96 + 3840),
    "normed": (_normed, 72 + 72 + 1280),
    "rnn": (lambda c: Rows(nn.RNN(8, 6, batch_first=True), c, 48), 48 + 36 + 480),
    "gru": (
        lambda c: Rows(nn.GRU(8, 6, batch_first=True, bidirectional=True), c, 96),
        2 * 3 * (48 + 36) + 960,
    ),
    "lstm": (
        lambda c: Rows(nn.LSTM(8, 6, 2, batch_first=True), c, 48),
        4 * (48 + 36 + 36 + 36) + 480,
    ),
    "cells": (Cells, 4 * 12 * (8 + 12) + 120),
    "attention": (lambda c: Rows(SelfAttention(), c, 64), 3 * 64 + 64 + 640),
    "attention of other keys": (
        lambda c: Rows(SelfAttention(kdim=8, vdim=8, add_bias_kv=True), c, 64),
        3 * 64 + 64 + 640,
    ),
    "transformer": (
        lambda c: Rows(nn.TransformerEncoderLayer(8, 2, 16, 0.1, batch_first=True), c, 64),
        256 + 256 + 640,
    ),
    "embedding": (lambda c: Rows(Tokens(), c, 128), 1280),
    "gated": (_gated, 64 * 32 + 2 * 32 * 32 + 320),
    "bilinear": (Bilinear, 32 * 32 * 16 + 160),
    "tied": (Tied, 64 * 64 + 640),
    "constants": (Constants, 64 * 32 + 320),
    "sampling": (Sampling, 64 * 32 + 320),
    "lazy": (_lazy, 64 * 48 + 480),
}
"""Builders by name, and how many prunable weights they have for ten classes."""


def _builder(name: str) -> Callable[[Network], nn.Module]:
    return lambda network: MODULES[name][0](network.classes)


for _name in MODULES:
    globals()[f"net_{_name.replace(' ', '_')}"] = _builder(_name)


@pytest.fixture
def network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Network:
    return _network(request.param, monkeypatch)


def _network(name: str, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> Network:
    """Build a user's network; other tests check what its file is digested for."""
    make = MODULES[name][0]
    monkeypatch.setattr(
        "tasks.values.user_code.call", lambda _, network, **__: make(network.classes)
    )
    return Network(
        name="mine:net", input_shape=(1, 8, 8), classes=10, semantics=2, source=name, **fields
    )


every = pytest.mark.parametrize("network", MODULES, indirect=True)


def _some(data: Data, count: int = 128) -> Data:
    part = torch.arange(count)
    return Data(data.train.part(part), data.test.part(part))


def _recipe(**changes: Any) -> Recipe:
    fields = {"steps": 20, "batch_size": 32, "lr": 0.05, "evaluate_every": 20, **changes}
    return Recipe(**{"evaluate": ("train",), **fields})


def scores() -> list[Score]:
    few = Examples(dataset=DIGITS, seed=1, per_class=1)
    return [
        Random(seed=0),
        Magnitude(),
        Snip(examples=few, batch_norm="eval", precision="float64"),
        Snip(examples=few),
        Grasp(examples=few),
        Synflow(iterations=2),
        Obd(examples=few),
        GemMiner(dataset=DIGITS, seed=0, steps=4, period=2, batch_size=16, lr=0.1),
    ]


@every
def test_it_starts_as_its_own_code_does(network: Network) -> None:
    weights = initial_weights(network, OWN)
    images = torch.randn(4, *network.input_shape)
    with seeded(OWN.seed, "own initialization"):
        plain = MODULES[network.source][0](10)
        if network.source == "lazy":
            plain.eval()(torch.zeros(2, *network.input_shape))
    plain.eval()
    with torch.no_grad():
        wanted = plain(images)
        assert torch.allclose(call(build(network).eval(), weights, images), wanted, atol=1e-6)
        assert torch.allclose(loaded(network, weights).eval()(images), wanted, atol=1e-6)
    stored = plain.state_dict()
    assert all(torch.equal(tensor, stored.get(name, tensor)) for name, tensor in weights.items())
    again = initial_weights(network, OWN)
    assert all(torch.equal(again[name], tensor) for name, tensor in weights.items())


@every
def test_every_score_keeps_as_many_as_asked_and_they_are_recorded(network: Network) -> None:
    size = MODULES[network.source][1]
    weights = initial_weights(network, OWN)
    data = load(DIGITS)
    before = {name: tensor.clone() for name, tensor in weights.items()}
    for score in scores():
        found = prune(network, score, weights, 0.4, data=data).kept
        layers = measure.layers(network, found)
        assert sum(layer.size for layer in layers) == size, score.kind
        kept = sum(layer.kept for layer in layers)
        # GemMiner rounds at each freezing.
        assert abs(kept - round(0.4 * size)) <= (score.kind == "gem_miner"), score.kind
        assert found.keys() == {layer.layer for layer in layers} == set(prunable(build(network)))
        assert all(layer.flops > 0 for layer in layers)
    assert all(torch.equal(weights[name], tensor) for name, tensor in before.items())


@every
def test_it_learns_under_a_mask_and_goes_on_bit_for_bit(network: Network, tmp_path: Path) -> None:
    data = _some(load(DIGITS))
    weights = initial_weights(network, OWN)
    kept = prune(network, Magnitude(), weights, 0.7).kept
    recipe = _recipe(optimizer="adam", lr=0.01)
    kept_on_the_way = _At(7)
    run = train(network, recipe, data, weights, kept, order_seed=1, checkpoints=kept_on_the_way)
    torch.rand(5)
    reloaded = train(
        network, recipe, data, weights, kept, order_seed=1, checkpoints=kept_on_the_way
    )
    first, last = run.evals
    assert isfinite(first.loss)
    assert last.loss < first.loss
    assert run.evals == reloaded.evals
    images = data.train.batch(torch.arange(8)).images
    assert _is_the_same_from_a_file(network, run.weights, images, tmp_path)
    for name, tensor in run.weights.items():
        assert torch.equal(tensor, reloaded.weights[name]), name
    used = loaded(network, run.weights)
    for name, tensor in used.named_parameters(remove_duplicate=False):
        first_name = tensors.shared(used).get(name, name)
        if first_name in kept:
            assert not tensor[~kept[first_name]].any(), name


class _At:
    """Store a checkpoint at one step; continue from it when asked again."""

    def __init__(self, step: int) -> None:
        self._step, self._kept = step, None
        self._asked = 0

    def last(self) -> Checkpoint | None:
        return self._kept

    def due(self) -> bool:
        self._asked += 1
        return self._kept is None and self._asked == self._step

    def keep(self, checkpoint: Checkpoint) -> None:
        copied = {name: tensor.clone() for name, tensor in checkpoint.weights.items()}
        optimizer = [tensor.clone() for tensor in checkpoint.optimizer]
        self._kept = Checkpoint(
            checkpoint.step,
            copied,
            optimizer,
            checkpoint.losses.clone(),
            list(checkpoint.evals),
            {},
        )


@pytest.mark.parametrize("name", ["normed", "constants", "tied"])
def test_the_order_of_tensors_in_a_file_means_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, data = _network(name, monkeypatch), load(DIGITS)
    weights = initial_weights(network, OWN)
    for order in (sorted(weights), sorted(weights, reverse=True), sorted(weights, key=hash)):
        moved = {name: weights[name] for name in order}
        for score in scores():
            wanted = prune(network, score, weights, 0.4, data=data).kept
            found = prune(network, score, moved, 0.4, data=data).kept
            assert all(torch.equal(found[name], wanted[name]) for name in wanted), score.kind


def test_a_shipped_networks_scores_do_not_depend_on_the_order_of_tensors() -> None:
    """The order begins with num_batches_tracked, an integer."""
    network, data = catalog.network("conv2_bn", "digits"), load(DIGITS)
    weights = initial_weights(network, Init(seed=0))
    counters_first = dict(sorted(weights.items(), key=lambda item: item[1].is_floating_point()))
    for score in scores():
        wanted = prune(network, score, weights, 0.4, data=data).kept
        found = prune(network, score, counters_first, 0.4, data=data).kept
        assert all(torch.equal(found[name], wanted[name]) for name in wanted), score.kind


@pytest.mark.parametrize("scheme", ["kaiming_normal", "glorot_normal", "pytorch"])
def test_a_scheme_draws_weights_with_a_fan_in_and_leaves_all_else(
    scheme: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in MODULES:
        network = _network(name, monkeypatch)
        own = initial_weights(network, OWN)
        drawn = initial_weights(network, Init(seed=OWN.seed, weights=scheme))
        module = build(network)
        for tensor in own:
            fans = tensors.fans(module, tensor)
            assert torch.equal(own[tensor], drawn[tensor]) == (fans is None), (name, tensor)


def test_a_transposed_convolutions_fan_in_is_its_first_dimension(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = build(_network("transposed", monkeypatch))
    assert tensors.fans(module, "2.weight") == (4 * 4, 6 * 4)


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (("-out.*",), ["body.attention.in_proj_weight", "body.attention.out_proj.weight"]),
        (("default", "-*in_proj*"), ["body.attention.out_proj.weight", "out.weight"]),
        (("out.weight",), ["out.weight"]),
    ],
)
def test_patterns_say_what_is_prunable(
    patterns: tuple[str, ...], names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = _network("attention", monkeypatch, prunable=patterns)
    assert prunable(build(network)) == names
    assert [layer.layer for layer in measure.dense_layers(network)] == names


def test_embeddings_are_pruned_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    network = _network("embedding", monkeypatch, prunable=("default", "*levels*"))
    assert prunable(build(network)) == ["body.levels.weight", "out.weight"]


@pytest.mark.parametrize("patterns", [("nothing*",), ("-*",), ("*.bias",)])
def test_patterns_that_leave_nothing_are_refused(
    patterns: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"^prunable: "):
        build(_network("attention", monkeypatch, prunable=patterns))


def test_patterns_do_not_change_what_a_shipped_network_starts_from() -> None:
    plain = catalog.network("conv2_bn", "digits")
    some = catalog.network("conv2_bn", "digits", prunable=("default", "-0.*"))
    init = Init(seed=0)
    wanted, found = initial_weights(plain, init), initial_weights(some, init)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_shipped_network_keeps_its_key_and_another_ones_says_its_semantics() -> None:
    assert catalog.network("resnet20", "cifar10").semantics == 1
    assert catalog.network("torchvision:resnet18", "cifar10").semantics == 1
    for name in ("torchvision:vit_b_16", "torchvision:convnext_tiny", "torchvision:vgg11"):
        found = catalog.network(name, "cifar10")
        assert (found.semantics, catalog.initialization(found)) == (2, "own")


def test_multiply_adds_count_each_use_of_a_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    def flops(name: str) -> dict[str, int]:
        layers = measure.dense_layers(_network(name, monkeypatch))
        return {layer.layer: layer.flops for layer in layers}

    assert flops("tied") == {"a.weight": 2 * 64 * 64, "out.weight": 640}
    attention = flops("attention")
    assert attention["body.attention.in_proj_weight"] == 8 * 3 * 64
    assert attention["body.attention.out_proj.weight"] == 8 * 64
    assert flops("gru")["body.weight_hh_l0_reverse"] == 8 * 3 * 36
    assert flops("lstm")["body.weight_ih_l1"] == 8 * 4 * 36
    assert flops("cells")["cell.weight_ih"] == 8 * 4 * 12 * 8
    assert flops("transposed")["2.weight"] == 96 * 16
    assert flops("conv1d")["body.2.weight"] == 768 * 8


class _Auxiliary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.out(x.flatten(1))
        return logits, logits


class _Alias(nn.Module):
    """Two parameters over one memory."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(64, 10), nn.Linear(64, 10)
        self.b.weight = nn.Parameter(self.a.weight.data)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.a(x.flatten(1)) + self.b(x.flatten(1))
        return out


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_Auxiliary, "one tensor of logits"),
        (_Alias, "a.weight and b.weight share memory"),
        (lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64)), "no weight that can be pruned"),
    ],
)
def test_what_would_be_wrong_is_refused_in_a_sentence(
    make: Callable[[], nn.Module], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = _network("tied", monkeypatch)
    monkeypatch.setattr("tasks.values.user_code.call", lambda *_, **__: make())
    with pytest.raises(ValueError, match=words):
        train(
            network,
            _recipe(),
            _some(load(DIGITS)),
            initial_weights(network, OWN),
            order_seed=0,
        )


# ---------------------------------------------------------------- torchvision

CHEAP = ["squeezenet1_1", "shufflenet_v2_x0_5", "mobilenet_v3_small", "mnasnet0_5"]
WIDE = [
    "convnext_tiny",
    "densenet121",
    "densenet169",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_v2_s",
    "mnasnet0_75",
    "mnasnet1_0",
    "mnasnet1_3",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "regnet_x_400mf",
    "regnet_x_800mf",
    "regnet_x_1_6gf",
    "regnet_y_400mf",
    "regnet_y_800mf",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnext50_32x4d",
    "shufflenet_v2_x1_0",
    "shufflenet_v2_x1_5",
    "shufflenet_v2_x2_0",
    "squeezenet1_0",
    "swin_t",
    "swin_v2_t",
    "maxvit_t",
    "vit_b_16",
]
HEAVY = ["alexnet", "convnext_small", "vgg11", "vgg11_bn", "wide_resnet50_2"]
"""Of 50 to 130 million weights: these are built and called alone."""


@pytest.mark.parametrize(
    "name", [*CHEAP, *(pytest.param(name, marks=pytest.mark.slow) for name in [*WIDE, *HEAVY])]
)
def test_a_network_of_torchvisions_starts_as_its_own_code_does(name: str) -> None:
    from torchvision import models

    network, images = _of_torchvision(name)
    weights = initial_weights(network, OWN)
    with seeded(OWN.seed, "own initialization"):
        plain = models.get_model(name, weights=None, num_classes=network.classes).eval()
    with torch.no_grad():
        wanted = plain(images[:2])
        assert torch.allclose(call(build(network).eval(), weights, images[:2]), wanted, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CHEAP, *WIDE])
def test_a_network_of_torchvisions_is_scored_trained_and_stored(name: str, tmp_path: Path) -> None:
    network, images = _of_torchvision(name)
    weights = initial_weights(network, OWN)
    labels = torch.arange(len(images)) % network.classes
    split = Split(InMemory(images), labels, torch.zeros(3, 1, 1), torch.ones(3, 1, 1))
    data = Data(split, split)
    size = sum(layer.size for layer in measure.dense_layers(network))
    for score in {score.kind: score for score in scores()}.values():
        kept = prune(network, score, weights, 0.5, data=data).kept
        assert kept.keys() == set(prunable(build(network))), score.kind
        asked = sum(int(k.sum()) for k in kept.values())
        assert abs(asked - round(0.5 * size)) <= (score.kind == "gem_miner"), score.kind
    kept = prune(network, Magnitude(), weights, 0.9).kept
    recipe = _recipe(batch_size=8, optimizer="adam", lr=0.0003)
    run = train(network, recipe, data, weights, kept, order_seed=0)
    first, last = (_loss(network, w, images, labels) for w in (weights, run.weights))
    assert isfinite(first)
    assert last < first
    assert _is_the_same_from_a_file(network, run.weights, images, tmp_path)


def _of_torchvision(name: str) -> tuple[Network, Tensor]:
    """Build a network for four classes, and images that tell their classes apart."""
    side, count = (224, 4) if name.startswith(("vit", "maxvit")) else (64, 8)
    semantics = catalog.network(f"torchvision:{name}", "cifar10").semantics
    network = Network(
        name=f"torchvision:{name}", input_shape=(3, side, side), classes=4, semantics=semantics
    )
    images = torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))
    return network, images + (torch.arange(count) % 4)[:, None, None, None]


def _loss(network: Network, weights: Weights, images: Tensor, labels: Tensor) -> float:
    """Return the loss of a batch as training computes it."""
    copies = {name: tensor.clone() for name, tensor in weights.items()}
    with torch.no_grad(), seeded(0, "loss"):
        return float(cross_entropy(call(build(network).train(), copies, images), labels))


def _is_the_same_from_a_file(
    network: Network, weights: Weights, images: Tensor, folder: Path
) -> bool:
    """Return whether a state computes the same after it was stored."""
    arrays = {name: tensor.numpy() for name, tensor in weights.items()}
    artifacts.write_state(folder, "0" * 64, 20, arrays)
    read = artifacts.read_state(folder, "0" * 64, 20)
    again = {name: torch.from_numpy(array) for name, array in read.items()}
    module = build(network).eval()
    with torch.no_grad():
        return torch.equal(call(module, weights, images), call(module, again, images))


@pytest.mark.parametrize("name", ["inception_v3", "googlenet"])
def test_auxiliary_outputs_are_refused(name: str) -> None:
    network = Network(name=f"torchvision:{name}", input_shape=(3, 96, 96), classes=4, semantics=2)
    with pytest.raises(ValueError, match="auxiliary outputs"):
        build(network)
