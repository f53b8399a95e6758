"""Winning tickets as a sweep makes them, read back from the store's files."""

from pathlib import Path

import numpy as np
import pytest

from orchestrator.executors.inline import InlineExecutor
from orchestrator.running import study
from tasks.networks.build import initial_weights
from tasks.values.records import Mask, State
from tasks.values.scores import Inverted, Shuffled
from tasks.values.training import Init
from tests.support.small import outcome, write_sweep
from tombola.store import artifacts

LEVELS = 4


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[study.Study, Path]:
    folder = tmp_path_factory.mktemp("tickets")
    grids = [
        {
            "method": "imp",
            "levels": f"0..{LEVELS}",
            "rewind_step": [0, 3],
            "ablation": ["none", "reinit", "shuffle", "invert"],
        }
    ]
    asked = study.read(write_sweep(folder, grids=grids))
    progress = study.run(asked, folder / "store", InlineExecutor())
    assert not progress.failures
    return asked, folder / "store"


def tickets(asked: study.Study, ablation: str, rewind: int) -> list[study.Trial]:
    return [
        trial
        for trial in asked.trials
        if trial.labels["method"] == "imp"
        and trial.labels["ablation"] == ablation
        and trial.labels["rewind_step"] == rewind
    ]


@pytest.mark.parametrize("rewind", [0, 3])
def test_masks_are_nested_and_keep_exactly_their_share(done, rewind: int) -> None:
    asked, store = done
    above = None
    for level, trial in enumerate(tickets(asked, "none", rewind)):
        if level == 0:
            assert trial.run == trial.dense
            continue
        kept = artifacts.read_mask(store, trial.run.mask.key)
        assert sum(int(k.sum()) for k in kept.values()) == round(0.8**level * 50_200)
        if above is not None:
            assert all(not (kept[name] & ~above[name]).any() for name in kept)
        above = kept


@pytest.mark.parametrize("rewind", [0, 3])
def test_a_mask_keeps_the_largest_trained_weights_of_the_level_before(done, rewind: int) -> None:
    asked, store = done
    trial = tickets(asked, "none", rewind)[2]
    mask, above = trial.run.mask, trial.run.mask.within
    trained = artifacts.read_state(store, mask.of.run.key, mask.of.step)
    kept, candidates = artifacts.read_mask(store, mask.key), artifacts.read_mask(store, above.key)
    taken = np.concatenate([np.abs(trained[n][kept[n]]) for n in kept])
    left = np.concatenate([np.abs(trained[n][candidates[n] & ~kept[n]]) for n in kept])
    assert left.max() <= taken.min()
    pruned = np.concatenate([trained[n][~candidates[n]] for n in kept])
    assert not pruned.any()


def test_tickets_start_from_the_dense_runs_weights_at_the_rewinding_step(done) -> None:
    asked, store = done
    for rewind in (0, 3):
        for trial in tickets(asked, "none", rewind)[1:]:
            assert trial.run.first_step == rewind
            if rewind:
                assert isinstance(trial.run.start, State)
                assert (trial.run.start.run, trial.run.start.step) == (trial.dense, rewind)
            else:
                assert trial.run.start == Init(seed=0)
    stored = artifacts.read_state(store, asked.trials[0].dense.key, 3)
    initial = initial_weights(asked.trials[0].dense.network, Init(seed=0))
    assert all(not np.array_equal(stored[n], initial[n].numpy()) for n in stored)


def test_ablations_change_what_they_say_and_nothing_else(done) -> None:
    asked, store = done
    rows = outcome(store)
    plain, reinit = (tickets(asked, name, 3)[3].run for name in ("none", "reinit"))
    assert reinit.mask == plain.mask
    assert isinstance(reinit.start, Init)
    assert reinit.start.seed != 0
    assert (reinit.first_step, reinit.order_seed) == (0, plain.order_seed)
    for name, ablation in (("shuffle", Shuffled), ("invert", Inverted)):
        run = tickets(asked, name, 3)[3].run
        assert isinstance(run.mask, Mask)
        assert isinstance(run.mask.ablation, ablation)
        assert run.start == plain.start
    counts = [
        [layer["kept"] for layer in rows[tickets(asked, name, 3)[3].run.mask.key]["layers"]]
        for name in ("none", "shuffle", "invert")
    ]
    assert counts[0] == counts[1] != counts[2]
    assert sum(counts[0]) == sum(counts[2])


def test_every_run_records_the_density_it_was_asked_and_the_real_one(done) -> None:
    asked, store = done
    rows = outcome(store)
    for trial in asked.trials:
        row = rows[trial.run.key]
        assert row["density"] == pytest.approx(trial.labels["requested_density"], abs=1e-5)
        expected = trial.run.mask.density if trial.run.mask else None
        assert row["requested_density"] == expected
