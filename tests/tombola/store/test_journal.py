"""Journals: their parts and the tables folded from them agree, each event once."""

import json
from datetime import datetime
from pathlib import Path

import pytest

from analysis.database import connection as reading
from analysis.database import sql
from tests.support.build_store import note
from tombola.errors import StoreError
from tombola.store import journal, layout
from tombola.store.clock import LaunchClock
from tombola.store.compact import compact
from tombola.store.publish import open_store
from tombola.store.verify import repair, verify


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


def test_a_launch_is_later_than_what_was_folded(store: Path) -> None:
    said = {"noted_at": "2100-01-01T00:00:00.000000", "event": "finished", "key": "k"}
    note(store, said, launch="21000101T000000Z-a")
    compact(store)
    assert not list(store.rglob("*.jsonl"))
    clock = LaunchClock(store)
    moments = [clock.now() for _ in range(1000)]
    assert moments[0] > datetime(2100, 1, 1)  # noqa: DTZ001 (UTC, as all of a store)
    assert moments == sorted(set(moments))


def test_a_table_that_is_damaged_is_named_and_repaired(store: Path) -> None:
    events = (
        {"noted_at": f"2026-01-01T00:00:00.{n:06}", "event": "finished", "key": f"{n * 7919:064x}"}
        for n in range(2000)
    )
    note(store, *events)
    compact(store)
    [table] = (store / layout.JOURNAL).rglob("*.parquet")
    content = table.read_bytes()
    table.write_bytes(content[:4000] + bytes([content[4000] ^ 1]) + content[4001:])
    with pytest.raises(StoreError, match=f"{table.name} is damaged"):
        sql.query(store, "FROM attempts")
    repair(verify(store))
    assert asked(store) == []
