"""The planner: least work, needs, reasons, and the training of a script without sharing."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.planning.cost import Costs, estimate
from orchestrator.planning.planner import (
    Nothing,
    Plan,
    all_for,
    alone,
    answers,
    only_for,
    plan,
    together,
    trained,
)
from orchestrator.running import study
from tasks.values.records import Mask, Run
from tests.support.small import MANIFOLD, write_sweep
from tombola.store.results import Inventory


def planned(folder: Path, held: Inventory | None = None, **changes: object) -> Plan:
    trials = study.read(write_sweep(folder, **changes)).trials
    return plan(trials, held or Nothing())


def everything(asked: Plan) -> Inventory:
    """Build a store that holds all results of a plan."""
    runs = [t for t in asked.tasks.values() if isinstance(t.value, Run)]
    masks = {t.key for t in asked.tasks.values() if isinstance(t.value, Mask)}
    return Inventory(
        results=frozenset(asked.tasks),
        masks=frozenset(masks),
        states=frozenset((t.key, step) for t in runs for step in t.save),
    )


def test_needs_come_before_those_who_need_them(tmp_path: Path) -> None:
    placed: set[str] = set()
    for key, task in planned(tmp_path).tasks.items():
        assert set(task.needs) <= placed
        placed.add(key)


def test_what_is_stored_is_not_planned(tmp_path: Path) -> None:
    asked = planned(tmp_path)
    again = plan(asked.trials, everything(asked))
    assert again.tasks == {}
    assert again.done == len(asked.trials)


def test_a_missing_state_brings_back_its_run_up_to_that_step_and_says_why(tmp_path: Path) -> None:
    asked = planned(tmp_path)
    held = everything(asked)
    dense = asked.trials[0].run
    ticket = next(t for t in asked.trials if t.labels.get("rewind_step") == 3).run
    held = replace(held, results=held.results - {ticket.key}, states=held.states - {(dense.key, 3)})
    tasks = plan(asked.trials, held).tasks
    assert set(tasks) == {ticket.key, dense.key}
    assert tasks[dense.key].last_step == 3
    assert tasks[dense.key].reason == "weights at step 3 are needed and not stored"
    assert tasks[ticket.key].needs == (dense.key,)
    assert tasks[ticket.key].reason == "not in the store"


def test_a_missing_mask_file_is_pruned_again_only_if_somebody_needs_it(tmp_path: Path) -> None:
    asked = planned(tmp_path)
    held = everything(asked)
    trial = next(t for t in asked.trials if t.labels["method"] == "snip")
    without = replace(held, masks=held.masks - {trial.run.mask.key})
    assert plan(asked.trials, without).tasks == {}
    without = replace(without, results=without.results - {trial.run.key})
    tasks = plan(asked.trials, without).tasks
    assert tasks[trial.run.mask.key].reason == "its file is missing"


def test_what_stored_results_stand_on_is_done_too_and_belongs_to_who_asked(tmp_path: Path) -> None:
    """Stores of earlier versions lack runs between the levels of IMP (tests/faults/test_moves)."""
    asked = planned(tmp_path, grids=[{"method": "imp", "levels": [3], "rewind_step": [0, 3]}])
    held, answered = everything(asked), {v.key for t in asked.trials for v in answers(t)}
    between = [key for key, task in asked.tasks.items() if task.kind == "run"]
    between = [key for key in between if key not in answered]
    assert len(between) == 4
    again = plan(asked.trials, replace(held, results=held.results - set(between)))
    assert again.done == len(asked.trials)
    assert set(again.tasks) == set(between)
    assert {task.reason for task in again.tasks.values()} == {"results that are stored stand on it"}
    assert not any(task.save for task in again.tasks.values())
    number, other = sorted({task.trial for task in again.tasks.values()})
    its = {key for key, task in again.tasks.items() if task.trial == number}
    assert len(its) == 2
    assert only_for(again, {number}) == all_for(again, {number}) == its
    assert only_for(again, {number, other}) == set(between)


def test_weights_do_not_count_before_their_runs_result(tmp_path: Path) -> None:
    asked = planned(tmp_path, grids=[{"method": "imp", "levels": [1]}])
    held = everything(asked)
    dense, mask = asked.trials[0].run, asked.trials[1].run.mask
    early = Inventory(states=held.states)
    tasks = plan(asked.trials, early).tasks
    assert tasks[mask.key].needs == (dense.key,)
    assert tasks[dense.key].save == (12,)


def test_the_dense_run_saves_what_anybody_needs_of_it(tmp_path: Path) -> None:
    asked = planned(tmp_path)
    assert asked.tasks[asked.trials[0].run.key].save == (3, 12)


def test_a_script_trains_each_trial_with_all_it_stands_on(tmp_path: Path) -> None:
    asked = planned(
        tmp_path, grids=[{"method": "imp", "levels": [0, 1, 2]}, {"method": "snip", "levels": [1]}]
    )
    per_trial = [[n for _, n in alone([trial])] for trial in asked.trials]
    assert sorted(map(len, per_trial)) == [1, 1, 1, 2, 3]
    assert asked.trained.steps == 4 * 12


def test_a_run_that_only_lends_its_weights_is_trained_that_far(tmp_path: Path) -> None:
    asked = planned(tmp_path, grids=[{"method": "snip", "levels": [1], "prune_step": [5]}])
    trial = asked.trials[-1]
    assert sorted(steps for _, steps in alone([trial])) == [5, 7]


def test_quickstart_trains_less_than_half_of_what_a_script_would() -> None:
    sweep = Path(__file__).parents[3] / "sweeps" / "quickstart.yaml"
    trials = study.read(sweep).trials
    assert len(trials) >= 150
    assert plan(trials, Nothing()).trained.steps < 0.5 * trained(alone(trials)).steps


def test_the_critical_path_is_the_longest_chain(tmp_path: Path) -> None:
    asked = planned(tmp_path, grids=[{"method": "imp", "levels": [3]}])
    found = estimate(asked, Costs())
    assert [task.kind for task in found.path] == ["run", "mask"] * 3 + ["run"]
    assert found.path_seconds == pytest.approx(sum(map(Costs().seconds, found.path)))


def test_an_estimate_of_a_plan_is_the_sum_over_its_tasks(tmp_path: Path) -> None:
    """The store holds some results, so similar runs end at different steps."""
    asked = planned(tmp_path, **MANIFOLD)
    held = everything(asked)
    some = replace(
        held,
        results=frozenset(sorted(held.results)[::2]),
        states=frozenset(sorted(held.states)[::3]),
        masks=frozenset(sorted(held.masks)[::3]),
    )
    costs = Costs({("lenet_300_100", "snip"): 0.7})
    for left in (asked, plan(asked.trials, some)):
        tasks, found = list(left.tasks.values()), estimate(left, costs)
        assert found.kinds == Counter(task.kind for task in tasks)
        assert found.trained == left.trained
        assert found.seconds == pytest.approx(sum(map(costs.seconds, tasks)))
        assert found.bytes == sum(map(costs.bytes, tasks))
    assert together(asked.trials) == asked.trained
    one_by_one = [n for trial in asked.trials for _, n in alone([trial])]
    assert trained(alone(asked.trials)).steps == sum(one_by_one)


def test_measured_rates_win_over_the_model(tmp_path: Path) -> None:
    asked = planned(tmp_path)
    task = next(iter(asked.tasks.values()))
    assert Costs({("lenet_300_100", "step"): 1.0}).seconds(task) == pytest.approx(12.02)


def test_a_gang_divides_a_training_but_for_the_overhead_of_an_iteration(tmp_path: Path) -> None:
    task = next(t for t in planned(tmp_path).tasks.values() if t.kind == "run")
    rates = {("lenet_300_100", "step"): 1.002}
    alone, gang = (Costs(rates, device="gpu", gang=n).seconds(task) for n in (1, 4))
    assert alone == pytest.approx(0.02 + 12 * 1.002)
    assert gang == pytest.approx(0.02 + 12 * (0.002 + 1.0 / 4))
