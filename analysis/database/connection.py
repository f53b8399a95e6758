"""The only door to the store: a private in-memory database of everything it holds.

A connection is a snapshot. Readers take no locks, write nothing, and cannot disturb or be
disturbed by a sweep that runs. PyArrow reads the files; DuckDB has no access to any from the
moment it is made, so no query can reach one. Live results are held in memory; segments are
scanned when asked for, in the columns and rows asked for.
"""

import atexit
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakSet

import duckdb
import pyarrow as pa

from analysis.database import macros, mask_overlap, user_columns, views
from analysis.database.quoting import identifier, literal
from tombola.errors import StoreError
from tombola.store import arrow, schema
from tombola.store.arrow import Listing
from tombola.store.location import locate
from tombola.store.revisions import Revision

TABLES = views.TABLES

TRIES = 20
"""Listings before giving up on a store whose files vanish while they are read."""

_A_SWEEP = "(SELECT min(sweep) FROM sweeps)"

EXAMPLES = (
    "SELECT network, dataset, method, setting, ablation, requested_density AS density,"
    " avg(accuracy) AS accuracy, count(DISTINCT replicate) AS replicates FROM trials"
    f" JOIN (FROM settings({_A_SWEEP})) USING (trial)"
    f" WHERE sweep = {_A_SWEEP} AND status = 'done' GROUP BY ALL ORDER BY ALL DESC",
    "SELECT trial, method, layer, l.density FROM trials JOIN layers l USING (mask_key)"
    " ORDER BY trial, position LIMIT 20",
    "SELECT kind, count(*) AS tasks, sum(seconds) AS seconds, max(worker) AS worker"
    " FROM tasks GROUP BY kind",
    "SELECT network, dataset, method, setting, ablation,"
    " avg(weights_remaining(density)) AS per_cent, count(*) AS replicates"
    f" FROM matching({_A_SWEEP}, 0.01) GROUP BY ALL ORDER BY ALL",
)
"""Queries to begin with; each runs on any store."""

Connection = duckdb.DuckDBPyConnection

_CLOSED = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "temp_directory": "",
    "lock_configuration": "true",
}
"""Settings that hold from the first statement on, before any text of a store is in one."""

_COUNTED = pa.schema([arrow.TRIALS.field(name) for name in ("sweep", *schema.ANSWERS)])
"""Columns of trials that are enough to tell whether they are answered."""

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


def closed(database: str = ":memory:", **settings: str) -> duckdb.DuckDBPyConnection:
    """A database that can reach no file but its own, and whose settings nobody can change.

    Every database that text of a store comes into is opened here.
    """
    config: dict[str, str | bool | int | float | list[str]] = {**_CLOSED, **settings}
    return duckdb.connect(database, config=config)


def connect(
    store: str | Path, memory_limit: str | None = None, beside: Path | None = None
) -> duckdb.DuckDBPyConnection:
    """A connection with the tables of views.TABLES, as of now.

    `memory_limit`, such as 4GB, is for the tables and for what a query needs besides. The
    sweep's file `beside` the store is read as if it were in it.

    Raises
    ------
    StoreError
        When the store is missing or a file in it is damaged.
    """
    root = locate(store)
    settings = {} if memory_limit is None else {"memory_limit": memory_limit}

    def load(listed: Listing) -> Connection:
        if beside:
            others = (path for path in listed.sweeps if path.name != beside.name)
            listed = replace(listed, sweeps=(*others, beside))
        return _load(listed, settings)

    return _opened(_snapshot(root, load), root)


def count(store: str | Path) -> duckdb.DuckDBPyConnection:
    """A connection for those who only ask how far sweeps are: soon there, as it reads keys alone.

    A live result counts by its file, which is not opened: `verify` tells whether it is whole.
    It has `trials` (sweep, status), `sweeps`, `attempts`, and of `tasks` the keys. Where no task
    ever failed, a folded journal's attempts have the columns of files.FOLLOWED alone.

    Raises
    ------
    StoreError
        When the store is missing or a file that was read is damaged.
    """
    return _snapshot(locate(store), _load_counted)


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
        found = mask_overlap.complaint(error) or (
            "'segment_" in str(error) and arrow.damaged(arrow.listing(locate(store)))
        )
        if not found:
            raise
        raise found from None


# ---------------------------------------------------------------- loading


def _snapshot(root: Path, load: Callable[[Listing], Connection]) -> Connection:
    """What `load` makes of the files that a store has, all of which it found."""
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise StoreError(f"store {root} {what}; --store names the directory of a store")
    for _ in range(TRIES):
        try:
            with scanning(root):
                return load(arrow.listing(root))
        except FileNotFoundError:
            continue  # compacted between listing and reading: list again
    raise StoreError(f"store {root}: files vanish while they are read; try again when it is quiet")


def _opened(connection: duckdb.DuckDBPyConnection, root: Path) -> duckdb.DuckDBPyConnection:
    """With what reads mask files when a query asks; closed at exit, or DuckDB grumbles."""
    mask_overlap.offer(connection, root)
    for statement in macros.statements(macros.ON_MASKS):
        connection.execute(statement)
    _OPEN.add(connection)
    return connection


_OPEN: WeakSet[duckdb.DuckDBPyConnection] = WeakSet()


@atexit.register
def _close() -> None:
    for connection in list(_OPEN):
        connection.close()


def _load(listed: Listing, settings: Mapping[str, str]) -> duckdb.DuckDBPyConnection:
    with _made(settings) as connection:
        _load_results(connection, listed)
        _load_sweeps(connection, listed.sweeps)
        own_comments = _load_own(connection)
        _load_attempts(connection, listed)
        create(connection, "repeats", arrow.read_repeats(listed.repeats))
        connection.execute(f"CREATE TABLE stored.answers AS {views.ANSWERS}")
        connection.execute(f"CREATE TABLE trials AS {views.TRIALS}")
        connection.execute(views.SWEEPS)
        comment(connection, views.comments() | own_comments)
        define(connection)
    return connection


def _load_counted(listed: Listing) -> duckdb.DuckDBPyConnection:
    with _made({}) as connection:
        names = pa.array([path.stem for path in listed.live], pa.string())
        keys = [arrow.segment_keys(head) for head in listed.segments]
        held = pa.concat_tables([pa.table([names], schema=arrow.KEYS), *keys])
        connection.register("tasks", held)  # some twice, while a compaction runs: none counts twice
        current, _ = _load_revisions(connection, listed.sweeps, "sweeps")
        _view_asked(connection, _joined(current, _COUNTED), _joined([], _COUNTED))
        folded = arrow.read_folded(listed.folded_journal)
        if _view_attempts(connection, arrow.read_attempts(listed.journal), folded):
            _load_attempts(connection, listed)  # why is in columns that were not read
        connection.execute(f"CREATE VIEW trials AS {views.COUNTED}")
    return connection


@contextmanager
def _made(settings: Mapping[str, str]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to fill, closed if that fails."""
    connection = closed(**settings)
    try:
        connection.execute("CREATE SCHEMA stored")
        yield connection
    except BaseException:
        connection.close()
        raise


def _load_results(connection: duckdb.DuckDBPyConnection, listed: Listing) -> None:
    """Views over live results and segments, each task once."""
    whole, shared, seen = _segments(listed.segments)
    live = arrow.read_live([path for path in listed.live if path.stem not in seen])
    for table, declared in arrow.FLAT.items():
        create(connection, f"stored.{table}", live, _flat(table))
        sources = [f"stored.{table}"]
        for head, keys in shared.items():
            rows = arrow.read_segment(head, table)
            import pyarrow.compute as pc

            wanted = pc.is_in(rows[declared.names[0]], pa.array(sorted(keys), pa.string()))
            _insert(connection, f"stored.{table}", rows.filter(wanted))
        if whole and (scanned := arrow.scan_segments(whole, table)):
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
        keys = set(arrow.segment_keys(head)["key"].to_pylist())
        if keys & seen:
            shared[head] = keys - seen
        else:
            whole.append(head)
        seen |= keys
    return whole, shared, seen


def _flat(table: str) -> str:
    """SQL from rows of schema.LIVE to rows of one table."""
    columns = ", ".join(arrow.FLAT[table].names)
    if table == "tasks":
        return f"SELECT {columns} FROM incoming"
    key, *fields = arrow.FLAT[table].names
    unnested = ", ".join(f"item.{field} AS {field}" for field in fields)
    return (
        f"SELECT key AS {key}, {unnested} FROM (SELECT key, unnest({table}) AS item FROM incoming)"
    )


def _load_sweeps(connection: duckdb.DuckDBPyConnection, paths: Iterable[Path]) -> None:
    """A row for each revision; trials of the current ones, and of the others what counts."""
    current, earlier = _load_revisions(connection, paths, "stored.registered")
    _view_asked(connection, _joined(current, arrow.TRIALS), _joined(earlier, _COUNTED))


def _load_revisions(
    connection: duckdb.DuckDBPyConnection, paths: Iterable[Path], table: str
) -> tuple[list[Revision], list[Revision]]:
    """A table with a row for each; those that are the latest of their sweep, and the others."""
    revisions = [arrow.read_revision(path) for path in paths]
    revisions.sort(key=lambda revision: (revision.registered_at, revision.path.name))
    latest = {revision.about["name"]: revision for revision in revisions}
    current = list(latest.values())
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
    create(connection, table, pa.Table.from_pylist(rows, _REGISTERED))
    return current, [revision for revision in revisions if revision not in current]


def _joined(revisions: Iterable[Revision], declared: pa.Schema) -> pa.Table:
    """The trials of revisions, and of which they are."""
    field = pa.field("revision", pa.string())
    tables = [declared.append(field).empty_table()]
    for revision in revisions:
        rows = arrow.read_trials(revision, declared)
        of = pa.repeat(pa.scalar(revision.about["revision"]), len(rows))
        tables.append(rows.append_column(field, of))
    return pa.concat_tables(tables)


def _view_asked(
    connection: duckdb.DuckDBPyConnection, current: pa.Table, earlier: pa.Table
) -> None:
    connection.register("asked_now", current)
    connection.register("asked_before", earlier)
    connection.execute(
        "CREATE VIEW stored.asked AS SELECT *, true AS current FROM asked_now"
        " UNION ALL BY NAME SELECT *, false AS current FROM asked_before"
    )


def _load_attempts(connection: duckdb.DuckDBPyConnection, listed: Listing) -> None:
    """A view over the journals' parts and the tables that they were folded into."""
    folded = arrow.scan(listed.folded_journal, arrow.ATTEMPTS)
    _view_attempts(connection, arrow.read_attempts(listed.journal), folded)


def _view_attempts(connection: duckdb.DuckDBPyConnection, noted: pa.Table, folded: Any) -> bool:
    """Attempts from both, and which tasks are in trouble; whether any ever failed."""
    create(connection, "stored.noted", noted)
    sources = ["stored.noted"]
    if folded is not None:
        connection.register("segment_attempts", folded)
        sources.append("segment_attempts")
    union = " UNION ALL BY NAME ".join(f"SELECT * FROM {source}" for source in sources)
    connection.execute(f"CREATE OR REPLACE VIEW attempts AS {union}")
    fallen = f"CREATE OR REPLACE TABLE stored.fallen AS {views.FALLEN}"
    [(fell,)] = connection.execute(fallen).fetchall()
    limit = "" if fell else "LIMIT 0"
    connection.execute(f"CREATE OR REPLACE TABLE stored.troubled AS {views.TROUBLED} {limit}")
    return bool(fell)


def _load_own(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], str]:
    """A user's own fields, flat; what their columns in `trials` mean."""
    comments: dict[tuple[str, str], str] = {}
    for column in user_columns.FIELDS:
        asked = f"FROM stored.asked WHERE current AND {column} IS NOT NULL"
        texts = connection.execute(f"SELECT DISTINCT {column} {asked} ORDER BY ALL").fetchall()
        flat = user_columns.flattened(column, [text for (text,) in texts])
        create(connection, f"stored.{column}", flat)
        comments |= {
            ("trials", field.name): field.metadata[b"comment"].decode()
            for field in flat.schema
            if field.metadata
        }
    return comments


def create(
    connection: duckdb.DuckDBPyConnection, table: str, incoming: Any, sql: str = "FROM incoming"
) -> None:
    """A native table of the types that Arrow data, or a query on it, has."""
    _run(connection, f"CREATE OR REPLACE TABLE {table} AS {sql}", incoming)


def _insert(
    connection: duckdb.DuckDBPyConnection, table: str, incoming: Any, sql: str = "FROM incoming"
) -> None:
    _run(connection, f"INSERT INTO {table} {sql}", incoming)


def _run(connection: duckdb.DuckDBPyConnection, sql: str, incoming: Any) -> None:
    connection.register("incoming", incoming)
    connection.execute(sql)
    connection.unregister("incoming")


def comment(connection: duckdb.DuckDBPyConnection, comments: Mapping[tuple[str, str], str]) -> None:
    """Say what each (table, column) means."""
    for (table, column), said in comments.items():
        place = f"{identifier(table)}.{identifier(column)}"
        connection.execute(f"COMMENT ON COLUMN {place} IS {literal(said)}")


def define(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the macros that need nothing but the tables."""
    for statement in macros.statements():
        connection.execute(statement)
