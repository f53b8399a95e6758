"""On a GPU, a run's bits do not depend on its neighbours. Without a GPU the script runs dry."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tasks.values.training import Network, Recipe
from tests.device import bits
from tests.device.check import STAGES
from tests.device.shapes import CONV_2, CROPPED, RESNET_20, SMALL, WIDE

SHAPES = [(WIDE, SMALL), (CONV_2, SMALL), (RESNET_20, CROPPED)]
PRECISIONS = ("float32", "tf32", "bfloat16")

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator")
shapes = pytest.mark.parametrize(
    ("network", "recipe"), SHAPES, ids=lambda one: getattr(one, "name", "")
)
precisions = pytest.mark.parametrize("precision", PRECISIONS)


@on_gpu
@shapes
@precisions
def test_bits_alone_are_those_in_packs(network: Network, recipe: Recipe, precision: str) -> None:
    """Recorded, eager, beside 1, 7 and 15 others, in a used lane, in `train`; zeros stay zeros."""
    found = bits.alike(network, replace(recipe, precision=precision, steps=40), (2, 8, 16))
    assert found.pop("mode") == ["recorded"]
    found.pop("digest")
    assert all(found.values()), found


@on_gpu
@shapes
@precisions
def test_bits_do_not_depend_on_neighbours(network: Network, recipe: Recipe, precision: str) -> None:
    how = replace(recipe, precision=precision, steps=40)
    assert all(bits.beside_a_neighbour(network, how).values())
    assert bits.resumed_elsewhere(network, how)
    assert bits.programs(network, how)["same"]


@on_gpu
def test_float32_is_ieees() -> None:
    assert bits.conv_error("float32") < 1e-5
    assert bits.conv_error("tf32") > 1e-5
    assert bits.rates_agree()


def test_bits_are_compared_on_a_cpu_too() -> None:
    """This tests the comparison itself, which a GPU then runs."""
    how = replace(SMALL, batch_size=4, steps=3)
    found = bits.alike(WIDE, how, (2,))
    assert found.pop("mode") == ["eager: no GPU"]
    found.pop("digest")
    assert all(found.values()), found
    assert bits.resumed_elsewhere(WIDE, replace(how, steps=40))


@pytest.mark.slow
def test_the_device_script_goes_through_all_stages(tmp_path: Path) -> None:
    script = Path(__file__).with_name("check.py")
    ran = subprocess.run(
        [sys.executable, script, "--dry", "--out", tmp_path],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    for stage in STAGES:
        found = json.loads((tmp_path / f"{stage}.json").read_text())
        assert found
        assert not [said for said in found.values() if "Error" in str(said)], found
