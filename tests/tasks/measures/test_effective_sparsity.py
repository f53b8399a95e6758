"""Effective weights against paths enumerated in the unrolled network."""

import itertools
from collections.abc import Iterator
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from tasks.masks import Kept, count
from tasks.measures.effective_sparsity import connections, dead_units, effective
from tasks.networks.build import build, initial_weights, prunable
from tasks.values.training import Init, Network

LENET = Network(name="lenet_300_100", input_shape=(1, 8, 8), classes=10)
CONV = Network(name="conv2_bn", input_shape=(1, 8, 8), classes=10)


def random_mask(module: nn.Module, density: float, seed: int) -> Kept:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(module.get_parameter(name).shape, generator=generator) < density
        for name in prunable(module)
    }


def measured(module: nn.Module, kept: Kept, shape: tuple[int, ...]) -> Kept:
    return effective(connections(deepcopy(module)), kept, shape)


def assert_same(found: Kept, expected: Kept) -> None:
    assert found.keys() == expected.keys()
    for name in found:
        assert found[name].dtype == torch.bool
        assert torch.equal(found[name], expected[name]), name


# Every path of a fully-connected network is a choice of one unit in each layer.
@pytest.mark.parametrize("density", [0.1, 0.25, 0.4, 0.7])
@pytest.mark.parametrize("seed", range(8))
def test_fully_connected_paths_enumerated(density: float, seed: int) -> None:
    widths = (5, 4, 6, 3, 2)
    module = nn.Sequential(*[nn.Linear(a, b) for a, b in itertools.pairwise(widths)])
    kept = random_mask(module, density, seed)
    names = [f"{layer}.weight" for layer in range(len(widths) - 1)]
    expected = {name: torch.zeros_like(kept[name]) for name in names}
    for path in itertools.product(*map(range, widths)):
        steps = [(b, a) for a, b in itertools.pairwise(path)]
        if all(kept[name][step] for name, step in zip(names, steps, strict=True)):
            for name, step in zip(names, steps, strict=True):
                expected[name][step] = True
    assert_same(measured(module, kept, (5,)), expected)


# ------------------------------------------ convolutions, unrolled into a graph of pixels

Node = tuple[object, ...]
Edge = tuple[Node, Node, tuple[str, tuple[int, ...]] | None]


def conv_edges(
    name: str, mask: Tensor, source: str, target: str, size: int, stride: int = 1
) -> Iterator[Edge]:
    """Return the kept edges of a 3 × 3 convolution with padding 1 on size × size pixels."""
    out = (size - 1) // stride + 1
    for o, i, r, c in itertools.product(*map(range, mask.shape)):
        for y, x in itertools.product(range(out), repeat=2):
            row, column = y * stride + r - 1, x * stride + c - 1
            if mask[o, i, r, c] and 0 <= row < size and 0 <= column < size:
                yield (source, i, row, column), (target, o, y, x), (name, (o, i, r, c))


def pool_edges(source: str, target: str, channels: int, size: int) -> Iterator[Edge]:
    for ch, y, x in itertools.product(range(channels), range(size), range(size)):
        yield (source, ch, y, x), (target, ch, y // 2, x // 2), None


def same_edges(source: str, target: str, channels: int, size: int) -> Iterator[Edge]:
    for ch, y, x in itertools.product(range(channels), range(size), range(size)):
        yield (source, ch, y, x), (target, ch, y, x), None


def linear_edges(name: str, mask: Tensor, source: str, size: int) -> Iterator[Edge]:
    for o, i in itertools.product(*map(range, mask.shape)):
        if mask[o, i]:
            pixel = (i // size**2, i // size % size, i % size)
            yield (source, *pixel), ("out", o), (name, (o, i))


def reached(edges: list[tuple[Node, Node]], kind: str) -> set[Node]:
    """Return all nodes that some node of a kind leads to, itself included."""
    after: dict[Node, list[Node]] = {}
    for tail, head in edges:
        after.setdefault(tail, []).append(head)
    found = {tail for tail in after if tail[0] == kind}
    waiting = list(found)
    while waiting:
        new = [n for n in after.get(waiting.pop(), []) if n not in found]
        found.update(new)
        waiting += new
    return found


def on_paths(kept: Kept, edges: list[Edge]) -> Kept:
    from_input = reached([(tail, head) for tail, head, _ in edges], "in")
    to_output = reached([(head, tail) for tail, head, _ in edges], "out")
    result = {name: torch.zeros_like(mask) for name, mask in kept.items()}
    for tail, head, weight in edges:
        if weight is not None and tail in from_input and head in to_output:
            result[weight[0]][weight[1]] = True
    return result


@pytest.mark.parametrize("density", [0.05, 0.1, 0.2, 0.5])
@pytest.mark.parametrize("seed", range(6))
def test_convolutions_with_max_pooling(density: float, seed: int) -> None:
    module = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Flatten(),
        nn.Linear(4, 2),
    )
    kept = random_mask(module, density, seed)
    kept["6.weight"] = random_mask(module, 0.5, seed)["6.weight"]
    edges = [
        *conv_edges("0.weight", kept["0.weight"], "in", "a", 4),
        *pool_edges("a", "b", 3, 4),
        *conv_edges("4.0.weight", kept["4.0.weight"], "b", "c", 2),
        *pool_edges("c", "d", 4, 2),
        *linear_edges("6.weight", kept["6.weight"], "d", 1),
    ]
    assert_same(measured(module, kept, (2, 4, 4)), on_paths(kept, edges))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 3, 3, padding=1)
        self.inner = nn.Conv2d(3, 3, 3, padding=1)
        self.outer = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.last = nn.Linear(27, 2)

    def forward(self, x: Tensor) -> Tensor:
        stem = torch.relu(self.stem(x))
        block = self.norm(self.outer(torch.relu(self.inner(stem))))
        return self.last(torch.relu(stem + block).flatten(1))


@pytest.mark.parametrize("seed", range(8))
def test_an_identity_is_a_path_too(seed: int) -> None:
    module = Residual()
    kept = random_mask(module, 0.08, seed)
    kept["stem.weight"] = random_mask(module, 0.3, seed)["stem.weight"]
    edges = [
        *conv_edges("stem.weight", kept["stem.weight"], "in", "a", 3),
        *conv_edges("inner.weight", kept["inner.weight"], "a", "b", 3),
        *conv_edges("outer.weight", kept["outer.weight"], "b", "c", 3),
        *same_edges("a", "c", 3, 3),
        *linear_edges("last.weight", kept["last.weight"], "c", 3),
    ]
    assert_same(measured(module, kept, (1, 3, 3)), on_paths(kept, edges))


# ---------------------------------------------------------------------- single facts


def test_units_without_input_or_output_make_their_other_weights_dead() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    kept = {
        "0.weight": torch.tensor([[1, 0], [0, 0], [1, 1]]).bool(),
        "2.weight": torch.tensor([[1, 1, 0]]).bool(),  # unit 1 has no input, unit 2 no output
    }
    found = measured(module, kept, (2,))
    assert found["0.weight"].tolist() == [[True, False], [False, False], [False, False]]
    assert found["2.weight"].tolist() == [[True, False, False]]
    assert dead_units(kept) == {"0.weight": 1, "2.weight": 0}
    assert dead_units(found) == {"0.weight": 2, "2.weight": 0}


def test_a_kernel_entry_that_meets_only_padding_is_dead() -> None:
    module = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Flatten(), nn.Linear(1, 1))
    kept = {n: torch.ones(module.get_parameter(n).shape).bool() for n in prunable(module)}
    found = measured(module, kept, (1, 1, 1))
    assert count(found) == 2
    assert found["0.weight"][0, 0, 1, 1]


@pytest.mark.parametrize("network", [LENET, CONV])
def test_an_empty_layer_leaves_nothing_and_a_full_mask_everything(network: Network) -> None:
    module = build(network)
    kept = {name: torch.ones(module.get_parameter(name).shape).bool() for name in prunable(module)}
    assert_same(measured(module, kept, network.input_shape), kept)
    last = max(kept)
    kept[last] = torch.zeros_like(kept[last])
    assert count(measured(module, kept, network.input_shape)) == 0


@pytest.mark.parametrize("width", [1, 64])
def test_depth_neither_overflows_nor_underflows(width: int) -> None:
    """64^300 and 64^-300 are beyond float64."""
    depth = 300
    module = nn.Sequential(*[nn.Linear(width, width, bias=False) for _ in range(depth)])
    kept = {n: torch.ones(width, width).bool() for n in prunable(module)}
    assert_same(measured(module, kept, (width,)), kept)
    # One path through units that each keep all of their dead inputs.
    kept["0.weight"][1:] = False
    for layer in range(1, depth):
        kept[f"{layer}.weight"][1:] = False
    expected = {n: torch.zeros_like(mask) for n, mask in kept.items()}
    for name, mask in expected.items():
        mask[0, : width if name == "0.weight" else 1] = True
    assert_same(measured(module, kept, (width,)), expected)


@pytest.mark.parametrize(("network", "density"), [(LENET, 0.01), (CONV, 0.03)])
def test_pruning_the_rest_changes_no_output(network: Network, density: float) -> None:
    module, weights = build(network), initial_weights(network, Init(seed=1))
    kept = random_mask(module, density, 0)
    found = measured(module, kept, network.input_shape)
    assert 0 < count(found) < count(kept)
    assert all((kept[name] >= found[name]).all() for name in kept)
    assert_same(measured(module, found, network.input_shape), found)
    images = torch.randn(20, *network.input_shape, generator=torch.Generator().manual_seed(0))
    outputs = [
        functional_call(module.eval(), {**weights, **masked(weights, mask)}, (images,))
        for mask in (kept, found)
    ]
    assert outputs[0].any()
    assert torch.allclose(*outputs, atol=1e-7)


def masked(weights: dict[str, Tensor], kept: Kept) -> dict[str, Tensor]:
    return {name: weights[name] * mask for name, mask in kept.items()}


def test_dilated_max_pooling_is_refused() -> None:
    module = nn.Sequential(nn.Conv2d(1, 1, 1), nn.MaxPool2d(2, dilation=2))
    kept = {"0.weight": torch.ones(1, 1, 1, 1).bool()}
    with pytest.raises(ValueError, match="dilation 2"):
        measured(module, kept, (1, 8, 8))
