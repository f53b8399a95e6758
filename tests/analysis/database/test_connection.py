"""Connections to a store: what readers see, and that they see each result once."""

import threading
from pathlib import Path

import pytest

from analysis.database import export
from analysis.database.connection import EXAMPLES, TABLES, connect, describe
from orchestrator.executors.inline import InlineExecutor
from orchestrator.running import study
from tests.support.commit import commit
from tests.support.small import TINY, write_sweep
from tombola.errors import StoreError
from tombola.store import layout, schema
from tombola.store.compact import compact
from tombola.store.publish import open_store
from tombola.store.results import read


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    asked = study.read(write_sweep(folder, replicates=2))
    assert not study.run(asked, folder / "store", InlineExecutor()).failures
    return folder


def ask(store: Path, query: str) -> list[tuple[object, ...]]:
    return connect(store).execute(query).fetchall()


def test_an_empty_store_has_every_table_typed_and_empty(tmp_path: Path) -> None:
    connection = connect(open_store(tmp_path / "store", create=True))
    for table in TABLES:
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    types = {(t, c): kind for t, c, kind, _ in describe(connection)}
    assert types["trials", "accuracy"] == "DOUBLE"
    assert types["tasks", "started_at"] == "TIMESTAMP"
    assert types["evals", "step"] == "INTEGER"
    for example in EXAMPLES:
        assert connection.execute(example).fetchall() == []


def test_every_column_has_a_meaning(tmp_path: Path) -> None:
    connection = connect(open_store(tmp_path / "store", create=True))
    bare = [f"{t}.{c}" for t, c, _, comment in describe(connection) if not comment]
    assert bare == []
    assert all(field.metadata[b"comment"] for field in schema.ATTEMPTS)


def test_trials_are_answered_by_the_last_step_on_test(filled: Path) -> None:
    rows = ask(
        filled / "store",
        """
        SELECT t.accuracy = e.accuracy, t.loss = e.loss, t.delta = t.accuracy - t.dense_accuracy,
               t.best_accuracy >= t.accuracy, abs(t.density - t.requested_density) < 1e-4, t.status
        FROM trials t JOIN evals e USING (run_key) WHERE e.step = 12 AND e.split = 'test'
        """,
    )
    assert len(rows) == 26
    assert set(rows) == {(True, True, True, True, True, "done")}


def test_trials_that_share_a_run_are_two_trials_and_one_run(filled: Path) -> None:
    [(trials, runs)] = ask(
        filled / "store",
        "SELECT count(*), count(DISTINCT run_key) FROM trials WHERE method = 'random'",
    )
    assert (trials, runs) == (8, 4)


def test_only_the_latest_revision_of_a_sweep_is_shown(tmp_path: Path, filled: Path) -> None:
    import shutil

    store = Path(shutil.copytree(filled / "store", tmp_path / "store"))
    study.register(study.read(write_sweep(tmp_path, replicates=3)), store)
    assert ask(store, "SELECT status, count(*) FROM trials GROUP BY 1 ORDER BY 1") == [
        ("done", 26),
        ("pending", 13),
    ]
    versions = "SELECT current, trials, done FROM sweeps ORDER BY registered_at"
    assert ask(store, versions) == [(False, 26, 26), (True, 39, 26)]
    study.register(study.read(write_sweep(tmp_path, replicates=2)), store)
    assert ask(store, "SELECT DISTINCT status FROM trials") == [("done",)]
    assert ask(store, "SELECT current, trials FROM sweeps ORDER BY trials")[0] == (True, 26)


def test_failed_and_blocked_trials_say_so(tmp_path: Path) -> None:
    grids = [{"method": {"snip": {"per_class": 9999}}, "levels": [1]}]
    asked = study.read(write_sweep(tmp_path, grids=grids))
    study.run(asked, tmp_path / "store", InlineExecutor())
    assert ask(tmp_path / "store", "SELECT method, status FROM trials ORDER BY trial") == [
        ("dense", "done"),
        ("snip", "failed"),
    ]
    failed = ask(tmp_path / "store", "SELECT failure, message FROM attempts WHERE event = 'failed'")
    assert failed[0][0] == "raised"
    assert "per_class takes at most" in str(failed[0][1])


def test_a_result_in_a_segment_and_still_live_is_seen_once(tmp_path: Path, filled: Path) -> None:
    import shutil

    store = Path(shutil.copytree(filled / "store", tmp_path / "store"))
    live = {p: p.read_bytes() for p in (store / layout.LIVE).rglob("*.parquet")}
    before = [ask(store, f"SELECT * FROM {t} ORDER BY ALL") for t in ("tasks", "evals", "layers")]
    compact(store)
    for path, content in list(live.items())[:7]:
        path.write_bytes(content)
    after = [ask(store, f"SELECT * FROM {t} ORDER BY ALL") for t in ("tasks", "evals", "layers")]
    assert after == before


def test_a_file_that_vanishes_between_listing_and_reading_is_found_in_its_segment(
    tmp_path: Path, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    store = Path(shutil.copytree(filled / "store", tmp_path / "store"))
    expected = ask(store, "SELECT key FROM tasks ORDER BY key")
    listing = layout.published
    live: list[Path] = []

    def list_then_compact(folder: Path, suffix: str) -> list[Path]:
        paths = list(listing(folder, suffix))
        if folder == store / layout.LIVE and not live:
            live.extend(paths)
            assert compact(store) == len(paths)
        return paths

    monkeypatch.setattr(layout, "published", list_then_compact)
    assert ask(store, "SELECT key FROM tasks ORDER BY key") == expected
    assert len(live) == len(expected)
    assert not any(path.exists() for path in live)


def test_readers_beside_a_writer_and_a_compactor_never_see_a_row_twice_or_lose_one(
    tmp_path: Path, filled: Path
) -> None:
    source = [
        read(path).to_pylist()[0] for path in (filled / "store" / layout.LIVE).rglob("*.parquet")
    ]
    store = open_store(tmp_path / "store", create=True)
    committed: list[str] = []
    problems: list[str] = []
    finished = threading.Event()

    def write() -> None:
        for number, row in enumerate(source):
            commit(store, row)
            committed.append(row["key"])
            if number % 9 == 8:
                compact(store)
        finished.set()

    def look() -> None:
        while not finished.is_set():
            known = set(committed)
            keys = [key for (key,) in ask(store, "SELECT key FROM tasks")]
            if len(keys) != len(set(keys)):
                problems.append("twice")
            if not known <= set(keys):
                problems.append("lost")

    threads = [threading.Thread(target=target) for target in (write, look, look)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(ask(store, "SELECT key FROM tasks")) == len(source)


def test_readers_write_nothing(tmp_path: Path, filled: Path) -> None:
    import shutil

    store = Path(shutil.copytree(filled / "store", tmp_path / "store"))
    before = sorted(p for p in store.rglob("*"))
    connect(store)
    assert sorted(p for p in store.rglob("*")) == before


def test_the_published_database_opens_in_any_client(tmp_path: Path, filled: Path) -> None:
    import duckdb

    path = export.publish(filled / "store")
    with duckdb.connect(str(path), read_only=True) as client:
        assert client.execute("SELECT count(*) FROM trials").fetchone() == (26,)
        comment = client.execute(
            "SELECT comment FROM duckdb_columns() WHERE table_name = 'trials'"
            " AND column_name = 'delta'"
        ).fetchone()
    assert comment == ("accuracy - dense_accuracy",)
    assert not list((filled / "store").glob(".*.tmp"))


def test_what_cannot_be_read_is_named(tmp_path: Path, filled: Path) -> None:
    import shutil

    with pytest.raises(StoreError, match="does not exist"):
        connect(tmp_path / "nothing")
    store = Path(shutil.copytree(filled / "store", tmp_path / "store"))
    path = next((store / layout.LIVE).rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(StoreError, match=f"{path.name} is damaged"):
        connect(store)


def test_a_torn_journal_line_is_left_out(tmp_path: Path, filled: Path) -> None:
    import shutil

    store = Path(shutil.copytree(filled / "store", tmp_path / "store"))
    part = next((store / layout.JOURNAL).rglob("*.jsonl"))
    lines = len(part.read_text().splitlines())
    part.write_text(part.read_text()[:-20])
    total = sum(len(p.read_text().splitlines()) for p in (store / layout.JOURNAL).rglob("*.jsonl"))
    assert lines
    assert ask(store, "SELECT count(*) FROM attempts") == [(total - 1,)]


def test_the_sweep_file_is_kept_with_its_trials(filled: Path) -> None:
    import json

    [(definition,)] = ask(filled / "store", "SELECT definition FROM sweeps")
    assert json.loads(str(definition)) == {**TINY, "replicates": 2}
