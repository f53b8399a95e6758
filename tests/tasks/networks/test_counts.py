"""Parameter counts by arithmetic against the networks themselves."""

import pytest

from tasks.measures import layers
from tasks.networks import counts
from tasks.values import catalog
from tasks.values.training import Network

SHAPES = [
    ((1, 8, 8), 10, 2.0),
    ((1, 28, 28), 10, 1.0),
    ((3, 32, 32), 100, 0.25),
    ((3, 33, 34), 7, 0.1),
    ((3, 64, 64), 200, 0.5),
]


@pytest.mark.parametrize("name", catalog.NETWORKS)
def test_they_are_those_of_the_network_that_is_built(name: str) -> None:
    tried = 0
    for shape, classes, width in SHAPES:
        if shape[1] >= catalog.NETWORKS[name].least:
            network = Network(name=name, input_shape=shape, classes=classes, width=width)
            assert counts.share(network) == layers.share(network)
            tried += 1
    assert tried >= 3


def test_what_takes_building_is_not_guessed() -> None:
    asked = catalog.network("conv2_bn", "digits", prunable=("default", "-0.*"))
    assert counts.share(asked) is None
    assert counts.share(catalog.network("torchvision:resnet18", "cifar10")) is None
    assert layers.share(asked).others == ("0.weight", "biases", "norms")


def test_a_share_is_whole_only_where_it_is_all() -> None:
    assert counts.Share(99_999, 100_000, ("biases",)).percent == ">99.9%"
    assert counts.Share(100, 100, ()).percent == "100.0%"
    many = counts.Share(1, 100, tuple(map(str, range(8))))
    assert (many.percent, many.without) == ("1.0%", "0, 1, 2, 3, 4 and 3 more")
