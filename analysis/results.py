"""The only door to the store: a private in-memory database of everything it holds.

A connection is a snapshot. Readers take no locks, write nothing, and cannot disturb or be
disturbed by a sweep that runs. PyArrow reads the files; DuckDB has no access to any from the
moment it is made, so no query can reach one. Live results are held in memory; segments are
scanned when asked for, in the columns and rows asked for.
"""

import json
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from analysis import files, views
from analysis.errors import StoreError
from analysis.files import Listing
from orchestrator.store import layout, schema

TABLES = views.TABLES

TRIES = 20
"""Listings before giving up on a store whose files vanish while they are read."""

EXAMPLES = (
    "SELECT method, ablation, density, avg(accuracy) AS accuracy, count(*) AS replicates"
    " FROM trials WHERE status = 'done' GROUP BY ALL ORDER BY method, ablation, density DESC",
    "SELECT trial, method, layer, l.density FROM trials JOIN layers l USING (mask_key)"
    " ORDER BY trial, position LIMIT 20",
    "SELECT kind, count(*) AS tasks, sum(seconds) AS seconds, max(worker) AS worker"
    " FROM tasks GROUP BY kind",
)
"""Queries to begin with; each runs on any store."""

_CLOSED = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "temp_directory": "",
}

_REGISTERED = pa.schema(
    [
        ("sweep", pa.string()),
        ("revision", pa.string()),
        ("registered_at", pa.timestamp("us")),
        ("current", pa.bool_()),
        ("trials", pa.int64()),
        ("definition", pa.string()),
        ("figures", pa.string()),
    ]
)


def connect(store: str | Path) -> duckdb.DuckDBPyConnection:
    """A connection with `trials, evals, layers, tasks, attempts, sweeps`, as of now.

    Raises
    ------
    StoreError
        When the store is missing or a file in it is damaged.
    """
    root = Path(store)
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise StoreError(f"store {root} {what}; --store names the directory of a store")
    for _ in range(TRIES):
        try:
            return _load(files.listing(root))
        except FileNotFoundError:
            continue  # compacted between listing and reading: list again
    raise StoreError(f"store {root}: files vanish while they are read; try again when it is quiet")


def publish(store: str | Path) -> Path:
    """Write `results.duckdb`, whole, with native tables for any DuckDB client.

    Derived: it may be deleted. Written aside and moved, so readers have the old or the new.
    """
    root = Path(store)
    path = root / layout.DATABASE
    aside = root / f".{layout.DATABASE}.{socket.gethostname()}.{os.getpid()}.tmp"
    connection = connect(root)
    aside.unlink(missing_ok=True)
    try:
        with duckdb.connect(str(aside)) as published:
            for table in TABLES:
                rows = connection.sql(f"FROM {table}").to_arrow_reader()
                _insert(published, table, rows)
            _comment(published)
        aside.replace(path)
    finally:
        connection.close()
        for left in root.glob(f"{aside.name}*"):
            left.unlink()
    return path


def describe(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str, str]]:
    """(table, column, type, comment) of everything a query can use."""
    rows = connection.execute(
        "SELECT table_name, column_name, data_type, comment FROM duckdb_columns()"
        " WHERE NOT internal AND schema_name = 'main' ORDER BY column_index"
    ).fetchall()
    return [row for table in TABLES for row in rows if row[0] == table]


def figures_of(connection: duckdb.DuckDBPyConnection, sweep: str) -> list[Any]:
    """The `figures:` that a sweep was launched with.

    Raises
    ------
    StoreError
        When the store does not know the sweep.
    """
    found = dict(connection.execute("SELECT sweep, figures FROM sweeps WHERE current").fetchall())
    if sweep not in found:
        known = ", ".join(sorted(found)) or "none yet"
        raise StoreError(f"the store has no sweep {sweep!r}; it has {known}")
    figures: list[Any] = json.loads(found[sweep])
    return figures


# ---------------------------------------------------------------- loading


def _load(listed: Listing) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:", config=_CLOSED)
    try:
        connection.execute("CREATE SCHEMA stored")
        _load_results(connection, listed)
        _load_sweeps(connection, listed.sweeps)
        _insert(connection, "attempts", files.read_attempts(listed.journal))
        connection.execute(views.TRIALS)
        connection.execute(views.SWEEPS)
        _comment(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _load_results(connection: duckdb.DuckDBPyConnection, listed: Listing) -> None:
    """Views over live results and segments, each task once."""
    seen: set[str] = set()
    apart: list[Path] = []
    for head in listed.segments:
        keys = set(files.segment_keys(head))
        if keys & seen:  # two compactions at once: the rows it has alone are copied
            _copy_segment(connection, head, keys - seen)
        else:
            apart.append(head)
        seen |= keys
    live = files.read_live([path for path in listed.live if path.stem not in seen])
    _insert(connection, "stored.tasks", live.drop_columns(["evals", "layers"]))
    for table, key in (("evals", "run_key"), ("layers", "mask_key")):
        rows = f"SELECT key AS {key}, unnest(item) FROM (SELECT key, unnest({table}) AS item FROM"
        _insert(connection, f"stored.{table}", live, f"{rows} incoming)")
    for table, declared in files.FLAT.items():
        sources = [f"stored.{table}"]
        if apart:
            connection.register(f"segment_{table}", files.scan_segments(apart, table))
            sources.append(f"segment_{table}")
        columns = ", ".join(declared.names)
        union = " UNION ALL ".join(f"SELECT {columns} FROM {source}" for source in sources)
        connection.execute(f"CREATE VIEW {table} AS {union}")


def _copy_segment(connection: duckdb.DuckDBPyConnection, head: Path, keys: set[str]) -> None:
    for table, key in (("tasks", "key"), ("evals", "run_key"), ("layers", "mask_key")):
        rows = files.read_segment(head, table)
        wanted = pc.is_in(rows[key], pa.array(sorted(keys), pa.string()))
        _insert(connection, f"stored.{table}", rows.filter(wanted))


def _load_sweeps(connection: duckdb.DuckDBPyConnection, paths: Iterable[Path]) -> None:
    """Trials of the latest revision of each sweep, keys of the others, a row for each."""
    revisions = [files.read_revision(path) for path in paths]
    latest = {
        revision.about["name"]: revision
        for revision in sorted(revisions, key=lambda r: (r.registered_at, r.path.name))
    }
    asked = [_asked([], False, "").slice(0, 0)]
