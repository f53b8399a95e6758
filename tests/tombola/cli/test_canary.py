"""Before a long launch, one task of each kind is tried on a few examples."""

from pathlib import Path

import pytest

from orchestrator.executors.inline import InlineExecutor
from orchestrator.planning.planner import Nothing, plan
from orchestrator.running import canary, study
from orchestrator.running.canary import canaries
from tasks.rehearse import rehearse
from tests.support.small import tombola, write_sweep

BROKEN = "def broken(module, weights, kept, batches, seed):\n    raise KeyError('no such layer')\n"
EVERY = [
    {"method": ["random", "magnitude", "snip", "grasp", "synflow"], "levels": [2, 4]},
    {"method": {"gem_miner": {"steps": 40, "period": 10}}, "levels": [2]},
    {"method": ["n_of_m"], "density": [0.5]},
    {"method": ["structured", "obd_after_training"], "density": [0.5]},
    {"method": "imp", "levels": [1, 2, 3], "rewind_step": [3]},
]


def test_there_is_one_canary_for_each_kind_and_each_survives_its_rehearsal(tmp_path: Path) -> None:
    asked = study.read(write_sweep(tmp_path, grids=EVERY, replicates=3))
    found = canaries(plan(asked.trials, Nothing()))
    kinds = [getattr(task.value, "score", task.value).kind for task in found]
    once = ["run", "random", "snip", "grasp", "synflow", "gem_miner", "obd"]
    assert sorted(kinds) == sorted([*once, *3 * ["magnitude"]]), "alone, in blocks and by units"
    for task in found:
        rehearse(task.value)


def test_a_broken_method_stops_a_long_launch_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.running.launch.WORTH_SECONDS", 0.0)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "canary_methods.py").write_text(BROKEN)
    grids = [{"method": ["random", "canary_methods:broken"], "levels": [2, 4]}]
    asked = study.read(write_sweep(tmp_path, grids=grids))
    progress = study.run(asked, tmp_path / "store", InlineExecutor())
    [failed] = progress.failures
    assert failed.message == "canary: 'no such layer'"
    assert not progress.done
    assert not list((tmp_path / "store" / "results").rglob("*.parquet"))


def test_a_launch_whose_canaries_live_gives_what_it_would_have_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support.small import outcome

    asked = study.read(write_sweep(tmp_path))
    study.run(asked, tmp_path / "without", InlineExecutor())
    monkeypatch.setattr("orchestrator.running.launch.WORTH_SECONDS", 0.0)
    study.run(asked, tmp_path / "with", InlineExecutor())
    assert outcome(tmp_path / "with") == outcome(tmp_path / "without")
    assert canary.WORTH_SECONDS > 0


def test_a_hook_is_run_at_the_end_and_told_how_it_went(tmp_path: Path) -> None:
    write_sweep(tmp_path, grids=[{"method": "random", "levels": [1]}])
    (tmp_path / "hook.sh").write_text('echo "$TOMBOLA_SWEEP $TOMBOLA_DONE $TOMBOLA_FAILED" > told')
    options = ("--executor", "inline", "--on-finish", "sh hook.sh")
    assert tombola("run", "tiny.yaml", *options, cwd=tmp_path).returncode == 0
    assert (tmp_path / "told").read_text() == "tiny 3 0\n"
    more = ("--set", "replicates=2", "--executor", "inline", "--on-finish", "no-such-command")
    ended = tombola("run", "tiny.yaml", *more, cwd=tmp_path)
    assert ended.returncode == 0
    assert "warning: --on-finish:" in ended.stderr
