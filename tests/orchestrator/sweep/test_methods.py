"""Methods as expressions, published recipes, transfer, masks alone, and methods of user code."""

import typing
from pathlib import Path

import pytest

from orchestrator.executors.inline import InlineExecutor
from orchestrator.running import study
from orchestrator.sweep import recipes
from orchestrator.sweep.schema import RecipeFields
from tasks.pruning.scores import FUNCTIONS
from tasks.values import catalog, measurements, methods
from tasks.values.key import fields_of
from tasks.values.records import State
from tasks.values.scores import NofM, Obd, Units
from tasks.values.training import Init, Recipe
from tests.docs.pages import blocks
from tests.support.small import tombola, write_sweep
from tombola.store import artifacts, results


def trials(folder: Path, *grids, **changes):
    return study.read(write_sweep(folder, grids=list(grids), dense=False, **changes)).trials


def answered(folder: Path, *grids, **changes):
    asked = study.read(write_sweep(folder, grids=list(grids), **changes))
    progress = study.run(asked, folder / "store", InlineExecutor())
    assert not progress.failures, progress
    return asked.trials


@pytest.mark.parametrize("name", recipes.PUBLISHED)
def test_every_published_recipe_is_a_sweep_by_its_name_alone(name: str, tmp_path: Path) -> None:
    published = recipes.PUBLISHED[name]
    path = tmp_path / "one.yaml"
    path.write_text(f"name: one\nrecipe: {name}\ngrids: [{{method: snip, sparsity: 0.9}}]\n")
    dense, snip = study.read(path).trials
    run = dense.run
    wide = published.network if isinstance(published.network, dict) else {published.network: {}}
    assert run.dataset.name == published.dataset
    assert {run.network.name: run.network.width} == {
        n: options.get("width", 1.0) for n, options in wide.items()
    }
    assert run.recipe.lr == published.recipe["lr"]
    assert snip.run.mask.score.batch_norm == ("eval" if name.startswith("synflow/") else "train")
    assert published.source


def test_the_published_lengths_are_in_iterations() -> None:
    """Missing the Mark trains ResNet-20 for 160 epochs of 391 iterations."""
    per_epoch = catalog.steps_per_epoch(catalog.dataset("cifar10"), 128)
    assert per_epoch == 391


def test_what_a_sweep_says_wins_over_its_recipe(tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    path.write_text(
        "name: one\nrecipe: {from: synflow/vgg16-cifar100, lr: 0.3}\nnetwork: vgg11_bn\n"
        "grids: [{method: {snip: {batch_norm: train}}, sparsity: 0.9}]\n"
    )
    trial = study.read(path).trials[1]
    assert (trial.run.recipe.lr, trial.run.network.name) == (0.3, "vgg11_bn")
    assert trial.run.mask.score.batch_norm == "train"
    assert trial.run.mask.score.examples.draw == "random"


@pytest.mark.parametrize(
    "path", sorted(Path(__file__).parents[3].glob("sweeps/*.yaml")), ids=lambda p: p.stem
)
def test_every_sweep_file_plans(path: Path) -> None:
    planned, costs = study.plan_for(study.read(path), "nowhere")
    assert planned.tasks
    assert all(costs.seconds(task) > 0 for task in planned.tasks.values())


def test_retraining_is_what_renda_et_al_call_it(tmp_path: Path) -> None:
    def last(retrain: str):
        grid = {"method": {"imp": {"retrain": retrain}}, "levels": [2], "rewind_step": 3}
        if retrain == "finetune":
            grid.pop("rewind_step")
        return trials(tmp_path, grid)[0].run

    weights, rate, tuned = last("weights"), last("learning_rate"), last("finetune")
    assert (weights.start.step, weights.first_step) == (3, 3)
    assert weights.start.run.mask is None
    assert (rate.start.step, rate.first_step) == (12, 3)
    assert rate.start.run.mask.key == rate.mask.within.key
    assert (tuned.start.step, tuned.first_step) == (12, 0)
    with pytest.raises(Exception, match=r"retrain takes weights, learning_rate or finetune"):
        last("nothing")


def test_obd_prunes_the_trained_network_and_imp_takes_its_score(tmp_path: Path) -> None:
    once, imp = trials(
        tmp_path,
        {"method": "obd_after_training", "levels": [5]},
        {"method": {"imp": {"score": "obd"}}, "levels": [2]},
    )
    assert isinstance(once.run.mask.score, Obd)
    assert (once.run.mask.of.step, once.run.start.step) == (12, 12)
    assert isinstance(imp.run.mask.within.score, Obd)


def test_patterns_are_part_of_the_mask(tmp_path: Path) -> None:
    blocks, units = trials(
        tmp_path,
        {"method": {"n_of_m": {"m": 4}}, "density": [0.5]},
        {"method": "structured_after_training", "density": [0.5]},
    )
    assert isinstance(blocks.run.mask.pattern, NofM)
    assert isinstance(units.run.mask.pattern, Units)
    with pytest.raises(Exception, match=r"takes densities that are n/m with m 4, not 0\.3"):
        trials(tmp_path, {"method": "n_of_m", "density": [0.3]})


def test_one_dense_run_serves_several_steps_of_pruning_early(tmp_path: Path) -> None:
    asked = trials(tmp_path, {"method": "snip", "levels": [5], "prune_step": [0, 3, 6]})
    assert isinstance(asked[0].run.mask.of, Init)
    states = [trial.run.mask.of for trial in asked[1:]]
    assert all(isinstance(state, State) for state in states)
    assert len({state.run.key for state in states}) == 1


# ---------------------------------------------------------------- masks alone


def test_masks_alone_train_nothing_and_are_answered(tmp_path: Path) -> None:
    asked = answered(
        tmp_path,
        {"method": ["magnitude", "snip"], "compression": {"log10": "0..2..0.5"}, "train": False},
    )
    assert len(asked) == 8  # compression 1 keeps everything and asks for nothing
    held = results.inventory(tmp_path / "store")
    assert held.results == held.masks == {trial.mask.key for trial in asked}
    found = tombola(
        "sql",
        "SELECT DISTINCT status, run_key, accuracy FROM trials",
        "--format",
        "json",
        cwd=tmp_path,
    )
    assert '"done"' in found.stdout
    planned, _ = study.plan_for(study.read(tmp_path / "tiny.yaml"), tmp_path / "store")
    assert not planned.tasks
    assert planned.done == 8


# ---------------------------------------------------------------- transfer

TUTORIAL = Path(__file__).parents[3] / "docs" / "tutorial" / "your_own_method.md"
OWN = next(block.text for block in blocks(TUTORIAL) if block.title == "my_own.py")
WRONG = """
def wrong(module, weights, kept, batches, seed):
    return {}
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import importlib
    import sys

    (tmp_path / "my_own.py").write_text(OWN + WRONG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield tmp_path
    sys.modules.pop("my_own", None)


def test_a_mask_found_on_one_dataset_is_trained_on_another(own: Path) -> None:
    """The classifier's shape differs there, so it is new and dense; the rest is the ticket."""
    _, ticket = answered(
        own,
        {"method": "imp", "levels": [3], "found_on": "digits"},
        dataset="my_own:parity",
    )
    run = ticket.run
    assert run.dataset.name == "my_own:parity"
    assert run.mask.of.run.dataset.name == "digits"
    row = results.find(own / "store", run.key)
    assert row["size"] == 64 * 300 + 300 * 100 + 100 * 2
    assert row["kept"] < 0.6 * row["size"]
    kept = artifacts.read_mask(own / "store", run.mask.key)
    inner = sum(int(k.sum()) for n, k in kept.items() if n != "5.weight")
    assert row["kept"] == inner + 200


def test_ones_own_score_network_and_dataset_by_name(own: Path) -> None:
    dense, pruned = answered(
        own,
        {"method": "my_own:gradient_flow", "density": [0.5]},
        network="my_own:tiny",
        dataset="my_own:parity",
    )
    mask = artifacts.read_mask(own / "store", pruned.mask.key)
    assert sum(int(k.sum()) for k in mask.values()) == round(0.5 * 128)
    assert dense.run.network.source
    before = pruned.mask.key
    (own / "my_own.py").write_text(OWN + "\n# changed\n\ndef unrelated(): ...\n")
    assert study.read(own / "tiny.yaml").trials[1].mask.key == before
    (own / "my_own.py").write_text(OWN.replace("g.square()", "g.abs()"))
    assert study.read(own / "tiny.yaml").trials[1].mask.key != before


def test_what_earlier_versions_found_still_counts(own: Path) -> None:
    """They identified a user's code by the bytes of its file."""
    from tasks.values import user_code as code

    def asked() -> study.Study:
        grids = [{"method": "my_own:gradient_flow", "density": [0.5]}]
        return study.read(
            write_sweep(own, network="my_own:tiny", dataset="my_own:parity", grids=grids)
        )

    everything = ["my_own:gradient_flow", "my_own:tiny", "my_own:parity"]
    with code.as_bytes(everything):
        study.run(asked(), own / "store", InlineExecutor())
    planned, _ = study.plan_for(asked(), own / "store")
    assert (planned.done, len(planned.tasks)) == (2, 0)
    (own / "my_own.py").write_text(OWN + WRONG + "\n# edited\n")
    planned, _ = study.plan_for(asked(), own / "store")
    assert planned.done == 0, "whether it is the same code, nobody knows"
    study.run(asked(), own / "store", InlineExecutor())
    (own / "my_own.py").write_text(OWN + WRONG + "\n# edited again\n")
    planned, _ = study.plan_for(asked(), own / "store")
    assert planned.done == 2, "now its digest is of what it reaches"


def test_options_of_ones_own_are_axes_in_the_key_and_columns(own: Path) -> None:
    from analysis.database import connection as reading

    grids = [{"method": {"my_own:gradient_flow": {"temperature": [1, 200]}}, "density": [0.5]}]
    network = ["my_own:tiny", {"my_own:tiny": {"hidden": [0, 30]}}]
    asked = study.read(write_sweep(own, network=network, grids=grids, dataset="my_own:parity"))
    assert len({trial.run.key for trial in asked.trials}) == 2 + 2 * 2, "hidden: 0 is the default"
    progress = study.run(asked, own / "store", InlineExecutor())
    assert not progress.failures
    rows = reading.connect(own / "store").execute(
        "SELECT network, network_option_hidden, option_temperature, accuracy FROM trials "
        "WHERE method <> 'dense' ORDER BY ALL"
    )
    found = rows.fetchall()
    assert [row[:3] for row in found] == [
        *(("my_own:tiny", n, t) for n in (0, None) for t in (1, 200)),
        *(("my_own:tiny hidden=30", 30, t) for t in (1, 200)),
    ]
    assert all(row[3] is not None for row in found)


def test_options_of_methods_are_axes(tmp_path: Path) -> None:
    grids = [
        {
            "method": [{"synflow": {"iterations": [1, 20]}}, {"snip": {"per_class": "2..4"}}],
            "density": [0.5],
        }
    ]
    asked = study.read(write_sweep(tmp_path, grids=grids, dense=False)).trials
    assert [trial.labels["options"] for trial in asked] == [
        *('{"iterations": 1}', '{"iterations": 20}'),
        *(f'{{"per_class": {n}}}' for n in (2, 3, 4)),
    ]
    assert len({trial.mask.key for trial in asked}) == 5
    wide = write_sweep(tmp_path, network={"resnet20": {"width": [1, 2]}}, dense=False)
    assert {trial.labels["network"] for trial in study.read(wide).trials} == {
        "resnet20",
        "resnet20 x2",
    }


def test_a_recipe_of_ones_own_is_fields_and_the_key_is_that_of_its_fields(own: Path) -> None:
    grids = [{"method": "random", "density": [0.5]}]
    named = study.read(write_sweep(own, recipe="my_own:short", grids=grids)).trials
    written = {"steps": 46, "batch_size": 64, "lr": 0.1}
    said = study.read(write_sweep(own, recipe=written, grids=grids)).trials
    assert [trial.run.key for trial in named] == [trial.run.key for trial in said]
    path = write_sweep(own, recipe={"from": "my_own:short", "lr": 0.2}, grids=grids)
    assert study.read(path).trials[0].run.recipe.lr == 0.2
    with pytest.raises(Exception, match="returns a mapping of fields"):
        study.read(write_sweep(own, recipe="os:getcwd", grids=grids))


def test_a_wrong_score_of_ones_own_is_refused_by_name(own: Path) -> None:
    asked = study.read(write_sweep(own, grids=[{"method": "my_own:wrong", "density": [0.5]}]))
    progress = study.run(asked, own / "store", InlineExecutor())
    assert progress.failures
    assert "my_own:wrong gave scores of shape None for 1.weight" in str(progress)


def test_code_that_is_not_there_is_refused_with_its_line(own: Path) -> None:
    ran = tombola("plan", write_sweep(own, network="nowhere:net"), cwd=own)
    assert ran.returncode == 2
    assert "no module 'nowhere' for 'nowhere:net'" in ran.stderr
    assert "Traceback" not in ran.stderr


# ---------------------------------------------------------------- what is stored


def test_measurements_are_stored_of_every_mask_and_run(tmp_path: Path) -> None:
    dense, snip = answered(
        tmp_path,
        {"method": "snip", "density": [0.02]},
        eval=["train", "val", "test"],
        validation=100,
    )
    store = tmp_path / "store"
    mask, run = (results.find(store, key) for key in (snip.mask.key, snip.run.key))
    layers = {layer["layer"]: layer for layer in mask["layers"]}
    assert mask["effective_kept"] == sum(layer["effective"] for layer in layers.values())
    assert 0 < mask["effective_kept"] <= mask["kept"] == round(0.02 * mask["size"])
    assert all(layer["score_mean"] > 0 and layer["score_std"] > 0 for layer in layers.values())
    assert run["distance"] > 0
    assert run["images_per_second"] > 0
    assert run["peak_memory"] > 10**7
    assert (run["energy"] > 0, run["energy_source"]) == (True, "estimate")
    assert {e["split"] for e in run["evals"]} == {"train", "val", "test"}
    assert all(e["accuracy"] <= e["top5"] <= 1 for e in run["evals"])
    assert dense.run.dataset.validation == 100


def test_a_mask_is_measured_on_request(tmp_path: Path) -> None:
    asked = answered(
        tmp_path,
        {"method": "structured", "density": [0.25], "scope": "layerwise"},
        {"method": "random", "density": [0.2]},
        network="conv2_bn",
    )
    units, weights = (trial.mask.key for trial in asked if trial.mask)
    ran = tombola("measure", units[:10], cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    sizes = {
        line.split()[0]: int(line.split()[-2].replace(",", ""))
        for line in ran.stdout.splitlines()
        if line.endswith("bytes") or " bytes" in line
    }
    assert sizes["shrunk"] < 0.3 * sizes["dense"] == 0.3 * sizes["masked"]
    ran = tombola("measure", weights[:10], cwd=tmp_path)
    assert "4.weight" in ran.stdout
    ran = tombola("measure", asked[0].run.key[:10], cwd=tmp_path)
    assert ran.returncode == 2
    assert "is no finished mask of this store" in ran.stderr


def test_every_method_has_a_function_of_its_scores() -> None:
    scores = {
        score
        for entry in methods.METHODS.values()
        if entry.procedure != "search"
        for score in (entry.score, *entry.other_scores)
    }
    assert scores == FUNCTIONS.keys()


def test_a_sweep_file_may_say_every_field_of_a_recipe() -> None:
    assert fields_of(Recipe) - {"evaluate"} == RecipeFields.model_fields.keys()


def test_every_measurement_may_be_asked_for_and_is_computed() -> None:
    names = [cls.name for cls in measurements.MEASUREMENTS.values()]
    assert names == list(typing.get_args(measurements.MeasurementName))
