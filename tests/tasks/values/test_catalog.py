"""Facts of the catalog against the networks and data themselves."""

import pytest
import torch

from tasks.data.batches import load
from tasks.measures.layers import layers
from tasks.networks.build import build
from tasks.pruning.prune import prune
from tasks.values import catalog
from tasks.values.scores import Random
from tasks.values.training import Constant, Dataset, Network, Recipe, StepDecay


def test_digits_are_what_the_catalog_says() -> None:
    facts, data = catalog.DATASETS["digits"], load(Dataset(name="digits"))
    assert tuple(data.train.batch(torch.arange(2)).images.shape[1:]) == facts.input_shape
    assert (len(data.train), len(data.test)) == (facts.train, facts.test)
    assert int(data.train.labels.max()) + 1 == facts.classes


def test_layers_come_in_the_order_an_example_meets_them() -> None:
    network = catalog.network("conv2_bn", "digits")
    kept = prune(network, Random(seed=0), None, 0.5).kept
    found = layers(network, kept)
    assert [layer.layer for layer in found] == ["0.weight", "4.weight", "9.weight"]
    assert [layer.position for layer in found] == [0, 1, 2]
    assert [layer.kept for layer in found] == [int(kept[layer.layer].sum()) for layer in found]


def test_unknown_names_are_refused_with_the_known() -> None:
    with pytest.raises(ValueError, match="no network 'vgg'; there are lenet_300_100"):
        build(Network(name="vgg", input_shape=(1, 8, 8), classes=10))
    with pytest.raises(ValueError, match="no dataset 'emnist'"):
        load(Dataset(name="emnist"))


def test_a_network_is_refused_for_images_that_it_cannot_be_built_for() -> None:
    with pytest.raises(ValueError, match="at least 16 x 16; those of digits are 8 x 8"):
        catalog.network("lenet_5", "digits")
    for name, facts in catalog.NETWORKS.items():
        side = max(facts.least, 8)
        build(Network(name=name, input_shape=(3, side, side), classes=10))
        if facts.least > 1:
            side = facts.least - 1
            with pytest.raises(ValueError, match="images of at least"):
                build(Network(name=name, input_shape=(3, side, side), classes=10))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"steps": 0}, "steps takes 1 to"),
        ({"batch_size": 0}, "batch_size takes 1 to"),
        ({"lr": 0}, "lr takes a number above 0"),
        ({"momentum": 1}, "momentum takes a number from 0 to below 1"),
        ({"momentum": 0, "nesterov": True}, "nesterov takes a momentum above 0"),
        ({"weight_decay": -1}, "weight_decay takes 0 or more"),
        ({"warmup": 11}, "warmup takes 0 to 10, not 11"),
        ({"schedule": "cosine"}, "schedule takes constant or step_decay or cosine"),
        ({"nesterov": 1}, "nesterov takes true or false"),
    ],
)
def test_impossible_recipes_are_refused(changes, problem: str) -> None:
    fields = {"steps": 10, "batch_size": 2, "lr": 0.1, "evaluate_every": 5, "schedule": Constant()}
    with pytest.raises((ValueError, TypeError), match=problem):
        Recipe(**{**fields, **changes})


@pytest.mark.parametrize(
    ("at", "factor"), [((5, 3), 0.1), ((0,), 0.1), ((3, 3), 0.1), ((3,), 1.0), ((3,), 0.0)]
)
def test_impossible_schedules_are_refused(at, factor: float) -> None:
    with pytest.raises(ValueError, match=r"takes rising steps|takes a number between"):
        StepDecay(at=at, factor=factor)


@pytest.mark.parametrize("name", [n for n, f in catalog.NETWORKS.items() if f.side <= 64])
def test_the_catalog_knows_where_batch_norm_sees_one_position(name: str) -> None:
    facts = catalog.NETWORKS[name]

    def least_positions(side: int) -> int:
        module = build(Network(name=name, input_shape=(3, side, side), classes=10)).eval()
        seen = [2]
        for child in module.modules():
            if isinstance(child, torch.nn.modules.batchnorm._BatchNorm):
                child.register_forward_pre_hook(lambda _, x: seen.append(x[0].shape[2:].numel()))
        module(torch.zeros(2, 3, side, side, device="meta"))
        return min(seen)

    if facts.lone:
        assert least_positions(facts.lone) == 1
    assert least_positions(max(facts.lone + 1 if facts.lone else 8, facts.least)) > 1


@pytest.mark.parametrize(
    ("name", "examples", "batch_size", "steps", "refused"),
    [
        ("vgg11_bn", 1438, 479, 4, True),
        ("vgg11_bn", 1438, 479, 3, False),  # it never comes to the fourth batch
        ("vgg11_bn", 1438, 478, 400, False),
        ("vgg11_bn", 1438, 1, 1, True),
        ("vgg11_bn", 1, 64, 1, True),
        ("vgg11_bn", 1438, 5000, 400, False),
        ("resnet20", 1438, 479, 400, False),  # 2 x 2 positions are left of 8 x 8
        ("lenet_300_100", 1438, 479, 400, False),
        ("resnet18", 1438, 479, 400, True),
        ("my_own:net", 1438, 479, 400, False),  # `tombola check` tries those
    ],
)
def test_a_batch_of_one_is_refused_where_batch_norm_has_one_value(
    name: str, examples: int, batch_size: int, steps: int, refused: bool
) -> None:
    network = Network(name=name, input_shape=(1, 8, 8), classes=10)
    if not refused:
        catalog.check_batches(network, examples, batch_size, steps)
        return
    with pytest.raises(ValueError, match=rf"batch_size {batch_size} divides {examples} examples"):
        catalog.check_batches(network, examples, batch_size, steps)
