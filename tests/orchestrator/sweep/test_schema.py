"""Sweep files: what they may contain, and the trials they give."""

import inspect
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.running import study
from orchestrator.sweep.fields import iterations
from tasks.values.records import Mask, State
from tasks.values.scores import Grasp, Synflow
from tasks.values.training import Cosine, Init, Recipe, StepDecay
from tests.support.small import MANIFOLD, TINY, write_sweep
from tombola.errors import SweepError


def densities(folder: Path, **said: Any) -> list[float]:
    asked = study.read(write_sweep(folder, grids=[{"method": "magnitude", **said}]))
    return [t.labels["requested_density"] for t in asked.trials if t.labels["method"] != "dense"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"sparsity": [0.5, 0.9]}, [0.5, 0.1]),
        ({"sparsity": 0.3}, [0.7]),
        ({"density": "0.1..0.3..0.1"}, [0.1, 0.2, 0.3]),
        ({"compression": [1, 2, 10]}, [1.0, 0.5, 0.1]),
        ({"compression": {"log10": "0..1..0.5"}}, [1.0, 0.316227766017, 0.1]),
        ({"levels": "0..3"}, [1.0, 0.8, 0.64, 0.512]),
        ({"levels": [1, "4..5"]}, [0.8, 0.4096, 0.32768]),
        ({"levels": [2], "prune_fraction": 0.5}, [0.25]),
        ({"density": ["1e-3"]}, [0.001]),
    ],
)
def test_densities_can_be_said_in_four_ways(tmp_path: Path, said: Any, expected: Any) -> None:
    assert densities(tmp_path, **said) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize(
    ("length", "expected"), [(600, 600), ("600it", 600), ("600", 600), ("10ep", 230)]
)
def test_lengths_are_iterations_or_epochs(length: Any, expected: int) -> None:
    assert iterations(length, 23) == expected


def test_any_recipe_field_can_be_an_axis(tmp_path: Path) -> None:
    grid = {
        "method": "snip",
        "levels": [1],
        "recipe": {"lr": [0.1, 0.01], "nesterov": [False, True]},
    }
    asked = study.read(write_sweep(tmp_path, grids=[grid]))
    recipes = {(t.run.recipe.lr, t.run.recipe.nesterov) for t in asked.trials}
    assert len(recipes) == 4
    dense = [t for t in asked.trials if t.labels["method"] == "dense"]
    assert len(dense) == 4, "each recipe has its dense run"


def test_schedules(tmp_path: Path) -> None:
    schedules = ["constant", "cosine", {"step_decay": {"at": ["8it"], "factor": 0.2}}]
    recipe = {**TINY["recipe"], "schedule": schedules}
    asked = study.read(
        write_sweep(tmp_path, recipe=recipe, grids=[{"method": "snip", "levels": [1]}])
    )
    found = {t.run.recipe.schedule for t in asked.trials}
    assert {Cosine(), StepDecay(at=(8,), factor=0.2)} < found


def test_a_file_can_extend_another(tmp_path: Path) -> None:
    write_sweep(tmp_path, name="base")
    child = tmp_path / "child.yaml"
    child.write_text("extends: base.yaml\nname: child\nrecipe: {lr: 0.05}\n")
    asked = study.read(child)
    assert asked.name == "child"
    assert {t.run.recipe.lr for t in asked.trials} == {0.05}
    assert {t.run.recipe.steps for t in asked.trials} == {12}


def test_set_overrides_anything(tmp_path: Path) -> None:
    path = write_sweep(tmp_path)
    overrides = (
        "replicates=[4]",
        "recipe.lr=1e-2",
        "grids.1.levels=1..3",
        "init.weights=glorot_normal",
    )
    asked = study.read(path, overrides)
    assert {t.labels["replicate"] for t in asked.trials} == {4}
    assert {t.run.recipe.lr for t in asked.trials} == {0.01}
    assert max(t.labels["level"] or 0 for t in asked.trials if t.labels["method"] == "imp") == 3
    assert asked.trials[0].run.start == Init(seed=4, weights="glorot_normal")


def test_methods_take_options(tmp_path: Path) -> None:
    methods = [{"synflow": {"iterations": 3}}, {"grasp": {"temperature": 1, "per_class": 2}}]
    asked = study.read(write_sweep(tmp_path, grids=[{"method": methods, "levels": [1]}]))
    scores = [t.run.mask.score for t in asked.trials if t.run.mask]
    assert scores[0] == Synflow(iterations=3)
    assert isinstance(scores[1], Grasp)
    assert (scores[1].temperature, scores[1].examples.per_class) == (1.0, 2)


def test_fine_tuning_starts_from_the_trained_weights_at_the_last_rate(tmp_path: Path) -> None:
    recipe = {**TINY["recipe"], "schedule": {"step_decay": {"at": [6, 9]}}}
    grid = {"method": "magnitude_after_training", "levels": [1]}
    run = study.read(write_sweep(tmp_path, recipe=recipe, grids=[grid])).trials[-1].run
    assert run.recipe.lr == pytest.approx(0.001)
    assert run.first_step == 0
    assert isinstance(run.start, State)
    assert run.start.step == 12
    tuned = {**grid, "finetune": {"steps": 5, "lr": 0.5}}
    run = study.read(write_sweep(tmp_path, recipe=recipe, grids=[tuned])).trials[-1].run
    assert (run.recipe.lr, run.recipe.steps) == (0.5, 5)


def test_seeds_are_apart_and_a_replicate_sets_them_together(tmp_path: Path) -> None:
    asked = study.read(write_sweep(tmp_path, replicates=[3]))
    labels = [t.labels for t in asked.trials if t.labels["ablation"] == "shuffle"]
    assert {tuple(label[f"{s}_seed"] for s in ("init", "order", "score")) for label in labels} == {
        (3, 3, 3)
    }
    shuffled = [
        t for t in asked.trials if t.labels["method"] == "snip" and t.labels["shuffle_seed"]
    ]
    assert all(isinstance(t.run.mask, Mask) and t.run.mask.ablation.seed == 3 for t in shuffled)


@pytest.mark.parametrize("sweep", [MANIFOLD, "ticket_transfer.yaml"])
def test_replicates_are_what_each_is_alone(sweep: Any, tmp_path: Path) -> None:
    """Only the first is built; the others are the same expressions with other seeds."""
    shipped = Path(__file__).parents[3] / "sweeps"
    path = shipped / sweep if isinstance(sweep, str) else write_sweep(tmp_path, **sweep)
    seeds = [3, 1, 1_000_007]

    def read(*replicates: int) -> list[Any]:
        trials = study.read(path, (f"replicates={list(replicates)}",)).trials
        return [[t.labels, t.run.canonical, t.dense.key, t.trained, t.measured] for t in trials]

    together = read(*seeds)
    for seed in seeds:
        assert [one for one in together if one[0]["replicate"] == seed] == read(seed)
    shapes = Counter(trial.shape for trial in study.read(path).trials)
    assert set(shapes.values()) == {3}


def test_all_mistakes_come_at_once_each_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "name: bad\n"
        "dataset: digit\n"
        "network: lenet_300_100\n"
        "recipe: {steps: 10, batch_size: 5, lr: 0.1, learning_rate: 3}\n"
        "grids:\n"
        "  - metod: snip\n"
        "    sparsity: [0.5, 1.5]\n"
        "  - method: [snipp]\n"
        "    levels: 1..3\n"
    )
    with pytest.raises(SweepError) as caught:
        study.read(path)
    text = "\n".join(caught.value.problems)
    for expected in (
        f"{path}:2: dataset: no dataset 'digit'; did you mean digits?",
        f"{path}:4: unknown key 'learning_rate' in recipe",
        f"{path}:6: unknown key 'metod' in grids.0; did you mean method?",
        f"{path}:8: grids.1.method.0: no method 'snipp'; did you mean snip?",
    ):
        assert expected in text


def test_the_shipped_sweeps_are_valid() -> None:
    for path in (Path(__file__).parents[3] / "sweeps").glob("*.yaml"):
        asked = study.read(path)
        assert asked.name == path.stem
        assert yaml.safe_load(path.read_text())["description"]


TUNED_OTHERWISE: dict[str, Any] = {
    "steps": 7,
    "batch_size": 32,
    "lr": 0.1000001,
    "evaluate_every": 3,
    "momentum": 0.5,
    "nesterov": True,
    "weight_decay": 1e-4,
    "schedule": "cosine",
    "warmup": 2,
    "optimizer": "adam",
    "augment": "flip",
    "label_smoothing": 0.1,
    "rescale_steps": 1,
    "precision": "bfloat16",
}


@pytest.mark.parametrize("field", [*TUNED_OTHERWISE, "ghosts"])
def test_two_ways_of_fine_tuning_are_named_differently(tmp_path: Path, field: str) -> None:
    otherwise = {field: TUNED_OTHERWISE.get(field)}
    if field == "ghosts":
        otherwise = {"ghosts": "skips", "ghost_steps": 4}
    grid = {"method": "magnitude_after_training", "levels": [1]}
    grids = [grid, {**grid, "finetune": otherwise}]
    asked = study.read(write_sweep(tmp_path, grids=grids, dense=False)).trials
    plain, tuned = (trial.labels["finetune"] for trial in asked)
    assert asked[0].run.key != asked[1].run.key
    assert plain == "12 iterations at 0.1, constant"
    assert tuned != plain


def test_every_field_of_a_recipe_is_tried_in_fine_tuning() -> None:
    tried = {*TUNED_OTHERWISE, "ghosts", "ghost_steps"}
    assert tried == set(inspect.signature(Recipe).parameters) - {"evaluate"}, (
        "evaluate is a sweep's"
    )
