"""Deleting files that nobody needs: by policy, never inputs of a missing trial, never results."""

from pathlib import Path

import pytest

from orchestrator.executors.inline import InlineExecutor
from orchestrator.maintenance.gc import find_garbage, free
from orchestrator.running import study
from tests.support.small import outcome, tombola, write_sweep
from tombola.store import layout
from tombola.store.verify import verify

GRIDS = [{"method": "imp", "levels": [1, 3], "rewind_step": [3]}, {"method": "snip", "levels": [2]}]


def files(store: Path, folder: str) -> int:
    return sum(1 for _ in layout.published(store / folder, ".safetensors"))


def run(folder: Path, **changes: object) -> Path:
    asked = study.read(write_sweep(folder, **{"grids": GRIDS, **changes}))
    assert not study.run(asked, folder / "store", InlineExecutor()).failures
    return folder / "store"


@pytest.mark.parametrize(
    ("keep", "states", "masks"), [("all", 4, 4), ("tickets", 1, 3), ("metrics", 0, 0)]
)
def test_a_finished_sweep_keeps_what_its_policy_says(
    tmp_path: Path, keep: str, states: int, masks: int
) -> None:
    store = run(tmp_path, keep=keep)
    before = outcome(store)
    free(find_garbage(store))
    assert (files(store, layout.STATES), files(store, layout.MASKS)) == (states, masks)
    assert outcome(store) == before
    assert verify(store) == []
    assert not find_garbage(store).paths
    assert not study.plan_for(study.read(tmp_path / "tiny.yaml"), store)[0].tasks


def test_what_an_undone_trial_reads_is_kept(tmp_path: Path) -> None:
    store = run(tmp_path, keep="metrics")
    deeper = [*GRIDS, {"method": "imp", "levels": [4], "rewind_step": [3]}]
    asked = study.read(write_sweep(tmp_path, grids=deeper, keep="metrics"))
    study.register(asked, store)
    planned = study.plan_for(asked, store)[0].tasks.keys()
    free(find_garbage(store))
    assert study.plan_for(asked, store)[0].tasks.keys() == planned
    study.run(asked, store, InlineExecutor())
    free(find_garbage(store))
    assert (files(store, layout.STATES), files(store, layout.MASKS)) == (0, 0)


def test_what_was_freed_is_made_again_when_it_is_needed(tmp_path: Path) -> None:
    store = run(tmp_path, keep="metrics")
    free(find_garbage(store))
    before = outcome(store)
    deeper = [*GRIDS, {"method": "imp", "levels": [4], "rewind_step": [3]}]
    run(tmp_path, grids=deeper, keep="metrics")
    after = outcome(store)
    assert {key: after[key] for key in before} == before


def test_two_sweeps_share_a_store_and_the_one_that_keeps_all_wins(tmp_path: Path) -> None:
    store = run(tmp_path, keep="metrics")
    run(tmp_path, keep="all", name="other")
    assert not find_garbage(store).paths


def test_the_command_says_first_and_removes_when_told(tmp_path: Path) -> None:
    store = run(tmp_path, keep="tickets")
    said = tombola("gc", cwd=tmp_path)
    assert "4 files" in said.stdout
    assert "could be freed: tombola gc --delete" in said.stdout
    assert files(store, layout.STATES) == 4
    assert "freed 4 files" in tombola("gc", "--delete", cwd=tmp_path).stdout
    assert "nothing to free" in tombola("gc", "--delete", cwd=tmp_path).stdout


def test_code_of_ones_own_is_run_only_where_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "my_data.py").write_text(
        "import numpy as np\nfrom pathlib import Path\n"
        "from tasks.values.catalog import DatasetFacts\n"
        "Path('ran').touch()\n"
        "def few(split):\n"
        "    n = 40 if split == 'train' else 20\n"
        "    return np.zeros((n, 1, 8, 8), np.uint8), np.arange(n) % 10\n"
        "few.facts = DatasetFacts(input_shape=(1, 8, 8), classes=10, train=40, test=20, "
        "mean=(0.5,), std=(0.5,))\n"
    )
    grids = [{"method": "random", "levels": [2]}]
    write_sweep(tmp_path, dataset="my_data:few", grids=grids)
    ran = tombola("run", "tiny.yaml", "--executor", "inline", "--no-canary", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    (tmp_path / "ran").unlink()
    refused = tombola("gc", cwd=tmp_path)
    assert refused.returncode == 2
    assert "gc --run-code" in refused.stderr
    assert not (tmp_path / "ran").exists()
    assert tombola("gc", "--run-code", cwd=tmp_path).returncode == 0
