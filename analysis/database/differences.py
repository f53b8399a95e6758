"""Differences of two sweeps or two stores: trials in only one, and trials that differ."""

from collections import Counter
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from analysis.database.connection import figures_of
from analysis.database.quoting import literal
from tombola.store import schema

_KEYS = ("dense_key", *schema.ANSWERS)
_LABELS = [
    n
    for n in schema.TRIALS.names
    if n not in {"sweep", "trial", "grid", "tags", "network_options", *_KEYS}
]
_MATCHING = " AND ".join(f"a.{name} IS NOT DISTINCT FROM b.{name}" for name in _LABELS)


@dataclass(frozen=True)
class Differences:
    """Trials of two sweeps, compared by their run and mask, and by their labels.

    `only_first` and `only_second` count `trials` by method, density and ablation. `relabelled`
    has a row for each pair of trials with the same labels but another run or mask: method,
    density, ablation, replicate, both accuracies, their difference, and both run keys.
    """

    both: int
    only_first: pa.Table
    only_second: pa.Table
    relabelled: pa.Table


def between(connection: duckdb.DuckDBPyConnection, first: str, second: str) -> Differences:
    """Compare two sweeps of a store.

    Raises
    ------
    StoreError
        When the store lacks one of them.
    """
    for table, sweep in (("a", first), ("b", second)):
        figures_of(connection, sweep)  # raises if the store has no such sweep
        trials = f"SELECT * FROM trials WHERE sweep = {literal(sweep)}"
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {trials}")
    same = "a.run_key IS NOT DISTINCT FROM b.run_key AND a.mask_key IS NOT DISTINCT FROM b.mask_key"
    [(both,)] = connection.execute(
        f"SELECT count(*) FROM a WHERE EXISTS (FROM b WHERE {same})"
    ).fetchall()
    only = """
        SELECT network, dataset, method, round(100 * requested_density, 4) AS remaining, ablation,
               count(*) AS trials, min(trial) AS first
        FROM {} WHERE NOT EXISTS (FROM {} WHERE {}) GROUP BY ALL ORDER BY first
    """
    relabelled = f"""
        SELECT a.method, round(100 * a.requested_density, 4) AS remaining, a.ablation,
               a.replicate, a.accuracy AS first, b.accuracy AS second,
               b.accuracy - a.accuracy AS difference, a.run_key[:12] AS first_run,
               b.run_key[:12] AS second_run
        FROM a JOIN b ON {_MATCHING} WHERE NOT ({same}) ORDER BY a.trial, b.trial
    """
    return Differences(
        both=both,
        only_first=connection.sql(only.format("a", "b", same)).to_arrow_table(),
        only_second=connection.sql(only.format("b", "a", same)).to_arrow_table(),
        relabelled=connection.sql(relabelled).to_arrow_table(),
    )


def of_stores(
    first: duckdb.DuckDBPyConnection, second: duckdb.DuckDBPyConnection
) -> list[tuple[str, int, int, int]]:
    """Return for each sweep its name and its trials in both stores, the first, the second only."""
    sql = "SELECT sweep, coalesce(run_key, mask_key), count(*) FROM trials GROUP BY ALL"
    ours, theirs = (
        Counter({(sweep, key): n for sweep, key, n in connection.execute(sql).fetchall()})
        for connection in (first, second)
    )
    counts = []
    for sweep in sorted({name for name, _ in ours | theirs}):
        parts = (ours & theirs, ours - theirs, theirs - ours)
        counts.append((sweep, *(sum(n for (s, _), n in p.items() if s == sweep) for p in parts)))
    return counts
