"""Progress of a launch reported through the store: `status` shows what the live view shows."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.executors.inline import InlineExecutor
from orchestrator.node import pack
from orchestrator.running import launch, study
from orchestrator.running.launch import Progress
from orchestrator.running.progress import sentence
from tests.support.small import write_sweep
from tombola.cli import app
from tombola.store import beacon, layout
from tombola.store.beacon import Beacon, forget_gone, heard
from tombola.store.publish import open_store
from tombola.store.verify import verify

NUMBERS = {
    **dict.fromkeys(("settled", "total", "running", "steps", "all_steps"), 7),
    **dict.fromkeys(("elapsed", "planned", "least", "most"), 70.0),
}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return open_store(tmp_path / "store", create=True)


def status(store: Path) -> str:
    ended = CliRunner().invoke(app, ["status", "--store", str(store)])
    assert ended.exit_code == 0, ended.output
    return ended.output


def test_status_says_what_the_live_view_says_while_a_training_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack, "REPORT_SECONDS", 0.0)
    monkeypatch.setattr(beacon, "TELL_SECONDS", 0.0)
    monkeypatch.setattr(beacon, "_SHARE", 1e9)
    path = write_sweep(tmp_path, grids=[{"method": "imp", "levels": [1]}])
    seen: list[str] = []

    def observe(progress: Progress) -> None:
        if progress.now and progress.now.steps in (5, 17):
            seen.append(sentence(progress.now))
            assert seen[-1] in status(tmp_path / "store")

    study.run(study.read(path), tmp_path / "store", InlineExecutor(), observe=observe)
    assert ["5/24 iterations" in seen[0], "17/24 iterations" in seen[1]] == [True, True]
    assert heard(tmp_path / "store") == []
    assert "iterations" not in status(tmp_path / "store")


def test_what_a_killed_launch_told_is_forgotten(store: Path) -> None:
    Beacon(store, "dead").tell(NUMBERS)
    path = store / layout.progress("dead")
    told = json.loads(path.read_bytes())
    assert [one.launch for one in heard(store)] == ["dead"]
    old = datetime.now(UTC) - timedelta(seconds=2 * beacon.STALE_SECONDS)
    path.write_text(json.dumps({**told, "told_at": old.isoformat()}))
    assert heard(store) == []
    assert path.exists()
    Beacon(store, "new").tell(NUMBERS)
    assert not path.exists()
    assert [one.launch for one in heard(store)] == ["new"]


def test_what_is_told_often_is_written_seldom(store: Path) -> None:
    one = Beacon(store, "one")
    one.tell(NUMBERS)
    one.tell({**NUMBERS, "settled": 8})
    assert heard(store)[0].numbers["settled"] == 7
    one.out()
    one.out()
    assert heard(store) == []


def test_a_store_that_is_full_or_away_ends_no_launch(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(beacon, "publish", full)
    Beacon(store, "one").tell(NUMBERS)
    assert heard(store) == []


BAD = {
    "no JSON": b"\xff\x00",
    "deep": b"[" * 100_000,
    "no time": b"{}",
    "a time of no zone": b'{"told_at": "2026-01-01"}',
    "no numbers": b'{"told_at": "2999-01-01T00:00:00+00:00", "settled": "[/x]"}',
    "endless": b'{"told_at": "2999-01-01T00:00:00+00:00", "settled": 1, "total": 2, "running": 0, '
    b'"steps": 0, "all_steps": 0, "elapsed": Infinity, "planned": 1e999}',
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_what_no_launch_told_is_left_out(content: bytes, store: Path) -> None:
    path = store / layout.progress("x")
    path.parent.mkdir()
    path.write_bytes(content)
    assert "x:" not in status(store)
    forget_gone(store)
    assert verify(store) == []
    assert launch.Progress(0).now is None
