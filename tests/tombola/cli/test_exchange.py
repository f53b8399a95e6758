"""Several stores: import, compare and export by the real command."""

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from orchestrator.executors.inline import InlineExecutor
from orchestrator.maintenance import merge
from orchestrator.running import study
from tests.support.commit import commit
from tests.support.small import outcome, tombola, write_sweep
from tombola.errors import DamagedFile
from tombola.store import layout, results
from tombola.store.compact import compact
from tombola.store.publish import open_store
from tombola.store.verify import verify

GRIDS: dict[str, list[dict[str, Any]]] = {
    "left": [{"method": "snip", "levels": [2, 5]}],
    "right": [{"method": "imp", "levels": [2], "rewind_step": 3}, {"method": "snip", "levels": 5}],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build two stores that share the dense run and a ticket."""
    folder = tmp_path_factory.mktemp("made")
    for name, grids in GRIDS.items():
        asked = study.read(write_sweep(folder, name=name, grids=grids))
        assert not study.run(asked, folder / f"of_{name}", InlineExecutor()).failures
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "work"))


def rewrite(store: Path, key: str, **changes: Any) -> None:
    """Change a result as if another machine had computed it."""
    row = results.find(store, key)
    (store / layout.result(key)).unlink()
    commit(store, {**row, **changes})


def mask_of(store: Path, method: str) -> str:
    for path in layout.published(store / layout.LIVE, ".parquet"):
        row = results.read_row(path)
        if row["kind"] == "mask" and json.loads(row["value"])["score"]["kind"] == method:
            return str(row["key"])
    raise AssertionError(method)


@pytest.mark.parametrize("compacted", [False, True])
def test_an_imported_store_answers_what_it_answered(folder: Path, compacted: bool) -> None:
    both = outcome(folder / "of_left") | outcome(folder / "of_right")
    if compacted:
        compact(folder / "of_right")
    told = tombola("import", "of_right", "--store", "of_left", cwd=folder)
    assert told.returncode == 0, told.stderr
    assert "4 results" in told.stdout
    assert "3 were here already and agree" in told.stdout
    assert verify(folder / "of_left") == []
    planned, _ = study.plan_for(study.read(folder / "right.yaml"), folder / "of_left")
    assert planned.tasks == {}
    for key, row in both.items():
        found = results.find(folder / "of_left", key)
        assert results.result_digest(found) == results.result_digest(row)
    ours, theirs = (
        {p.relative_to(s) for p in s.rglob("*.safetensors")}
        for s in (folder / "of_left", folder / "of_right")
    )
    assert theirs <= ours
    again = tombola("import", "of_right", "--store", "of_left", cwd=folder)
    assert "imported 0 results, 0 masks, 0 states, 0 sweeps" in again.stdout


def test_a_store_imported_into_an_empty_one_is_that_store(folder: Path) -> None:
    store = open_store(folder / "new", create=True)
    merged = merge.merge(store, folder / "of_left")
    assert (merged.agreed, merged.alarms) == (0, [])
    assert results.digests(store) == results.digests(folder / "of_left")
    assert verify(store) == []


def test_a_result_that_differs_is_an_alarm_and_nothing_on_it_is_taken(folder: Path) -> None:
    """The dense run of IMP's mask is known here, with other weights kept."""
    left, right = folder / "of_left", folder / "of_right"
    mask = mask_of(right, "magnitude")
    row = results.find(right, mask)
    commit(left, {**row, "kept": row["kept"] + 1, "worker": "elsewhere:1"})
    before = results.find(left, mask)
    told = tombola("import", "of_right", "--store", "of_left", cwd=folder)
    assert told.returncode == 1
    assert f"mask {mask[:12]}" in told.stderr
    assert f"kept: {row['kept'] + 1} and {row['kept']}" in told.stderr
    assert "elsewhere:1" in told.stderr
    assert "results that depend on one that differs" in told.stdout
    assert results.find(left, mask) == before
    assert not (left / layout.mask(mask)).exists()
    planned, _ = study.plan_for(study.read(folder / "right.yaml"), left)
    assert len(planned.tasks) == 4, "the masks and runs above it are not taken over"


def test_damage_in_the_other_store_is_named_and_not_taken(folder: Path) -> None:
    path = next((folder / "of_right" / layout.MASKS).rglob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-1])
    told = tombola("import", "of_right", "--store", "new", cwd=folder)
    assert told.returncode == 2
    assert path.name in told.stderr
    assert verify(folder / "new") == []


def test_a_row_that_was_altered_is_not_taken(folder: Path) -> None:
    right = folder / "of_right"
    path = next((right / layout.LIVE).rglob("*.parquet"))
    content, whole, intact = path.read_bytes(), results.digests(right), 0
    for position in range(0, len(content), 97):
        path.write_bytes(
            content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]
        )
        new = open_store(folder / f"new{position}", create=True)
        with suppress(DamagedFile):
            merge.merge(new, right)
            intact += 1
        assert verify(new) == []
        assert results.digests(new).items() <= whole.items()
    assert intact < position / 97 / 4, "most flips are noticed; the others change nothing"


def test_two_stores_that_agree_and_two_that_do_not(folder: Path) -> None:
    same = tombola("diff", "of_left", "of_right", cwd=folder)
    assert same.returncode == 0, same.stderr
    assert "3 results are in both and agree" in same.stdout
    assert "2 results only in of_left" in same.stdout
    assert "4 results only in of_right" in same.stdout
    run = next(k for k, row in outcome(folder / "of_left").items() if row["kind"] == "run")
    evals = results.find(folder / "of_left", run)["evals"]
    shutil.copytree(folder / "of_left", folder / "copy")
    evals[3] = {**evals[3], "loss": 9.0}
    rewrite(folder / "copy", run, evals=evals)
    told = tombola("diff", "of_left", "copy", cwd=folder)
    assert told.returncode == 1
    place = f"step {evals[3]['step']}, {evals[3]['split']}"
    assert f"run {run[:12]}" in told.stdout
    assert f"loss of {place}" in told.stdout
    assert "4 results are in both and agree" in told.stdout


def test_two_sweeps_of_a_store(folder: Path) -> None:
    recipe = {"steps": 12, "batch_size": 64, "lr": 0.1, "evaluate_every": 6}
    for name, changes in {"a": {}, "b": {"recipe": recipe}}.items():
        grids = [{"method": "snip", "levels": [2] if name == "a" else [2, 5]}]
        path = write_sweep(folder, name=name, grids=grids, eval=["test"], **changes)
        study.run(study.read(path), folder / "store", InlineExecutor())
    told = tombola("diff", "left", "a", "--store", "of_left", cwd=folder)
    assert (told.returncode, "no sweep 'a'" in told.stderr) == (2, True)
    told = tombola("diff", "a", "b", cwd=folder)
    assert told.returncode == 0, told.stderr
    assert "0 trials are in both" in told.stdout
    assert "2 trials only in a" in told.stdout
    assert "3 trials only in b" in told.stdout
    assert "2 trials have the same labels in both" in told.stdout


def test_export_by_the_command(folder: Path) -> None:
    told = tombola("export", "left", "--to", "left.csv", "--store", "of_left", cwd=folder)
    assert told.stdout.split() == ["left.csv", "left.dictionary.csv"]
    told = tombola("export", "--all", "--to", "all.duckdb", "--store", "of_left", cwd=folder)
    assert told.stdout.split() == ["all.duckdb"]
    for arguments in ((), ("left", "--all")):
        told = tombola("export", *arguments, "--to", "x.csv", "--store", "of_left", cwd=folder)
        assert told.returncode == 2
        assert "name a sweep, or --all" in told.stderr
