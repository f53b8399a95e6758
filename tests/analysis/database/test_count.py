"""Counting a sweep reads keys only, and agrees with a full connection."""

import re
from pathlib import Path

import pytest
from rich.console import Console

from analysis.database.connection import connect, count
from tests.support.build_store import (
    key_of,
    mask_row,
    note,
    run_row,
    trial,
    write_live,
    write_segment,
    write_sweep,
)
from tombola.cli.views.status import print_status
from tombola.errors import StoreError
from tombola.store import layout
from tombola.store.compact import compact
from tombola.store.publish import open_store

COUNTS = "SELECT sweep, status, count(*) FROM trials GROUP BY ALL ORDER BY ALL"
RUNS = [key_of("run", n) for n in range(6)]
MASKS = [key_of("mask", n) for n in range(6)]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Build a trial of each kind: done (live, compacted, both), failed, blocked."""
    store = open_store(tmp_path / "store", create=True)
    asked = [trial(run, mask_key=mask) for run, mask in zip(RUNS, MASKS, strict=True)]
    asked.append(trial(RUNS[0], barrier_key=key_of("barrier")))
    asked.append(trial(RUNS[0], graphs_key=key_of("graphs")))
    asked.append({**trial(RUNS[0]), "run_key": None, "mask_key": MASKS[1]})
    write_sweep(store, "one", asked[:2], registered_at="2025-01-01T00:00:00.000000")
    write_sweep(store, "one", asked, revision="r2")
    write_sweep(store, "two", asked[3:4])
    rows = [run_row(RUNS[n]) for n in range(4)] + [mask_row(MASKS[n], 0.5) for n in range(3)]
    write_segment(store, "a", rows[:2] + rows[4:6])
    write_segment(store, "b", rows[1:3] + rows[5:])  # two compactions at once
    for row in (rows[0], rows[3]):
        write_live(store, row)
    write_live(store, run_row(key_of("barrier")))
    when = [f"2026-01-01T00:00:{second:02}.000000" for second in range(10)]
    note(
        store,
        {"event": "failed", "key": MASKS[3], "noted_at": when[0], "message": "old"},
        {"event": "dispatched", "key": MASKS[3], "noted_at": when[1]},
        {"event": "failed", "key": MASKS[4], "noted_at": when[2], "message": "no room"},
        {"event": "blocked", "key": RUNS[5], "noted_at": when[3]},
        {"event": "finished", "key": RUNS[0], "noted_at": when[4]},
    )
    return store


def status(connection: object) -> str:
    console = Console(width=120)
    with console.capture() as said:
        print_status(console, connection, None)
    return re.sub(r"last heard of [\d,]+ s ago", "", said.get())


def test_it_counts_what_a_whole_connection_counts(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tombola.store.journal.ENOUGH", 1)
    expected = [("one", "blocked", 1), ("one", "done", 5), ("one", "failed", 1)]
    expected += [("one", "pending", 2), ("two", "pending", 1)]
    for prepare in (lambda _: None, compact):  # the journal is folded, and so on
        prepare(store)
        with count(store) as few, connect(store) as whole:
            assert few.execute(COUNTS).fetchall() == expected
            assert whole.execute(COUNTS).fetchall() == expected
            assert status(few) == status(whole)
            assert "1 tasks finished, 1 dispatched, 1 failed, 1 blocked" in status(few)
            assert "no room" in status(few)


def test_where_nothing_failed_a_folded_journal_says_as_much_in_four_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tombola.store.journal.ENOUGH", 1)
    store = open_store(tmp_path / "store", create=True)
    write_sweep(store, "one", [trial(run) for run in RUNS])
    events = ("dispatched", "finished", "dispatched")
    when = [f"2026-01-01T00:00:0{second}.000000" for second in range(3)]
    both = zip(events, when, strict=True)
    note(
        store, *({"event": e, "key": RUNS[n // 2], "noted_at": t} for n, (e, t) in enumerate(both))
    )
    compact(store)
    assert not list((store / layout.JOURNAL).rglob("*.jsonl"))
    with count(store) as few, connect(store) as whole:
        assert status(few) == status(whole)
        assert "1 tasks finished, 1 dispatched, 0 failed" in status(few)


def test_it_opens_no_live_result_and_names_a_segment_that_is_damaged(store: Path) -> None:
    for path in (store / layout.LIVE).rglob("*.parquet"):
        path.write_bytes(b"")
    with count(store) as few, count(store) as again:
        assert few.execute(COUNTS).fetchall() == again.execute(COUNTS).fetchall()
    segment = store / layout.segment("tasks", "a")
    segment.write_bytes(segment.read_bytes()[:-9])
    with pytest.raises(StoreError, match=r"tasks-a\.parquet is damaged"):
        count(store)
