"""Connections to a store: a private in-memory database with the tables of the store.

A connection is a snapshot. Readers take no locks and write nothing, so a running sweep is not
disturbed. PyArrow reads the files. DuckDB has no access to files, so a query cannot open any.
Live results are in memory. Segments are scanned by the query, only the columns and rows that it
needs.
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
"""Number of attempts to list and read a store whose files vanish meanwhile."""

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
"""Example queries; each runs on any store."""

Connection = duckdb.DuckDBPyConnection

_CLOSED = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "temp_directory": "",
    "lock_configuration": "true",
}
"""Settings of a connection from its first statement on."""

_COUNTED = pa.schema([arrow.TRIALS.field(name) for name in ("sweep", *schema.ANSWERS)])
"""Columns of trials that tell whether a trial is done."""

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
    """Return a database that can open no other file and whose settings are locked.

    Every database that receives text of a store is opened here.
    """
    config: dict[str, str | bool | int | float | list[str]] = {**_CLOSED, **settings}
    return duckdb.connect(database, config=config)


def connect(
    store: str | Path, memory_limit: str | None = None, beside: Path | None = None
) -> duckdb.DuckDBPyConnection:
    """Return a connection with the tables of views.TABLES, as they are now.

    `memory_limit`, such as 4GB, covers the tables and the memory of a query. `beside` is the
    file of a sweep outside the store, read as if the store had it.

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
    """Return a connection that can only count results: it opens fast, because it reads keys.

    A live result counts by its file name; the file is not opened (`verify` checks files).
    Tables: `trials` (sweep, status), `sweeps`, `attempts`, and `tasks` (key). If no task ever
    failed, attempts of a folded journal have only the columns of arrow.FOLLOWED.

    Raises
    ------
    StoreError
        When the store is missing or a file that it reads is damaged.
    """
    return _snapshot(locate(store), _load_counted)


def describe(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str, str]]:
    """Return (table, column, type, comment) of every column and macro that a query can use."""
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
    """Return the `figures:` of a sweep, as it was last launched.

    Raises
    ------
    StoreError
        When the store does not know the sweep.
    """
    cursor = connection.execute("SELECT sweep, figures FROM sweeps WHERE current")
    by_sweep = dict(cursor.fetchall())
    if sweep not in by_sweep:
        known = ", ".join(sorted(by_sweep)) or "none yet"
        raise StoreError(f"the store has no sweep {sweep!r}; it has {known}")
    figures: list[Any] = json.loads(by_sweep[sweep])
    return figures


@contextmanager
def scanning(store: str | Path) -> Iterator[None]:
    """Turn errors of queries that read a damaged file into a StoreError that names the file."""
    try:
        yield
    except duckdb.Error as error:
        damage = mask_overlap.complaint(error) or (
            "'segment_" in str(error) and arrow.damaged(arrow.listing(locate(store)))
        )
        if not damage:
            raise
        raise damage from None


# ---------------------------------------------------------------- loading


def _snapshot(root: Path, load: Callable[[Listing], Connection]) -> Connection:
    """Return what `load` returns for the listed files, once it finds all of them."""
    if not root.is_dir():
        problem = "is a file" if root.exists() else "does not exist"
        raise StoreError(f"store {root} {problem}; --store names the directory of a store")
    for _ in range(TRIES):
        try:
            with scanning(root):
                return load(arrow.listing(root))
        except FileNotFoundError:
            continue  # compacted between listing and reading: list again
    raise StoreError(f"store {root}: files vanish while they are read; try again when it is quiet")


def _opened(connection: duckdb.DuckDBPyConnection, root: Path) -> duckdb.DuckDBPyConnection:
    """Add the functions that read mask files, and close the connection at exit.

    DuckDB reports an error if such a connection is open when the interpreter exits.
    """
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
        connection.register("tasks", held)  # a key may be there twice while a compaction runs
        current, _ = _load_revisions(connection, listed.sweeps, "sweeps")
        _view_asked(connection, _joined(current, _COUNTED), _joined([], _COUNTED))
        folded = arrow.read_folded(listed.folded_journal)
        if _view_attempts(connection, arrow.read_attempts(listed.journal), folded):
            _load_attempts(connection, listed)  # failures are in columns that were not read
        connection.execute(f"CREATE VIEW trials AS {views.COUNTED}")
    return connection


@contextmanager
def _made(settings: Mapping[str, str]) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a connection to fill; close it if filling fails."""
    connection = closed(**settings)
    try:
        connection.execute("CREATE SCHEMA stored")
        yield connection
    except BaseException:
        connection.close()
        raise


def _load_results(connection: duckdb.DuckDBPyConnection, listed: Listing) -> None:
    """Create views over live results and segments, each task once."""
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
    """Return segments to scan whole, the keys to take from overlapping ones, and all keys.

    Segments overlap when two compactions ran at the same time.
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
    """Return the SQL from rows of schema.LIVE to rows of one table."""
    columns = ", ".join(arrow.FLAT[table].names)
    if table == "tasks":
        return f"SELECT {columns} FROM incoming"
    key, *fields = arrow.FLAT[table].names
    unnested = ", ".join(f"item.{field} AS {field}" for field in fields)
    return (
        f"SELECT key AS {key}, {unnested} FROM (SELECT key, unnest({table}) AS item FROM incoming)"
    )


def _load_sweeps(connection: duckdb.DuckDBPyConnection, paths: Iterable[Path]) -> None:
    """Create a row for each revision, and its trials: of old revisions, the columns to count."""
    current, earlier = _load_revisions(connection, paths, "stored.registered")
    _view_asked(connection, _joined(current, arrow.TRIALS), _joined(earlier, _COUNTED))


def _load_revisions(
    connection: duckdb.DuckDBPyConnection, paths: Iterable[Path], table: str
) -> tuple[list[Revision], list[Revision]]:
    """Create a table with a row for each revision; return the current ones and the others."""
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
    """Return the trials of revisions, with a column `revision`."""
    field = pa.field("revision", pa.string())
    tables = [declared.append(field).empty_table()]
    for revision in revisions:
        rows = arrow.read_trials(revision, declared)
        names = pa.repeat(pa.scalar(revision.about["revision"]), len(rows))
        tables.append(rows.append_column(field, names))
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
    """Create a view over the parts of the journals and the tables they were folded into."""
    folded = arrow.scan(listed.folded_journal, arrow.ATTEMPTS)
    _view_attempts(connection, arrow.read_attempts(listed.journal), folded)


def _view_attempts(connection: duckdb.DuckDBPyConnection, noted: pa.Table, folded: Any) -> bool:
    """Create `attempts` and the tables of failed tasks; return whether any task ever failed."""
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
    """Load the user's fields as columns; return what they mean, by ("trials", column)."""
    comments: dict[tuple[str, str], str] = {}
    for column in user_columns.FIELDS:
        rows = f"FROM stored.asked WHERE current AND {column} IS NOT NULL"
        texts = connection.execute(f"SELECT DISTINCT {column} {rows} ORDER BY ALL").fetchall()
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
    """Create a native table from Arrow data, or from a query on it (`FROM incoming`)."""
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
    """Store what each (table, column) means as its comment."""
    for (table, column), meaning in comments.items():
        place = f"{identifier(table)}.{identifier(column)}"
        connection.execute(f"COMMENT ON COLUMN {place} IS {literal(meaning)}")


def define(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the macros that need only the tables."""
    for statement in macros.statements():
        connection.execute(statement)
