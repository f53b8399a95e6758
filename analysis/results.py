"""The only door to the store: a private in-memory database of everything it holds.

A connection is a snapshot. Readers take no locks, write nothing, and cannot disturb or be
disturbed by a sweep that runs.
"""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.errors import AnalysisError
from orchestrator.store import layout, schema

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

_TRIALS = """
CREATE VIEW trials AS
WITH metrics AS (
    SELECT run_key, arg_max(accuracy, step) FILTER (split = 'test') AS accuracy,
           arg_max(loss, step) FILTER (split = 'test') AS loss,
           arg_max(accuracy, step) FILTER (split = 'train') AS train_accuracy,
           arg_max(loss, step) FILTER (split = 'train') AS train_loss,
           max(accuracy) FILTER (split = 'test') AS best_accuracy
    FROM evals GROUP BY run_key),
latest AS (SELECT key, arg_max(event, noted_at) AS event FROM attempts GROUP BY key)
SELECT asked.*,
       CASE WHEN run.key IS NOT NULL AND (mask_key IS NULL OR mask.key IS NOT NULL) THEN 'done'
            WHEN 'failed' IN (run_latest.event, mask_latest.event) THEN 'failed'
            WHEN 'blocked' IN (run_latest.event, mask_latest.event) THEN 'blocked'
            ELSE 'pending' END AS status,
       round(1 - asked.requested_density, 12) AS sparsity,
       1 / asked.requested_density AS compression,
       run.density, metrics.accuracy, metrics.loss, metrics.train_accuracy, metrics.train_loss,
       metrics.best_accuracy, dense.accuracy AS dense_accuracy,
       metrics.accuracy - dense.accuracy AS delta, run.diverged_at IS NOT NULL AS diverged,
       run.collapsed_layers, run.kept_flops, run.flops, run.seconds
FROM asked
LEFT JOIN tasks run ON run.key = run_key
LEFT JOIN tasks mask ON mask.key = mask_key
LEFT JOIN metrics ON metrics.run_key = asked.run_key
LEFT JOIN metrics dense ON dense.run_key = dense_key
LEFT JOIN latest run_latest ON run_latest.key = asked.run_key
LEFT JOIN latest mask_latest ON mask_latest.key = mask_key
"""

_SWEEPS = """
CREATE VIEW sweeps AS
SELECT r.sweep, revision, registered_at, current, trials,
       CASE WHEN current THEN done END AS done, definition
FROM registered r
LEFT JOIN (SELECT sweep, count(*) FILTER (status = 'done') AS done FROM trials GROUP BY sweep) d
USING (sweep)
"""

_COMMENTS = {
    "trials": {
        "status": "done, failed, blocked (what it needs failed) or pending",
        "sparsity": "1 - requested_density",
        "compression": "1 / requested_density",
        "density": "weights kept / prunable weights, counted on the tensors",
        "accuracy": "top-1 on test at the last step, fraction",
        "loss": "cross-entropy on test at the last step, nats",
        "train_accuracy": "top-1 on train at the last step, fraction",
        "train_loss": "cross-entropy on train at the last step, nats",
        "best_accuracy": "best top-1 on test over all steps: peeks at the test set",
        "dense_accuracy": "accuracy of the dense run of the same replicate and recipe",
        "delta": "accuracy - dense_accuracy",
        "diverged": "whether the loss stopped being finite",
        "collapsed_layers": "prunable layers that keep no weight",
        "kept_flops": "multiply-adds of one example that the kept weights take part in",
        "flops": "multiply-adds of one example, dense",
        "seconds": "wall time of the run, s",
    },
    "sweeps": {
        "sweep": "name of the sweep",
        "revision": "hash of the trials it asked for",
        "registered_at": "when it was last launched so, UTC",
        "current": "whether `trials` shows this revision",
        "trials": "trials it asks for",
        "done": "of which answered (current revision)",
        "definition": "the sweep file, JSON",
    },
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

TABLES = ("trials", "evals", "layers", "tasks", "attempts", "sweeps")


def connect(store: str | Path) -> duckdb.DuckDBPyConnection:
    """A connection with `trials, evals, layers, tasks, attempts, sweeps`, as of now.

    Raises
    ------
    AnalysisError
        When the store is missing or a file in it is damaged.
    """
    root = Path(store)
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise AnalysisError(f"store {root} {what}; --store names the directory of a store")
    for _ in range(TRIES):
        try:
            return _load(root)
        except FileNotFoundError:
            continue  # compacted between listing and reading: list again
    raise AnalysisError(f"store {root}: files vanish faster than they can be read")


def publish(store: str | Path) -> Path:
    """Write `results.duckdb`, whole, with native tables for any DuckDB client.

    Derived: it may be deleted. Written aside and moved, so readers have the old or the new.
    """
    root = Path(store)
    path = root / layout.DATABASE
    aside = root / f".{layout.DATABASE}.{socket.gethostname()}.{os.getpid()}.0.tmp"
    connection = connect(root)
    try:
        connection.execute(f"ATTACH '{_quoted(aside)}' AS published")
        for table in TABLES:
            connection.execute(f"CREATE TABLE published.{table} AS SELECT * FROM memory.{table}")
        for table, column, _, comment in describe(connection):
            _comment(connection, f"published.{table}", column, comment)
        connection.execute("DETACH published")
        aside.replace(path)
    finally:
        connection.close()
        aside.unlink(missing_ok=True)
    return path


def describe(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str, str]]:
    """(table, column, type, comment) of everything a query can use."""
    rows = connection.execute(
        "SELECT table_name, column_name, data_type, comment FROM duckdb_columns()"
        " WHERE NOT internal AND database_name = 'memory' ORDER BY column_index"
    ).fetchall()
    return [row for table in TABLES for row in rows if row[0] == table]


def figures_of(connection: duckdb.DuckDBPyConnection, sweep: str) -> list[Any]:
    """The `figures:` that a sweep was launched with.

    Raises
    ------
    AnalysisError
        When the store does not know the sweep.
    """
    row = connection.execute(
        "SELECT figures FROM registered WHERE sweep = ? AND current", [sweep]
    ).fetchone()
    if row is None:
        known = [
            r[0] for r in connection.execute("SELECT DISTINCT sweep FROM registered").fetchall()
        ]
        raise AnalysisError(
            f"the store has no sweep {sweep!r}; it has {', '.join(sorted(known)) or 'none yet'}"
        )
    figures: list[Any] = json.loads(row[0])
    return figures


# ---------------------------------------------------------------- loading


def _load(root: Path) -> duckdb.DuckDBPyConnection:
    """Live results are listed before segments, for compaction moves rows that way."""
    live = list(_published(root / layout.LIVE, ".parquet"))
    segments = list(_published(root / layout.SEGMENTS, ".parquet"))
    connection = duckdb.connect(":memory:", config={"allow_unsigned_extensions": "false"})
    try:
        _load_results(connection, live, segments)
        _load_sweeps(connection, root)
        _fill(connection, "attempts", schema.ATTEMPTS, _attempts(root))
        connection.execute(_TRIALS)
        connection.execute(_SWEEPS)
        _comment_all(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _load_results(
    connection: duckdb.DuckDBPyConnection, live: list[Path], segments: list[Path]
) -> None:
    heads = [path for path in segments if path.name.startswith("tasks-")]
    for table, columns in (
        ("tasks", schema.TASKS),
        ("evals", schema.EVALS),
        ("layers", schema.LAYERS),
    ):
        parts = [path.with_name(path.name.replace("tasks-", f"{table}-", 1)) for path in heads]
        _fill(connection, table, columns)
        _read_into(connection, table, parts)
    _fill(connection, "live", schema.LIVE)
    _read_into(connection, "live", live)
    connection.execute("DELETE FROM live WHERE key IN (SELECT key FROM tasks)")
    connection.execute("INSERT INTO tasks SELECT * EXCLUDE (evals, layers) FROM live")
    for table, key in (("evals", "run_key"), ("layers", "mask_key")):
        connection.execute(
            f"INSERT INTO {table} BY NAME SELECT {key}, unnest(item) FROM "
            f"(SELECT key AS {key}, unnest({table}) AS item FROM live)"
        )
    connection.execute("DROP TABLE live")


def _read_into(connection: duckdb.DuckDBPyConnection, table: str, paths: list[Path]) -> None:
    if not paths:
        return
    names = [str(path) for path in paths]
    try:
        connection.execute(
            f"INSERT INTO {table} BY NAME SELECT * FROM read_parquet(?, hive_partitioning = false)",
            [names],
        )
    except duckdb.Error as error:
        if any(not path.exists() for path in paths):
            raise FileNotFoundError from None
        raise AnalysisError(_damaged(paths, error)) from None


def _damaged(paths: list[Path], error: duckdb.Error) -> str:
    for path in paths:
        try:
            pq.ParquetFile(path, page_checksum_verification=True).read()
        except (OSError, pa.ArrowException) as broken:
            reason = str(broken).splitlines()[0]
            return f"{path} is damaged ({reason}); `tombola verify --repair` removes it"
    return f"the results cannot be read: {str(error).splitlines()[0]}"


def _load_sweeps(connection: duckdb.DuckDBPyConnection, root: Path) -> None:
    """The trials of each sweep's latest revision, and a row for every revision."""
    rows: list[dict[str, Any]] = []
    asked: dict[str, tuple[str, pa.Table]] = {}
    for path in _published(root / layout.SWEEPS, ".parquet"):
        try:
            table = pq.read_table(path)
            about = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
            row = {name: about[name] for name in schema.SWEEP_METADATA}
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowException, KeyError):
            raise AnalysisError(
                f"{path} is damaged; `tombola verify --repair` removes it"
            ) from None
        rows.append({**row, "sweep": row.pop("name"), "trials": table.num_rows, "current": False})
        if row["registered_at"] > asked.get(about["name"], ("", None))[0]:
            asked[about["name"]] = (row["registered_at"], table)
    for row in rows:
        row["current"] = row["registered_at"] == asked[row["sweep"]][0]
    _fill(connection, "asked", schema.TRIALS)
    for _, table in asked.values():
        connection.register("incoming", table)
        connection.execute("INSERT INTO asked BY NAME SELECT * FROM incoming")
        connection.unregister("incoming")
    _fill(connection, "registered", _REGISTERED, rows)


def _attempts(root: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for path in _published(root / layout.JOURNAL, ".jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue  # advisory: a damaged line is worth no error
            rows.append({name: event.get(name) for name in schema.ATTEMPTS.names})
    return rows


def _fill(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    columns: pa.Schema,
    rows: list[dict[str, Any]] | None = None,
) -> None:
    """A table of the declared types, holding `rows`; times may be ISO text."""
    data = {name: [row[name] for row in rows or []] for name in columns.names}
    arrays = [_array(data[field.name], field.type) for field in columns]
    connection.register("incoming", pa.table(arrays, schema=columns.remove_metadata()))
    connection.execute(f"CREATE TABLE {table} AS SELECT * FROM incoming")
    connection.unregister("incoming")


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_timestamp(kind) and values:
        return pa.array(values, pa.string()).cast(kind)
    return pa.array(values, kind)


def _comment_all(connection: duckdb.DuckDBPyConnection) -> None:
    declared = {
        "tasks": schema.TASKS,
        "evals": schema.EVALS,
        "layers": schema.LAYERS,
        "attempts": schema.ATTEMPTS,
        "trials": schema.TRIALS,
    }
    for table, columns in declared.items():
        for field in columns:
            _comment(connection, table, field.name, field.metadata[b"comment"].decode())
    for table, comments in _COMMENTS.items():
        for column, comment in comments.items():
            _comment(connection, table, column, comment)


def _comment(
    connection: duckdb.DuckDBPyConnection, table: str, column: str, comment: str | None
) -> None:
    if comment:
        text = comment.replace("'", "''")
        connection.execute(f"COMMENT ON COLUMN {table}.{column} IS '{text}'")


def _published(folder: Path, suffix: str) -> Iterator[Path]:
    """Files with that suffix below a folder, hidden (unfinished) ones left out."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _published(Path(entry.path), suffix)
        elif entry.name.endswith(suffix):
            yield Path(entry.path)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
