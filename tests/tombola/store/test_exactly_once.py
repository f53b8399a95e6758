"""Guarantees of the store: whole files or none, one result for a key, no silent change."""

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from orchestrator.executors.inline import InlineExecutor
from orchestrator.node import worker
from orchestrator.running import study
from tests.support.commit import commit
from tests.support.small import outcome, write_sweep
from tombola.cli import app
from tombola.errors import DamagedFile, DeterminismAlarm, StoreError
from tombola.store import artifacts, layout, results, schema
from tombola.store.compact import compact
from tombola.store.publish import open_store, publish, publish_all
from tombola.store.verify import repair, verify

KEY = "ab" * 32
MASK = {"a.weight": np.array([[True, False, True]]), "b.weight": np.zeros((3, 3), dtype=bool)}
STATE = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(3, dtype=np.int64)}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return open_store(tmp_path / "store", create=True)


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    study.run(study.read(write_sweep(tmp_path)), tmp_path / "filled", InlineExecutor())
    return tmp_path / "filled"


def any_result(store: Path) -> Path:
    return next((store / layout.LIVE).rglob("*.parquet"))


def test_masks_and_states_come_back_as_they_were(store: Path) -> None:
    artifacts.write_mask(store, KEY, MASK)
    artifacts.write_state(store, KEY, 5, STATE)
    for written, read in (
        (MASK, artifacts.read_mask(store, KEY)),
        (STATE, artifacts.read_state(store, KEY, 5)),
    ):
        assert written.keys() == read.keys()
        for name in written:
            assert written[name].dtype == read[name].dtype
            assert np.array_equal(written[name], read[name])


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "swap"])
def test_a_damaged_artifact_is_never_trusted(store: Path, damage: str) -> None:
    artifacts.write_state(store, KEY, 5, STATE)
    path = store / layout.state(KEY, 5)
    content = bytearray(path.read_bytes())
    if damage == "swap":
        artifacts.write_state(store, "cd" * 32, 5, STATE)
        path.write_bytes((store / layout.state("cd" * 32, 5)).read_bytes())
    elif damage == "flip":
        content[-3] ^= 1
        path.write_bytes(content)
    else:
        path.write_bytes(content[: 0 if damage == "empty" else -5])
    with pytest.raises(DamagedFile, match=r"truncated or altered|another value"):
        artifacts.read_state(store, KEY, 5)


def test_publishing_leaves_the_old_or_the_new_file_and_nothing_else(store: Path) -> None:
    path = store / "results" / "x" / "y.bin"
    publish(path, b"old")
    publish(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in path.parent.iterdir()] == ["y.bin"]


def test_of_files_published_together_all_are_synced_before_the_first_is_moved(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = watched(monkeypatch)
    paths = [store / "results" / name for name in ("b/2", "a/1", "c/3")]
    publish_all([(path, path.name.encode()) for path in paths])
    assert done == ["", "", "", *map(str, paths)]
    assert [path.read_bytes() for path in paths] == [b"2", b"1", b"3"]


def test_of_files_published_together_none_appears_where_one_cannot_be_written(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [2]

    def full(_: int) -> None:
        left[0] -= 1
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        publish_all([(store / "masks" / name, b"kept") for name in ("x/1", "y/2", "z/3")])
    assert [path for path in (store / "masks").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("hold", [0.0, 60.0])
def test_a_tasks_artifacts_come_before_its_result_however_many_are_committed_at_once(
    hold: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = watched(monkeypatch)
    monkeypatch.setattr(worker, "HOLD_SECONDS", hold)
    path = write_sweep(tmp_path, grids=[{"method": ["random", "snip"], "levels": [2, 3, 5, 8]}])
    assert not study.run(study.read(path), tmp_path / "store", InlineExecutor()).failures
    moves = [Path(name) for name in done if name]
    results_of = {path.stem: n for n, path in enumerate(moves) if "live" in path.parts}
    masks_of = {path.stem: n for n, path in enumerate(moves) if "masks" in path.parts}
    assert len(masks_of) == 8
    assert all(place < results_of[key] for key, place in masks_of.items())
    told = "".join("r" if "/live/" in name else "m" if name else "s" for name in done)
    assert ("mmrr" in told) == bool(hold)  # two tasks' files, with no sync between


def watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record operations on files from here on: "" for a sync, the new name for a move."""
    done: list[str] = []
    sync, move = os.fsync, os.replace

    def note_sync(file: int) -> None:
        sync(file)
        done.append("")

    def note_move(old: str, new: Path) -> None:
        move(old, new)
        done.append(str(new))

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_move)
    return done


def test_a_second_equal_result_changes_nothing_and_another_one_is_an_alarm(filled: Path) -> None:
    path = any_result(filled)
    before = path.read_bytes()
    row = results.read(path).to_pylist()[0]
    commit(filled, {**row, "worker": "elsewhere:1", "seconds": 9.0})
    assert path.read_bytes() == before
    with pytest.raises(DeterminismAlarm, match=r"came out differently on elsewhere:1"):
        commit(filled, {**row, "kept": row["kept"] + 1, "worker": "elsewhere:1"})
    assert path.read_bytes() == before


def test_the_alarm_works_on_compacted_results_too(filled: Path) -> None:
    rows = [results.read(p).to_pylist()[0] for p in (filled / layout.LIVE).rglob("*.parquet")]
    compact(filled)
    for row in rows:
        commit(filled, row)
        with pytest.raises(DeterminismAlarm):
            commit(filled, {**row, "kept": row["kept"] + 1})
    assert outcome(filled) == {}, "nothing was written anew"


def test_the_inventory_is_the_same_before_and_after_compaction(filled: Path) -> None:
    before = results.inventory(filled)
    assert compact(filled) == len(before.results)
    assert results.inventory(filled) == before
    assert compact(filled) == 0
    assert verify(filled) == []


def test_unfinished_files_are_invisible(filled: Path) -> None:
    before = results.inventory(filled)
    path = any_result(filled)
    path.with_name(f".{path.name}.host.1.0.tmp").write_bytes(b"half")
    assert results.inventory(filled) == before


DAMAGES: dict[str, Any] = {
    "result truncated": (layout.LIVE, ".parquet", lambda b: b[:-20]),
    "result flipped": (layout.LIVE, ".parquet", lambda b: b.replace(b"lenet", b"levet", 1)),
    "result emptied": (layout.LIVE, ".parquet", lambda b: b""),
    "mask truncated": (layout.MASKS, ".safetensors", lambda b: b[:-1]),
    "mask flipped": (layout.MASKS, ".safetensors", lambda b: b[:-1] + bytes([b[-1] ^ 1])),
    "state truncated": (layout.STATES, ".safetensors", lambda b: b[:100]),
    "sweep truncated": (layout.SWEEPS, ".parquet", lambda b: b[:50]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_verify_finds_damage_repair_removes_it_and_a_launch_makes_it_good(
    filled: Path, tmp_path: Path, damage: str
) -> None:
    undisturbed = outcome(filled)
    folder, suffix, change = DAMAGES[damage]
    path = next(p for p in (filled / folder).rglob(f"*{suffix}"))
    path.write_bytes(change(path.read_bytes()))
    findings = verify(filled)
    assert [finding.path for finding in findings] == [path]
    repair(findings)
    assert not path.exists()
    study.run(study.read(tmp_path / "tiny.yaml"), filled, InlineExecutor())
    assert verify(filled) == []
    assert outcome(filled) == undisturbed


def test_no_flipped_bit_changes_a_result_unnoticed(filled: Path) -> None:
    path = any_result(filled)
    content = path.read_bytes()
    row = results.read(path).to_pylist()[0]
    noticed = 0
    for position in range(0, len(content), 37):
        path.write_bytes(
            content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :]
        )
        if any(finding.path == path for finding in verify(filled)):
            noticed += 1
        else:
            read = results.read(path).to_pylist()[0]
            known = {name: read.get(name) for name in schema.LIVE.names}
            assert known == row, position
    assert noticed > 50


def ended_process() -> int:
    """Return the number of a process that has ended."""
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    return int(ended.stdout)


def left_by(process: int, store: Path) -> set[Path]:
    """Build the file that a process was writing when it was killed, seconds ago."""
    path, begun = any_result(store), f"{socket.gethostname()}.{process}"
    left = {
        path.with_name(f".{path.name}.{begun}.0.tmp"),
        *(store / f".results.duckdb.{begun}.tmp{log}" for log in ("", ".wal")),
    }
    for one in left:
        one.write_bytes(b"half")
    return left


def test_a_killed_writers_file_is_found(filled: Path) -> None:
    left = left_by(ended_process(), filled)
    found = verify(filled)
    assert {finding.path for finding in found if finding.leftover} == left
    assert len(found) == len(left)


def test_what_a_living_process_writes_is_left_alone_unless_it_began_later(filled: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as alive:
        left = left_by(alive.pid, filled)
        assert verify(filled) == []
        for one in left:
            os.utime(one, (1e9, 1e9))  # long before: the number is another process's now
        assert {finding.path for finding in verify(filled)} == left
        alive.communicate(b"\n")


def test_leftovers_are_no_damage_and_the_next_launch_removes_half_made_databases(
    filled: Path, tmp_path: Path
) -> None:
    left = left_by(ended_process(), filled)
    elsewhere = filled / f".results.duckdb.another-host.{ended_process()}.tmp"
    elsewhere.write_bytes(b"half")
    invoke = CliRunner().invoke
    named = invoke(app, ["verify", "--store", str(filled)])
    assert named.exit_code == 0, named.output
    assert all(one.name in named.output for one in left)
    assert "is no damage" in named.output
    launched = ["run", str(tmp_path / "tiny.yaml"), "--store", str(filled), "--executor=inline"]
    assert invoke(app, launched).exit_code == 0
    assert {one for one in left if one.exists()} == {one for one in left if one.parent != filled}
    assert elsewhere.exists()
    assert "freed 1 files" in invoke(app, ["gc", "--delete", "--store", str(filled)]).output
    assert not any(one.exists() for one in left)


def test_what_is_no_store_is_refused_in_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(StoreError, match="is a file"):
        open_store(file)
    with pytest.raises(StoreError, match="no store at"):
        open_store(tmp_path / "missing")
