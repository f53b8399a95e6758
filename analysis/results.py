"""The only door to the store: a private in-memory database of everything it holds.

A connection is a snapshot. Readers take no locks, write nothing, and cannot disturb or be
disturbed by a sweep that runs. PyArrow reads the files; DuckDB has no access to any from the
moment it is made, so no query can reach one. Live results are held in memory; segments are
scanned when asked for, in the columns and rows asked for.
"""

import atexit
import json
import os
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakSet

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from analysis import files, macros, masks, views
from analysis.errors import StoreError
from analysis.files import Listing
from orchestrator.store import layout
from orchestrator.store.place import locate, remote

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
    "SELECT method, avg(weights_remaining(density)) AS per_cent, count(*) AS replicates"
    " FROM matching((SELECT min(sweep) FROM sweeps), 0.01) GROUP BY method",
)
"""Queries to begin with; each runs on any store."""

_CLOSED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "temp_directory": "",
}

_COUNTED = ["sweep", "run_key", "mask_key", "barrier_key", "graphs_key"]
"""Columns of trials that are enough to tell whether they are answered."""

_CURRENT = pa.field("current", pa.bool_())

_REGISTERED = pa.schema(
    [
        ("sweep", pa.string()),
        ("revision", pa.string()),
        ("registered_at", pa.timestamp("us")),
        _CURRENT,
        ("trials", pa.int64()),
        ("definition", pa.string()),
        ("figures", pa.string()),
    ]
)


def connect(store: str | Path) -> duckdb.DuckDBPyConnection:
    """A connection with the tables of views.TABLES, as of now.

    Raises
    ------
    StoreError
        When the store is missing or a file in it is damaged.
    """
    root = locate(store)
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise StoreError(f"store {root} {what}; --store names the directory of a store")
    for _ in range(TRIES):
        try:
            with scanning(root):
                return _opened(_load(files.listing(root)), root)
        except FileNotFoundError:
            continue  # compacted between listing and reading: list again
    raise StoreError(f"store {root}: files vanish while they are read; try again when it is quiet")


def publish(store: str | Path) -> Path:
    """Write `results.duckdb`, whole, with native tables for any DuckDB client.

    Derived: it may be deleted. Written aside and moved, so readers have the old or the new.
    """
    root = locate(store)
    path = root / layout.DATABASE
    if place := remote(path):
        with tempfile.TemporaryDirectory(prefix="tombola-") as folder:
            aside = Path(folder) / layout.DATABASE
            _write_database(root, aside)
            place.upload(str(aside))
        return path
    aside = root / f".{layout.DATABASE}.{socket.gethostname()}.{os.getpid()}.tmp"
    aside.unlink(missing_ok=True)
    try:
        _write_database(root, aside)
        aside.replace(path)
    finally:
        for left in root.glob(f"{aside.name}*"):
            left.unlink()
    return path


def _write_database(root: Path, file: Path) -> None:
    connection = connect(root)
    try:
        with scanning(root), duckdb.connect(str(file)) as published:
            for table in TABLES:
                _create(published, table, connection.sql(f"FROM {table}").to_arrow_reader())
            _comment(published)
            _define(published)
            published.execute("CHECKPOINT")  # closing does it, too, but is silent where it fails
    except (duckdb.IOException, duckdb.FatalException) as error:
        said = str(error).splitlines()[0].rpartition(": ")[2]
        what = f"{layout.DATABASE} of {root} cannot be written ({said})"
        raise StoreError(f"{what}; every result is kept, `tombola run` makes it anew") from None
    finally:
        connection.close()


def describe(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str, str]]:
    """(table, column, type, comment) of everything a query can use; macros by their signature."""
    rows = connection.execute(
        "SELECT table_name, column_name, data_type, comment FROM duckdb_columns()"
        " WHERE NOT internal AND schema_name = 'main' ORDER BY column_index"
    ).fetchall()
    callable_ = [
        ("macros", signature, "TABLE" if sql.startswith("TABLE") else "DOUBLE", meaning)
        for signature, (sql, meaning) in (macros.MACROS | macros.ON_MASKS).items()
    ]
    return [row for table in TABLES for row in rows if row[0] == table] + callable_


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


@contextmanager
def scanning(store: str | Path) -> Iterator[None]:
    """Queries in this context that meet a damaged segment raise a StoreError that names it."""
    try:
        yield
    except duckdb.Error as error:
        found = masks.complaint(error) or (
            "'segment_" in str(error) and files.damaged(files.listing(locate(store)).segments)
        )
        if not found:
            raise
        raise found from None


# ---------------------------------------------------------------- loading


def _opened(connection: duckdb.DuckDBPyConnection, root: Path) -> duckdb.DuckDBPyConnection:
    """With what reads mask files when a query asks; closed at exit, or DuckDB grumbles."""
    masks.offer(connection, root)
    for statement in macros.statements(macros.ON_MASKS):
        connection.execute(statement)
    _OPEN.add(connection)
    return connection


_OPEN: WeakSet[duckdb.DuckDBPyConnection] = WeakSet()


@atexit.register
def _close() -> None:
    for connection in list(_OPEN):
        connection.close()


def _load(listed: Listing) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:", config=_CLOSED)
    try:
        connection.execute("CREATE SCHEMA stored")
        _load_results(connection, listed)
        _load_sweeps(connection, listed.sweeps)
        _create(connection, "attempts", files.read_attempts(listed.journal))
        connection.execute(views.ANSWERS)
        connection.execute(views.TRIALS)
        connection.execute(views.SWEEPS)
        _comment(connection)
        _define(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _load_results(connection: duckdb.DuckDBPyConnection, listed: Listing) -> None:
    """Views over live results and segments, each task once."""
    whole, shared, seen = _segments(listed.segments)
    live = files.read_live([path for path in listed.live if path.stem not in seen])
    for table, declared in files.FLAT.items():
        _create(connection, f"stored.{table}", live, _flat(table))
        sources = [f"stored.{table}"]
        for head, keys in shared.items():
            rows = files.read_segment(head, table)
            wanted = pc.is_in(rows[declared.names[0]], pa.array(sorted(keys), pa.string()))
            _insert(connection, f"stored.{table}", rows.filter(wanted))
        if whole and (scanned := files.scan_segments(whole, table)):
            connection.register(f"segment_{table}", scanned)
            sources.append(f"segment_{table}")
        columns = ", ".join(declared.names)
        union = " UNION ALL ".join(f"SELECT {columns} FROM {source}" for source in sources)
        connection.execute(f"CREATE VIEW {table} AS {union}")


def _segments(heads: Iterable[Path]) -> tuple[list[Path], dict[Path, set[str]], set[str]]:
    """Segments to scan; of those that overlap, the keys to take; and all keys.

    Two compactions at the same time make segments that overlap.
    """
    whole: list[Path] = []
    shared: dict[Path, set[str]] = {}
    seen: set[str] = set()
    for head in heads:
        keys = set(files.segment_keys(head))
        if keys & seen:
            shared[head] = keys - seen
        else:
            whole.append(head)
        seen |= keys
    return whole, shared, seen


def _flat(table: str) -> str:
    """SQL from rows of schema.LIVE to rows of one table."""
    columns = ", ".join(files.FLAT[table].names)
    if table == "tasks":
        return f"SELECT {columns} FROM incoming"
    key, *fields = files.FLAT[table].names
    unnested = ", ".join(f"item.{field} AS {field}" for field in fields)
    return (
        f"SELECT key AS {key}, {unnested} FROM (SELECT key, unnest({table}) AS item FROM incoming)"
    )


def _load_sweeps(connection: duckdb.DuckDBPyConnection, paths: Iterable[Path]) -> None:
    """A row for each revision; trials of the current ones, and of the others what counts."""
    revisions = [files.read_revision(path) for path in paths]
    revisions.sort(key=lambda revision: (revision.registered_at, revision.path.name))
    current = {revision.about["name"]: revision for revision in revisions}.values()
    asked = files.TRIALS.append(pa.field("revision", pa.string())).append(_CURRENT)
    _create(connection, "stored.asked", asked.empty_table())
    for revision in revisions:
        columns = files.TRIALS.names if revision in current else _COUNTED
        added = f"*, '{revision.about['revision']}', {revision in current}"
        rows = files.read_trials(revision, columns)
        _insert(connection, "stored.asked", rows, f"SELECT {added} FROM incoming")
    rows = [
        {
            **revision.about,
            "sweep": revision.about["name"],
            "registered_at": revision.registered_at,
            "current": revision in current,
            "trials": revision.count,
        }
        for revision in revisions
    ]
    _create(connection, "stored.registered", pa.Table.from_pylist(rows, _REGISTERED))


def _create(
    connection: duckdb.DuckDBPyConnection, table: str, incoming: Any, sql: str = "FROM incoming"
) -> None:
    """A native table of the types that Arrow data, or a query on it, has."""
    _run(connection, f"CREATE TABLE {table} AS {sql}", incoming)


def _insert(
    connection: duckdb.DuckDBPyConnection, table: str, incoming: Any, sql: str = "FROM incoming"
) -> None:
    _run(connection, f"INSERT INTO {table} {sql}", incoming)


def _run(connection: duckdb.DuckDBPyConnection, sql: str, incoming: Any) -> None:
    connection.register("incoming", incoming)
    connection.execute(sql)
    connection.unregister("incoming")


def _comment(connection: duckdb.DuckDBPyConnection) -> None:
    for (table, column), comment in views.comments().items():
        text = comment.replace("'", "''")
        connection.execute(f"COMMENT ON COLUMN {table}.{column} IS '{text}'")


def _define(connection: duckdb.DuckDBPyConnection) -> None:
    for statement in macros.statements():
        connection.execute(statement)
