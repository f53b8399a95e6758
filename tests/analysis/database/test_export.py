"""Export of a store's tables as one file, with a description of every column."""

import csv
from pathlib import Path

import duckdb
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from analysis.database import dictionary, export
from analysis.database.connection import connect
from tests.support.build_store import Study, key_of, mask_row, run_row, trial, write_live
from tests.support.build_store import write_sweep as write_trials
from tombola.errors import StoreError


@pytest.fixture
def store(tmp_path: Path) -> Path:
    root = tmp_path / "store"
    root.mkdir()
    Study(lambda row: 0.9, methods=("snip", "random")).write(root, "first")
    Study(lambda row: 0.8, methods=("imp",), densities=(0.3,)).write(root, "second")
    return root


def test_a_sweep_as_a_database_holds_what_answers_it_and_nothing_else(
    store: Path, tmp_path: Path
) -> None:
    [path] = export.export(store, tmp_path / "out.duckdb", "second")
    with connect(store) as whole, duckdb.connect(str(path), read_only=True) as part:
        asked = "SELECT * FROM trials WHERE sweep = 'second' ORDER BY trial"
        assert part.execute("SELECT * FROM trials ORDER BY trial").fetchall() == (
            whole.execute(asked).fetchall()
        )
        keys = {key for (key,) in part.execute("SELECT key FROM tasks").fetchall()}
        answers = "SELECT unnest([run_key, mask_key]) AS key FROM trials WHERE sweep = 'second'"
        known = whole.execute(f"SELECT DISTINCT key FROM ({answers}) WHERE key IS NOT NULL")
        assert keys == {key for (key,) in known.fetchall()}
        assert part.execute("SELECT count(*) FROM evals").fetchone() == (6 * 4,)
        assert part.execute("SELECT sweep FROM sweeps").fetchall() == [("second",)]
        told = part.execute(
            "SELECT data_type, unit, meaning FROM dictionary WHERE column_name = 'delta'"
        )
        assert told.fetchall() == [("DOUBLE", "fraction", "accuracy - dense_accuracy")]


def test_what_a_sweeps_results_stand_on_comes_along(tmp_path: Path) -> None:
    run, mask, before, other = map(key_of, ("run", "mask", "before", "other"))
    write_live(tmp_path, run_row(run, value=f'{{"mask":"{mask}"}}'))
    write_live(tmp_path, mask_row(mask, 0.5, value=f'{{"of":{{"run":"{before}"}}}}'))
    write_live(tmp_path, run_row(before))
    write_live(tmp_path, run_row(other))
    write_trials(tmp_path, "one", [trial(run, mask_key=mask, dense_key=None)])
    [path] = export.export(tmp_path, tmp_path / "out.parquet", "one", "tasks")
    assert set(pq.read_table(path)["key"].to_pylist()) == {run, mask, before}


def test_parquet_says_types_units_and_meanings_by_itself(store: Path, tmp_path: Path) -> None:
    [path] = export.export(store, tmp_path / "out.parquet", None, "evals")
    table = pq.read_table(path)
    assert len(table) == 4 * (3 + 12 + 3)
    about = table.schema.field("loss").metadata
    assert (about[b"unit"], about[b"comment"]) == (b"nats", b"mean cross-entropy, nats")
    again = export.export(store, tmp_path / "again.parquet", None, "evals")[0]
    assert again.read_bytes() == path.read_bytes()


def test_csv_has_its_dictionary_beside_it(store: Path, tmp_path: Path) -> None:
    path, beside = export.export(store, tmp_path / "out.csv", "first")
    assert beside.name == "out.dictionary.csv"
    table = pa_csv.read_csv(path)
    assert len(table) == 15
    told = list(csv.DictReader(beside.open()))
    assert [one["column_name"] for one in told] == table.column_names
    assert all(one["meaning"] and one["data_type"] for one in told)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.csv", "out.dictionary.csv", "store"]


@pytest.mark.parametrize(
    ("name", "sweep", "table", "said"),
    [
        ("out.xlsx", None, "trials", r"\.duckdb, \.parquet, \.csv"),
        ("out.csv", "third", "trials", "has first, second"),
        ("out.csv", None, "scores", "no table 'scores'"),
        ("nowhere/out.csv", None, "trials", "folder that exists"),
    ],
)
def test_what_cannot_be_exported_is_said_in_a_line(
    store: Path, tmp_path: Path, name: str, sweep: str | None, table: str, said: str
) -> None:
    with pytest.raises(StoreError, match=said):
        export.export(store, tmp_path / name, sweep, table)
    assert [p.name for p in tmp_path.iterdir()] == ["store"]


def test_every_unit_is_that_of_a_column_and_no_measure_goes_without(store: Path) -> None:
    with connect(store) as connection:
        told = dictionary.entries(connection)
    columns = {one.column_name for one in told}
    assert columns >= dictionary.UNITS.keys()
    bare = {one.column_name for one in told if one.data_type == "DOUBLE" and not one.unit}
    assert bare == {
        *("compression", "speedup", "width", "lr", "momentum", "weight_decay", "imdb"),
        *("distance", "score_mean", "score_std", "value", "first", "second", "difference"),
    }
