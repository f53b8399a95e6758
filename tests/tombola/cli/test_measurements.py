"""Measurements that a grid asks for: barriers, masks as graphs, latency."""

import json
from pathlib import Path

import pytest

from analysis.database import connection as results
from orchestrator.executors.inline import InlineExecutor
from orchestrator.running import study
from tasks.measures import latency
from tasks.values.measurements import Barrier, Graphs
from tests.support.commit import commit
from tests.support.small import tombola, write_sweep
from tombola.errors import DeterminismAlarm, SweepError
from tombola.store import results as stored
from tombola.store.compact import compact
from tombola.store.verify import verify

LMC = {
    "name": "lmc",
    "grids": [
        {
            "method": "imp",
            "levels": [0, 1],
            "rewind_step": [0, 3],
            "measure": ["barrier", "ramanujan"],
        }
    ],
}


def test_a_barrier_lies_between_a_ticket_and_itself_in_another_data_order(tmp_path: Path) -> None:
    asked = study.read(write_sweep(tmp_path, **LMC))
    for trial in asked.trials[1:]:
        barrier = trial.measured[0]
        assert isinstance(barrier, Barrier)
        one, other = barrier.one.run, barrier.other.run
        assert one.order_seed != other.order_seed
        assert one.mask == other.mask
        assert other.first_step == trial.labels["rewind_step"]
        assert barrier.one.step == barrier.other.step == 12
        graphs = [m.mask for m in trial.measured if isinstance(m, Graphs)]
        assert graphs == ([trial.mask] if trial.mask else [])


def test_measurements_are_stored_once_compacted_and_shown(tmp_path: Path) -> None:
    path, store = write_sweep(tmp_path, **LMC), tmp_path / "store"
    asked = study.read(path)
    progress = study.run(asked, store, InlineExecutor())
    assert not progress.failures
    assert not study.plan_for(asked, store)[0].tasks
    query = """
        SELECT level, rewind_step, barrier, train_barrier, imdb, status, barrier_key
        FROM trials WHERE method = 'imp' ORDER BY trial
    """
    before = results.connect(store).execute(query).fetchall()
    assert all(row[5] == "done" and row[2] is not None and row[2] >= 0 for row in before)
    assert [row[4] is None for row in before] == [row[0] == 0 for row in before]
    compact(store)
    assert not study.plan_for(asked, store)[0].tasks
    connection = results.connect(store)
    assert connection.execute(query).fetchall() == before
    ends = connection.execute(
        "SELECT DISTINCT count(*) FROM measurements WHERE name = 'error' GROUP BY measurement_key"
    ).fetchall()
    assert ends == [(60,)]
    assert not verify(store)
    shown = tombola("show", before[0][6][:12], "--store", store, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "barrier" in shown.stdout
    assert "used by 0 tasks and 1 trials" in shown.stdout


def test_the_stored_ends_of_the_way_are_the_two_runs_own_errors(tmp_path: Path) -> None:
    path, store = write_sweep(tmp_path, **LMC), tmp_path / "store"
    study.run(study.read(path), store, InlineExecutor())
    connection = results.connect(store)
    found = connection.execute(
        """
        SELECT value, m.alpha0, m.alpha1 FROM tasks JOIN (
            SELECT measurement_key, any_value(value) FILTER (alpha = 0) AS alpha0,
                   any_value(value) FILTER (alpha = 1) AS alpha1
            FROM measurements WHERE name = 'error' AND split = 'test' GROUP BY measurement_key) m
        ON key = measurement_key
        """
    ).fetchall()
    assert found
    for text, *errors in found:
        value = json.loads(text)
        for end, error in zip(("one", "other"), errors, strict=True):
            [(accuracy,)] = connection.execute(
                "SELECT accuracy FROM evals WHERE run_key = ? AND step = 12 AND split = 'test'",
                [value[end]["run"]],
            ).fetchall()
            assert error == pytest.approx(1 - accuracy, abs=1e-12)


def test_latency_is_kept_where_it_was_measured_and_is_compared_with_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "SECONDS", 0)
    asked = {"measure": "latency", "latency_batch_size": 8}
    grid = {"method": "structured", "density": 0.5, **asked}
    path, store = write_sweep(tmp_path, grids=[grid]), tmp_path / "store"
    study.run(study.read(path), store, InlineExecutor())
    [found] = (
        results.connect(store)
        .execute(
            "SELECT status, latency, dense_latency, latency_device, latency_batch_size,"
            " bytes / dense_bytes, latency_key FROM trials WHERE method = 'structured'"
        )
        .fetchall()
    )
    assert found[0] == "done"
    assert min(found[1:3]) > 0
    assert found[4] == 8
    assert found[5] < 0.5, "half of the units of two layers went"
    compact(store)
    assert verify(store) == []
    row = stored.find(store, found[6])
    assert row is not None
    assert row["device"].startswith(found[3])
    slower = {**row, "latency": 2 * row["latency"], "launch": "another"}
    assert stored.result_digest(slower) == row["digest"]
    commit(store, slower)
    assert stored.find(store, found[6]) == row, "the first observation stays"
    larger = {**row, "measurements": [{**m, "value": 1.0} for m in row["measurements"]]}
    with pytest.raises(DeterminismAlarm, match="value of bytes"):
        commit(store, larger)


def test_the_batch_of_a_latency_that_nobody_asked_for_is_refused(tmp_path: Path) -> None:
    grid = {"method": "random", "levels": 1, "latency_batch_size": 8}
    with pytest.raises(SweepError, match="goes with measure: latency"):
        study.read(write_sweep(tmp_path, grids=[grid]))


def test_a_store_without_measurements_has_an_empty_table(tmp_path: Path) -> None:
    path, store = write_sweep(tmp_path, grids=[{"method": "random", "levels": 1}]), tmp_path / "s"
    study.run(study.read(path), store, InlineExecutor())
    compact(store)
    assert not list((store / "results/segments").glob("measurements-*"))
    rows = results.connect(store).execute("SELECT count(*) FROM measurements").fetchone()
    assert rows == (0,)


def test_a_barrier_without_training_is_refused(tmp_path: Path) -> None:
    grid = {"method": "random", "levels": 1, "train": False, "measure": "barrier"}
    with pytest.raises(SweepError, match="it takes train: true"):
        study.read(write_sweep(tmp_path, grids=[grid]))
