"""SQL macros that queries can call besides the tables."""

from pathlib import Path

import duckdb
import pytest

from analysis.database import connection, export
from tests.support.build_store import Row, Study

REACHED = {("snip", 0.5): 0.90, ("snip", 0.1): 0.89, ("random", 0.5): 0.80, ("random", 0.1): 0.5}


def accuracy(row: Row) -> float:
    return REACHED.get((row["method"], row["requested_density"]), 0.9) + row["replicate"] / 1000


@pytest.fixture
def store(tmp_path: Path) -> Path:
    Study(accuracy, methods=("snip", "random"), replicates=(0, 1)).write(tmp_path)
    return tmp_path


def test_weights_remaining_is_a_density_in_per_cent(store: Path) -> None:
    rows = connection.connect(store).execute("SELECT weights_remaining(0.8 ** 2)").fetchall()
    assert rows == [(64.0,)]


def test_matching_is_the_sparsest_density_within_the_tolerance_of_dense(store: Path) -> None:
    query = "SELECT method, replicate, density, accuracy FROM matching('study', ?)"
    ask = connection.connect(store).execute
    tight, loose = (ask(query, [tolerance]).fetchall() for tolerance in (0.005, 0.01))
    none = [("random", 0, None, None), ("random", 1, None, None)]
    assert tight == [*none, ("snip", 0, 0.5, 0.9), ("snip", 1, 0.5, 0.901)]
    assert loose == [*none, ("snip", 0, 0.1, 0.89), ("snip", 1, 0.1, 0.891)]


def test_paired_puts_two_methods_side_by_side(store: Path) -> None:
    query = "SELECT density, replicate, round(difference, 9) FROM paired('study', 'snip', 'random')"
    rows = connection.connect(store).execute(query).fetchall()
    assert rows == [(0.1, 0, 0.39), (0.1, 1, 0.39), (0.5, 0, 0.1), (0.5, 1, 0.1)]


def test_macros_are_described_and_published(store: Path) -> None:
    described = {row[1]: row[2] for row in connection.describe(connection.connect(store))}
    assert described["matching(sweep, tolerance)"] == "TABLE"
    with duckdb.connect(str(export.publish(store)), read_only=True) as client:
        assert client.execute("SELECT count(*) FROM matching('study', 0.01)").fetchone() == (4,)
        assert len(client.execute("FROM paired('study', 'snip', 'random')").fetchall()) == 4
