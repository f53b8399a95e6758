"""Journals: parts and the tables that they are folded into say the same, each event once."""

import json
from pathlib import Path

import pytest

from analysis import results as reading
from orchestrator.store import journal, layout
from orchestrator.store.compact import compact
from orchestrator.store.files import open_store
from tests.analysis.build_store import note


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(journal, "ENOUGH", 1)
    return open_store(tmp_path / "store", create=True)


def events(part: int, count: int = 5) -> list[dict[str, object]]:
    return [
        {"noted_at": f"2026-01-01T00:{part:02}:{n:02}.000001", "event": "finished", "key": f"{n}"}
        for n in range(count)
    ]


def asked(store: Path) -> list[tuple[object, ...]]:
    with reading.connect(store) as connection:
        return connection.execute("SELECT * FROM attempts ORDER BY ALL").fetchall()


def test_folded_parts_say_what_they_said(store: Path) -> None:
    for part in range(3):
        note(store, *events(part), part=part)
    before = asked(store)
    assert len(before) == 15
    compact(store)
    assert not list(store.rglob("*.jsonl"))
    assert asked(store) == before
    note(store, *events(3), part=3)
    assert len(asked(store)) == 20
    compact(store)
    assert len(asked(store)) == 20
    names = [path.name for path in sorted((store / layout.JOURNAL / "L1").iterdir())]
    assert names == ["000000-000002.parquet", "000003-000003.parquet"]


def test_a_part_that_is_still_there_is_seen_once(store: Path) -> None:
    parts = {note(store, *events(part), part=part): part for part in range(3)}
    content = {path: path.read_bytes() for path in parts}
    before = asked(store)
    compact(store)
    for path in list(content)[:2]:
        path.write_bytes(content[path])
    assert asked(store) == before
    table = next((store / layout.JOURNAL).rglob("*.parquet"))
    table.with_name("000000-000001.parquet").write_bytes(table.read_bytes())
    assert asked(store) == before, "two compactions at once: the table that holds more counts"


def test_what_cannot_be_read_stays_and_the_rest_is_read(store: Path) -> None:
    path = note(store, *events(0), part=0)
    path.write_text(path.read_text() + '{"torn')
    compact(store)
    assert path.exists()
    assert len(asked(store)) == 5


def test_a_failure_that_was_folded_is_a_failure_still(store: Path) -> None:
    failed = {"noted_at": "2026-01-01T01:00:00.000000", "event": "failed", "key": "k"}
    note(store, *events(0), failed)
    compact(store)
    with reading.connect(store) as connection:
        assert connection.execute("FROM stored.troubled").fetchall() == [("k", "failed")]
    note(store, {**failed, "noted_at": "2026-01-01T02:00:00.000000", "event": "dispatched"}, part=1)
    with reading.connect(store) as connection:
        assert connection.execute("FROM stored.troubled").fetchall() == []


def test_small_journals_are_left_as_they_are(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", create=True)
    path = note(store, *events(0))
    compact(store)
    assert json.loads(path.read_text().splitlines()[0])["key"] == "0"
