"""Trials that differ in any setting stay apart: no mean mixes settings, no two share a name.

The store has a sweep for each way in which two trials can differ. Each place that averages or names
trials is tested with each of them.
"""

import io
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from rich.console import Console

from analysis.database.connection import EXAMPLES, connect
from analysis.database.quoting import literal
from analysis.explore.snapshot import Filter, Snapshot
from analysis.report import queries
from orchestrator.planning.planner import Task
from orchestrator.running import study
from tests.support.build_store import Row, key_of, run_row, trial, write_live, write_sweep
from tests.support.small import write_sweep as write_file
from tombola.cli.views import plan, show
from tombola.store import schema
from tombola.store.settings import METHOD, PANEL, SETTING, details, varying

WAYS = (*SETTING, *PANEL, "grid", "order", "lr_in_the_last_digits")
REACHED = {"first": 0.9, "again": 0.7, "other": 0.1}
"""Accuracies of two replicates of one setting, and of the first of them in another."""

MEANS = {0.8, 0.1}

JSON = {"options": '{"m": 8}', "network_options": '{"m": 8}', "tags": '{"study": "pilot"}'}
OTHER = {pa.string(): "adam", pa.int32(): 7, pa.float64(): 0.25, pa.bool_(): True}


def differently(way: str) -> Row:
    """Return the columns of a trial that hold such a difference; none if no column does."""
    if way == "order":
        return {}
    if way == "lr_in_the_last_digits":
        return {"lr": 0.10000000001}
    return {way: JSON.get(way, OTHER[schema.TRIALS.field(way).type])}


def rows(way: str) -> list[Row]:
    """Build a sweep of two methods, one of them in a second setting as well."""
    found = []
    for name, method in product(REACHED, ("snip", "random")):
        if method == "random" and name == "other":
            continue
        replicate = int(name == "again")
        changed = differently(way) if name == "other" else {}
        trains = "other" if changed.keys() - {*METHOD, "grid"} else ""
        dense = key_of(way, "dense", replicate, trains)
        labels = {"method": method, "replicate": replicate, "dense_key": dense, **changed}
        found.append(trial(key_of(way, method, name), **labels))
        found.append(trial(dense, **{**labels, "method": "dense", "requested_density": 1.0}))
    return found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("apart")
    for way in WAYS:
        write_sweep(folder, way, rows(way), revision=key_of(way)[:12])
        for name, method in product(REACHED, ("snip", "random")):
            write_live(folder, run_row(key_of(way, method, name), REACHED[name], 0.5))
        for row in rows(way):
            if row["method"] == "dense":
                write_live(folder, run_row(row["run_key"], 0.05))
    return folder


@pytest.fixture(scope="module")
def ask(store: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(store) as connection:
        yield connection


each_way = pytest.mark.parametrize("way", WAYS)


@each_way
def test_settings_are_in_words_in_sql_as_in_figures(
    ask: duckdb.DuckDBPyConnection, way: str
) -> None:
    where = f"FROM trials JOIN (FROM settings({literal(way)})) USING (trial) WHERE sweep = ?"
    found = ask.execute(f"SELECT * {where} AND method = 'snip' ORDER BY trial", [way])
    names = [column[0] for column in found.description or ()]
    snip = [dict(zip(names, values, strict=True)) for values in found.fetchall()]
    said = [row["setting"] for row in snip]
    differing = varying(snip)["snip"]
    assert said == [", ".join(details(row, differing)) for row in snip]
    if way not in PANEL:
        assert said[0] == said[1] != said[2]


@each_way
def test_matching_mixes_no_settings(ask: duckdb.DuckDBPyConnection, way: str) -> None:
    reached = ask.sql(f"SELECT accuracy, trials, method FROM matching({literal(way)}, 0)")
    reached = reached.filter("method = 'snip'").project("accuracy, trials")
    assert sorted(reached.fetchall()) == [(0.1, 1), (0.7, 1), (0.9, 1)]


@each_way
def test_paired_mixes_no_settings(ask: duckdb.DuckDBPyConnection, way: str) -> None:
    columns = "accuracy_a, accuracy_b, trials_a, setting_a, replicate"
    query = f"SELECT {columns} FROM paired({literal(way)}, 'snip', 'random')"
    found = ask.execute(query).fetchall()
    alike = {(0.9, 0.9, 1), (0.7, 0.7, 1)}
    other = {(0.1, 0.9, 1)} if way in (*METHOD, "grid", "order") else set()
    assert {row[:3] for row in found} == alike | other
    assert len({row[3:] for row in found}) == len(found)


@each_way
def test_queries_to_begin_with_mix_no_settings(ask: duckdb.DuckDBPyConnection, way: str) -> None:
    a_sweep = "(SELECT min(sweep) FROM sweeps)"
    first, *_, last = (one.replace(a_sweep, literal(way)) for one in EXAMPLES)
    found = ask.sql(first).filter("method = 'snip'").project("accuracy").fetchall()
    assert {round(mean, 9) for (mean,) in found} == MEANS
    replicates = ask.sql(last).filter("method = 'snip'").project("replicates").fetchall()
    assert sorted(replicates) == [(1,), (2,)]


@each_way
def test_a_report_mixes_no_settings(ask: duckdb.DuckDBPyConnection, way: str) -> None:
    shown = queries.columns(ask, way)
    table = ask.sql(queries.results(way, shown)).to_arrow_table().to_pylist()
    snip = [row for row in table if row["method"] == "snip"]
    assert {row["test accuracy (%)"] for row in snip} == {80, 10}
    listed = ask.sql(queries.trials(way, shown)).to_arrow_table().to_pylist()
    assert len(listed) == len(rows(way))


@each_way
def test_show_names_no_two_trials_alike(ask: duckdb.DuckDBPyConnection, way: str) -> None:
    numbers = [number for number, row in enumerate(rows(way)) if row["method"] == "snip"]
    lines = show._named(ask, way, numbers)
    assert len({re.sub(r"^trial \d+", "", line) for line in lines}) == len(lines) == 3


@each_way
def test_explore_names_no_two_trials_alike(seen: Snapshot, way: str) -> None:
    named = [re.sub(r"^\d+", "", one) for one in seen.trained(way, Filter(methods=["snip"]))]
    assert len(set(named)) == len(named) == 3


@pytest.fixture(scope="module")
def seen(store: Path) -> Snapshot:
    return Snapshot(store)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> study.Study:
    return study.read(write_file(tmp_path_factory.mktemp("file")))


@pytest.mark.parametrize("way", [way for way in WAYS if way not in ("grid", "order")])
def test_plan_names_no_two_trials_alike(asked: study.Study, way: str) -> None:
    labels = [row for row in rows(way) if row["method"] == "snip"]
    of: Any = SimpleNamespace(trials=[SimpleNamespace(labels=one) for one in labels])
    tasks = [Task(asked.trials[0].run, "not in the store", (), n) for n in range(3)]
    console = Console(file=io.StringIO(), width=400)
    plan.print_reasons(console, of, tasks)
    named = re.findall(r"trial \d+:(.*)", console.file.getvalue())  # type: ignore[attr-defined]
    assert len(set(named)) == len(named) == 3
