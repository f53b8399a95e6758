"""The JSON schema accepts sweep files that `read` accepts, and refuses what it refuses."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from orchestrator.sweep.schema import Grid, RecipeFields, Sweep
from tests.support.small import TINY
from tombola.cli import app

SWEEPS = sorted((Path(__file__).parents[3] / "sweeps").glob("*.yaml"))


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json.loads(CliRunner().invoke(app, ["schema"]).stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_shipped_sweep_is_valid(validator: Any, path: Path) -> None:
    assert [
        error.message for error in validator.iter_errors(yaml.safe_load(path.read_text()))
    ] == []


GRID = {"method": "snip", "sparsity": 0.5}


@pytest.mark.parametrize(
    "change",
    [
        {"replicates": "0..4"},
        {"network": [{"resnet20": {"width": [1, 2]}}, "torchvision:resnet18", "mine:net"]},
        {"recipe": "synflow/vgg16-cifar100"},
        {"recipe": {"from": "synflow/vgg16-cifar100", "lr": [0.1, 0.01]}},
        {"recipe": {"steps": "10ep", "schedule": {"step_decay": {"at": "5ep"}}}},
        {"grids": [{"method": {"synflow": {"iterations": [1, 100]}}, "density": "0.1..0.9..0.1"}]},
        {"grids": [{"method": "snip", "compression": {"log10": "0..3..0.25"}}]},
        {"grids": [{"method": ["imp", "mine:score"], "levels": "0..12"}]},
        {"figures": ["ablations", {"cost": {"unit": "seconds"}}]},
        {"validation": 0.1, "eval": "val"},
    ],
)
def test_every_way_of_writing_is_valid(validator: Any, change: dict[str, Any]) -> None:
    asked = {**TINY, "name": "tiny", "grids": [GRID], **change}
    assert [error.message for error in validator.iter_errors(asked)] == []


@pytest.mark.parametrize(
    "change",
    [
        {"replicas": 3},
        {"network": "resnet21"},
        {"dataset": "cifar"},
        {"recipe": {"learning_rate": 0.1}},
        {"recipe": {"steps": "10 epochs"}},
        {"grids": [{"method": "snap", "sparsity": 0.5}]},
        {"grids": [{**GRID, "ablation": "shuffled"}]},
        {"grids": [{**GRID, "sparsity": "half"}]},
        {"figures": ["accuracy"]},
        {"figures": [{"cost": {"units": "seconds"}}]},
        {"keep": "nothing"},
    ],
)
def test_what_is_misspelt_is_marked(validator: Any, change: dict[str, Any]) -> None:
    asked = {**TINY, "name": "tiny", "grids": [GRID], **change}
    assert list(validator.iter_errors(asked))


@pytest.mark.parametrize("model", [Sweep, Grid, RecipeFields])
def test_every_field_says_what_it_is(model: Any) -> None:
    assert [name for name, field in model.model_fields.items() if not field.description] == []
