"""Finished tasks repeated on purpose: the noise floor, and the alarm."""

import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from analysis.database import connection as reading
from orchestrator.executors.inline import InlineExecutor
from orchestrator.running import study
from orchestrator.running.launch import launch
from tests.support.commit import commit
from tests.support.small import outcome, tombola, write_sweep
from tombola.store import artifacts, layout, results
from tombola.store.verify import verify

GRIDS = [
    {"method": ["random", "snip"], "levels": [2, 5]},
    {"method": "imp", "levels": [1, 2], "rewind_step": 3, "measure": "barrier"},
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    asked = study.read(write_sweep(folder, grids=GRIDS))
    assert not study.run(asked, folder / "store", InlineExecutor()).failures
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "work"))


def again(folder: Path, fraction: float) -> Any:
    asked = study.read(folder / "tiny.yaml")
    planned = study.repeats_for(asked, folder / "store", fraction)
    return planned, launch(planned, folder / "store", InlineExecutor())


def ask(folder: Path, query: str) -> list[tuple[Any, ...]]:
    with reading.connect(folder / "store") as connection:
        return connection.execute(query).fetchall()


def test_the_draw_is_a_part_that_is_the_same_each_time_and_grows(folder: Path) -> None:
    asked = study.read(folder / "tiny.yaml")
    drawn = [set(study.repeats_for(asked, folder / "store", f).tasks) for f in (0, 0.3, 0.3, 1)]
    assert drawn[0] == set()
    assert drawn[1] == drawn[2] < drawn[3]
    keys = {key for (key,) in ask(folder, "SELECT key FROM tasks")}
    siblings = len(keys) - len(drawn[3])
    assert drawn[3] < keys
    assert siblings == 2, "the trials' own tasks; the barriers' other runs are no trials"


def test_on_this_machine_everything_comes_out_the_same_and_nothing_is_written_over(
    folder: Path,
) -> None:
    files = {p: p.read_bytes() for p in (folder / "store").rglob("*") if p.is_file()}
    planned, progress = again(folder, 1.0)
    assert progress.failures == []
    assert len(progress.done) == len(planned.tasks)
    now = {p: p.read_bytes() for p in files}
    assert now == files
    assert verify(folder / "store") == []
    assert ask(folder, "SELECT count(DISTINCT key), max(abs(difference)) FROM repeats") == [
        (len(planned.tasks), 0.0)
    ]
    kinds = ask(folder, "SELECT DISTINCT kind FROM repeats ORDER BY 1")
    assert kinds == [("barrier",), ("mask",), ("run",)]
    assert ask(folder, "SELECT DISTINCT first_launch = second_launch FROM repeats") == [(False,)]
    [(masks,)] = ask(folder, "SELECT count(*) FROM repeats WHERE field = 'moved'")
    assert masks == sum(task.kind == "mask" for task in planned.tasks.values())


def test_a_difference_is_kept_with_both_provenances_and_is_an_alarm(folder: Path) -> None:
    store = folder / "store"
    query = "SELECT run_key, mask_key FROM trials WHERE method = '{}' ORDER BY trial LIMIT 1"
    [(run, _)], [(_, mask)] = (ask(folder, query.format(method)) for method in ("snip", "random"))
    row = results.find(store, run)
    evals = [{**e, "loss": e["loss"] + (e["step"] == 8) / 4} for e in row["evals"]]
    (store / layout.result(run)).unlink()
    commit(store, {**row, "evals": evals, "worker": "elsewhere:7"})
    kept = artifacts.read_mask(store, mask)
    name = next(iter(kept))
    kept[name] = kept[name][:, ::-1].copy()
    artifacts.write_mask(store, mask, kept)
    before = outcome(store)
    told = tombola("run", "tiny.yaml", "--executor", "inline", "--repeat-fraction", 1, cwd=folder)
    assert told.returncode == 1, told.stdout + told.stderr
    assert f"determinism alarm: run {run[:12]} came out differently" in told.stdout
    assert "elsewhere:7" in told.stdout
    assert "loss of step 8, test" in told.stdout
    assert f"mask {mask[:12]}" in told.stdout
    assert outcome(store) == before
    apart = ask(
        folder,
        "SELECT key, field, place, round(difference, 9), first_worker FROM repeats"
        " WHERE difference <> 0 AND kind = 'run' ORDER BY place",
    )
    assert [row for row in apart if row[0] == run] == [
        (run, "loss", f"step 8, {split}", -0.25, "elsewhere:7") for split in ("test", "train")
    ]
    [(moved,)] = ask(folder, f"SELECT second FROM repeats WHERE key = '{mask}' AND field = 'moved'")
    assert moved > 0
    assert ask(folder, "SELECT DISTINCT status FROM trials") == [("done",)]


def test_what_cannot_be_done_again_is_left_out(folder: Path) -> None:
    for path in (folder / "store" / layout.MASKS).rglob("*.safetensors"):
        path.unlink()
    asked = study.read(folder / "tiny.yaml")
    planned = study.repeats_for(asked, folder / "store", 1.0)
    assert {t.kind for t in planned.tasks.values()} == {"run", "mask", "barrier"}
    assert all(t.value.mask is None for t in planned.tasks.values() if t.kind == "run")


def test_a_repeated_launch_says_so_and_publishes_the_table(folder: Path) -> None:
    told = tombola("run", "tiny.yaml", "--executor", "inline", "--repeat-fraction", 0.5, cwd=folder)
    assert told.returncode == 0, told.stderr
    assert "finished tasks are repeated" in told.stdout
    with duckdb.connect(str(folder / "store" / layout.DATABASE), read_only=True) as client:
        [(keys,)] = client.execute("SELECT count(DISTINCT key) FROM repeats").fetchall()
    assert f"{keys} of {keys} came out the same" in told.stdout
    refused = tombola("run", "tiny.yaml", "--repeat-fraction", 2, cwd=folder)
    assert refused.returncode == 2
