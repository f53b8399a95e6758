"""SQL tables of stores built from the schema: unusual states, exact numbers, damage."""

import threading
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from analysis.database import export, views
from analysis.database.connection import EXAMPLES, TABLES, connect, describe, figures_of, scanning
from tests.support.build_store import (
    Study,
    key_of,
    mask_row,
    note,
    run_row,
    trial,
    write_live,
    write_segment,
    write_sweep,
)
from tombola.errors import StoreError
from tombola.store import arrow, layout


def ask(store: Path, sql: str) -> list[tuple[object, ...]]:
    with connect(store) as connection:
        return connection.execute(sql).fetchall()


def read_all(store: Path) -> None:
    for table in TABLES:
        ask(store, f"FROM {table}")


# ---------------------------------------------------------------- types and comments


@pytest.mark.parametrize("folders", [(), layout.FOLDERS])
def test_an_empty_store_has_typed_empty_tables(tmp_path: Path, folders: tuple[str, ...]) -> None:
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    with connect(tmp_path) as connection:
        for table in TABLES:
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
        for example in EXAMPLES:
            assert connection.execute(example).fetchall() in ([], [(0,)])
        for table, declared in views._DECLARED.items():
            found = connection.sql(f"FROM {table}").to_arrow_table().schema
            for field in declared:
                assert found.field(field.name).type == field.type, (table, field.name)


def test_every_column_is_described_with_a_meaning(tmp_path: Path) -> None:
    with connect(tmp_path) as connection:
        described = describe(connection)
    assert all(comment for _, _, _, comment in described)
    assert ("evals", "loss", "DOUBLE", "mean cross-entropy, nats") in described
    assert list(dict.fromkeys(table for table, *_ in described)) == [*TABLES, "macros"]


def test_a_column_that_an_older_version_did_not_write_is_null(tmp_path: Path) -> None:
    path = write_live(tmp_path, run_row(key_of(1)))
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["evaluation", "gang"]), path)
    assert ask(tmp_path, "SELECT evaluation, gang, kind FROM tasks") == [(None, None, "run")]


def test_a_column_that_every_version_wrote_is_not_missing_in_silence(tmp_path: Path) -> None:
    path = write_live(tmp_path, run_row(key_of(1)))
    pq.write_table(pq.read_table(path).drop_columns(["torch"]), path)
    with pytest.raises(StoreError, match="torch"):
        ask(tmp_path, "SELECT torch FROM tasks")


# ---------------------------------------------------------------- trials


def test_a_trial_is_done_when_its_run_and_its_mask_are(tmp_path: Path) -> None:
    keys = {name: key_of(name) for name in ("both", "no mask", "no run", "dense")}
    masks = {name: key_of("mask", name) for name in keys}
    trials = [trial(keys[name], mask_key=masks[name]) for name in ("both", "no mask", "no run")]
    write_sweep(tmp_path, "s", [*trials, trial(keys["dense"], method="dense")])
    for name in ("both", "no mask", "dense"):
        write_live(tmp_path, run_row(keys[name]))
    for name in ("both", "no run"):
        write_live(tmp_path, mask_row(masks[name], 0.5))
    statuses = ask(tmp_path, "SELECT status FROM trials ORDER BY trial")
    assert statuses == [("done",), ("pending",), ("pending",), ("done",)]
    assert ask(tmp_path, "SELECT trials, done FROM sweeps") == [(4, 2)]


def test_the_latest_event_of_run_or_mask_says_why_a_trial_is_not_done(tmp_path: Path) -> None:
    def at(second: int, event: str, key: str, **more: object) -> dict[str, object]:
        return {"noted_at": f"2026-01-01T00:00:{second:02}", "event": event, "key": key, **more}

    keys = [key_of(n) for n in range(5)]
    masks = [key_of("mask", n) for n in range(5)]
    write_sweep(tmp_path, "s", [trial(k, mask_key=m) for k, m in zip(keys, masks, strict=True)])
    note(
        tmp_path,
        at(1, "dispatched", keys[0]),
        at(2, "failed", keys[0], failure="OutOfMemory", attempt=2),
        at(1, "failed", masks[1]),
        at(2, "blocked", keys[1]),
        at(2, "blocked", keys[2]),
        at(9, "dispatched", keys[3]),
        launch="L1",
    )
    note(tmp_path, at(3, "failed", keys[3]), at(1, "finished", keys[4]), launch="L2")
    statuses = [status for (status,) in ask(tmp_path, "SELECT status FROM trials ORDER BY trial")]
    assert statuses == ["failed", "failed", "blocked", "pending", "pending"]
    row = ask(tmp_path, "SELECT failure, attempt, noted_at FROM attempts WHERE failure IS NOT NULL")
    assert row[0][:2] == ("OutOfMemory", 2)


def test_unreadable_lines_of_a_journal_are_skipped(tmp_path: Path) -> None:
    path = note(tmp_path, {"noted_at": "2026-01-01T00:00:00", "event": "failed", "key": "k"})
    good = path.read_bytes()
    bad = b'[1]\n"x"\n\xff\xfe\n{"noted_at": 3}\n'
    wrong = b'{"noted_at": "2026-01-01T00:00:01", "attempt": "third"}\n'
    path.write_bytes(good + bad + wrong + good[:-20])
    assert ask(tmp_path, "SELECT event, key, launch FROM attempts") == [("failed", "k", "L1")]


def test_metrics_of_a_trial_are_those_of_its_run_and_of_its_dense_run(tmp_path: Path) -> None:
    run, dense = key_of("run"), key_of("dense")
    evals = [
        {"step": step, "split": split, "loss": loss, "accuracy": accuracy}
        for step, split, loss, accuracy in (
            (0, "test", 2.0, 0.1),
            (50, "test", 0.3, 0.9),
            (100, "test", 0.4, 0.8),
            (100, "train", 0.2, 0.95),
            (50, "train", 0.6, 0.99),
        )
    ]
    shared = {"requested_density": 0.2, "mask_key": key_of("m")}
    write_sweep(tmp_path, "s", [trial(run, **shared), trial(run, **shared), trial(key_of("no"))])
    write_live(tmp_path, run_row(run, density=0.2, evals=evals, diverged_at=7, collapsed_layers=2))
    write_live(tmp_path, run_row(dense, 0.85))
    write_live(tmp_path, mask_row(key_of("m"), 0.2, kept=[10, 30]))
    rows = ask(
        tmp_path,
        "SELECT accuracy, loss, train_accuracy, train_loss, best_accuracy, dense_accuracy,"
        " round(delta, 9), sparsity, compression, density, diverged, collapsed_layers, seconds"
        " FROM trials ORDER BY trial",
    )
    answered = (0.8, 0.4, 0.95, 0.2, 0.9, 0.85, -0.05, 0.8, 5.0, 0.2, True, 2, 1.0)
    assert rows[:2] == [answered, answered], "trials may share a run"
    assert rows[2][0] is None
    assert rows[2][10] is None, "whether it diverged is not known yet"
    assert ask(tmp_path, "SELECT position, kept, density FROM layers ORDER BY ALL") == [
        (0, 10, 0.1),
        (1, 30, 0.3),
    ]


def test_trials_are_of_the_latest_revision_and_sweeps_of_all(tmp_path: Path) -> None:
    one, two = key_of(1), key_of(2)
    early, late = "2026-01-01T00:00:00", "2026-01-02T00:00:00"
    write_sweep(tmp_path, "s", [trial(one), trial(two)], revision="z", registered_at=early)
    write_sweep(tmp_path, "s", [trial(two, lr=0.5)], revision="a", registered_at=late)
    write_sweep(tmp_path, "other", [trial(one)], figures=["ablations"])
    write_live(tmp_path, run_row(one))
    assert ask(tmp_path, "SELECT sweep, lr, run_key FROM trials ORDER BY ALL") == [
        ("other", 0.1, one),
        ("s", 0.5, two),
    ]
    columns = "sweep, revision, current, trials, done"
    assert ask(tmp_path, f"SELECT {columns} FROM sweeps ORDER BY ALL") == [
        ("other", "r1", True, 1, 1),
        ("s", "a", True, 1, 0),
        ("s", "z", False, 2, 1),
    ]
    with connect(tmp_path) as connection:
        assert figures_of(connection, "other") == ["ablations"]
        with pytest.raises(StoreError, match="no sweep 'x'; it has other, s"):
            figures_of(connection, "x")


# ---------------------------------------------------------------- each row once


def test_a_live_row_that_a_segment_holds_is_seen_once(tmp_path: Path) -> None:
    rows = [run_row(key_of(n)) for n in range(6)] + [mask_row(key_of("m"), 0.5, [1, 2])]
    for row in rows:
        write_live(tmp_path, row)
    write_segment(tmp_path, "a", rows[:3] + rows[6:])
    counts = "SELECT (SELECT count(*) FROM tasks), (SELECT count(*) FROM evals),"
    counts += " (SELECT count(*) FROM layers), (SELECT count(DISTINCT key) FROM tasks)"
    assert ask(tmp_path, counts) == [(7, 24, 2, 7)]
    write_segment(tmp_path, "b", rows[2:])  # two compactions at the same time
    assert ask(tmp_path, counts) == [(7, 24, 2, 7)]


def test_files_that_are_not_published_are_not_seen(tmp_path: Path) -> None:
    row = run_row(key_of(1))
    path = write_live(tmp_path, row)
    path.rename(path.with_name(f".{path.name}.host.1.0.tmp"))
    write_segment(tmp_path, "a", [row])
    (tmp_path / layout.segment("tasks", "a")).unlink()  # `tasks` comes last: not there yet
    for table in ("tasks", "evals"):
        assert ask(tmp_path, f"FROM {table}") == []


def test_a_file_that_vanishes_between_listing_and_reading_is_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [run_row(key_of(n)) for n in range(3)]
    paths = [write_live(tmp_path, row) for row in rows]
    listing, calls = arrow.listing, []

    def compacted_behind(root: Path) -> arrow.Listing:
        listed = listing(root)
        calls.append(listed)
        if len(calls) == 1:
            write_segment(tmp_path, "a", rows)
            for path in paths:
                path.unlink()
        return listed

    monkeypatch.setattr(arrow, "listing", compacted_behind)
    assert len(ask(tmp_path, "FROM tasks")) == 3
    assert len(calls) == 2


def test_a_store_whose_files_keep_vanishing_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = arrow.Listing((tmp_path / "gone.parquet",), (), (), ())
    monkeypatch.setattr(arrow, "listing", lambda root: gone)
    with pytest.raises(StoreError, match="files vanish"):
        connect(tmp_path)


def test_readers_see_every_row_once_while_a_writer_and_a_compactor_work(tmp_path: Path) -> None:
    committed: list[str] = []
    writing = threading.Event()
    writing.set()

    def write_and_compact() -> None:
        waiting = []
        for n in range(150):
            row = run_row(key_of(n))
            waiting.append((row, write_live(tmp_path, row)))
            committed.append(row["key"])
            if len(waiting) == 25:
                write_segment(tmp_path, f"s{n}", [row for row, _ in waiting])
                for _, path in waiting:
                    path.unlink()
                waiting.clear()
        writing.clear()

    writer = threading.Thread(target=write_and_compact)
    writer.start()
    looks = 0
    while writing.is_set() or looks < 3:
        before = set(committed)
        with connect(tmp_path) as connection:
            keys = [key for (key,) in connection.execute("SELECT key FROM tasks").fetchall()]
            runs = connection.execute("SELECT run_key, count(*) FROM evals GROUP BY 1").fetchall()
        assert len(keys) == len(set(keys))
        assert before <= set(keys)
        assert dict(runs) == dict.fromkeys(keys, 4)
        looks += 1
    writer.join()
    assert len(ask(tmp_path, "FROM tasks")) == 150


# ---------------------------------------------------------------- what can be wrong


def test_a_store_that_is_missing_or_a_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist; --store names"):
        connect(tmp_path / "no")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="is a file; --store names"):
        connect(tmp_path / "file")


@pytest.mark.parametrize(
    "relative",
    [
        layout.result(key_of(1)),
        *(layout.segment(table, "a") for table in ("tasks", "evals", "layers")),
        layout.sweep("s", "r1"),
    ],
)
@pytest.mark.parametrize("how", ["truncated", "empty", "altered"])
def test_a_damaged_file_is_named_with_the_way_out(tmp_path: Path, relative: str, how: str) -> None:
    write_live(tmp_path, run_row(key_of(1)))
    write_segment(tmp_path, "a", [run_row(key_of(2)), mask_row(key_of(3), 0.5, [1, 2, 3])])
    write_sweep(tmp_path, "s", [trial(key_of(2))])
    path = tmp_path / relative
    content = bytearray(path.read_bytes())
    if how == "altered":
        column = pq.ParquetFile(path).metadata.row_group(0).column(0)
        begins = column.dictionary_page_offset or column.data_page_offset
        content[begins + column.total_compressed_size - 1] ^= 0xFF  # of its last page
    path.write_bytes({"truncated": content[:-9], "empty": b"", "altered": content}[how])
    with pytest.raises(StoreError) as caught, scanning(tmp_path):
        read_all(tmp_path)
    assert str(path) in str(caught.value)
    assert "tombola verify --repair" in str(caught.value)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- results.duckdb


def test_the_published_database_has_the_same_tables_and_comments(tmp_path: Path) -> None:
    Study(lambda row: 0.9).write(tmp_path)
    write_live(tmp_path, run_row(key_of("live")))
    path = export.publish(tmp_path)
    assert export.publish(tmp_path) == path == tmp_path / layout.DATABASE
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    with connect(tmp_path) as ours, duckdb.connect(str(path), read_only=True) as theirs:
        assert describe(theirs) == describe(ours)
        for table in TABLES:
            sql = f"SELECT * FROM {table} ORDER BY ALL"
            assert theirs.execute(sql).fetchall() == ours.execute(sql).fetchall()
