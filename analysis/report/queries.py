"""Queries of the report: SQL for one sweep, which `tombola sql` runs too."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from analysis.database.quoting import literal
from tombola.store import schema
from tombola.store.settings import APART, SETTING, varies

MOST_TRIALS = 2000
"""Most trials in the report."""

_PROBLEM = ("dataset", "network")

_MEASURED = {
    "accuracy": ("test accuracy (%)", 100),
    "delta": ("change to dense (points)", 100),
    "top5": ("top-5 (%)", 100),
    "best_val_accuracy": ("test accuracy at best validation (%)", 100),
    "early_stop_step": ("early-stop iteration", 1),
    "barrier": ("error barrier (points)", 100),
    "imdb": ("IMDB", 1),
    "collapsed_layers": ("collapsed layers", 1),
    "speedup": ("theoretical speed-up (×)", 1),
}
"""Columns of `trials` that are shown if a sweep has values: column → (name, factor)."""


@dataclass(frozen=True)
class Columns:
    """Columns that the tables of a sweep show besides method and ablation.

    `apart` separates curves, so a mean never mixes two of them. It has network and dataset if there
    are several, and the settings that vary within a method on one network and dataset. If no
    setting separates two runs, it has the column `apart` (grid and order). `measured` are columns
    of _MEASURED with values.
    """

    apart: tuple[str, ...]
    measured: tuple[str, ...]


def columns(connection: duckdb.DuckDBPyConnection, sweep: str) -> Columns:
    """Return the columns for one sweep."""
    trials = f"FROM trials WHERE sweep = {literal(sweep)}"

    def first(expressions: Iterable[str], rest: str) -> list[tuple[Any, ...]]:
        return connection.execute(f"SELECT {', '.join(expressions)} {trials} {rest}").fetchall()

    groups = first(map(varies, SETTING), "GROUP BY dataset, network, method")
    [problems] = first((f"count(DISTINCT {name})" for name in _PROBLEM), "")
    [present] = first((f"coalesce(bool_or({name} <> 0), false)" for name in _MEASURED), "")
    clashes = f"SELECT count({APART}) > 0 FROM settings({literal(sweep)})"
    [(clash,)] = connection.execute(clashes).fetchall()
    return Columns(
        apart=(
            *(name for name, count in zip(_PROBLEM, problems, strict=True) if count > 1),
            *(name for n, name in enumerate(SETTING) if any(group[n] for group in groups)),
            *((APART,) if clash else ()),
        ),
        measured=tuple(name for name, has in zip(_MEASURED, present, strict=True) if has),
    )


def summary(sweep: str) -> str:
    """Return the SQL of one row: scope and progress of the sweep."""
    return f"""
SELECT count(*) AS trials, count(*) FILTER (status = 'done') AS done,
       count(*) FILTER (status = 'failed') AS failed,
       count(*) FILTER (status = 'blocked') AS blocked,
       count(*) FILTER (status = 'pending') AS pending,
       list_sort(list(DISTINCT replicate)) AS replicates,
       list_sort(list(DISTINCT [network, dataset])) AS problems,
       list(DISTINCT method ORDER BY method) FILTER (method <> 'dense') AS methods,
       list(DISTINCT ablation ORDER BY ablation) FILTER (ablation <> 'none') AS ablations,
       list(DISTINCT requested_density ORDER BY requested_density DESC)
           FILTER (method <> 'dense') AS densities
FROM trials WHERE sweep = {literal(sweep)}
"""


def results(sweep: str, shown: Columns) -> str:
    """Return the SQL of means over replicates, each run once, by curve and density."""
    order = "ORDER BY replicate, run_key"
    curve = ["method", "ablation", *shown.apart]
    sort = ["method <> 'dense'", "method", "ablation <> 'none'", "ablation", *shown.apart]
    means = [_scaled(f"avg({name} {order})", name) for name in shown.measured]
    if "accuracy" in shown.measured:
        means.insert(1, f'rounded(100 * stddev(accuracy {order}), 2) AS "std"')
    density = 'rounded(100 * requested_density, 3) AS "weights asked for (%)"'
    numbers = [density, "count(*) AS n", *means]
    return f"""
SELECT {_named(curve)},
       {_lines(numbers)}
FROM (SELECT DISTINCT {", ".join([*curve, *shown.measured])},
             requested_density, replicate, run_key, mask_key
      FROM {_trials(sweep, shown)} WHERE sweep = {literal(sweep)} AND status = 'done')
GROUP BY {", ".join(curve)}, requested_density
ORDER BY {", ".join(sort)}, requested_density DESC
"""


def trials(sweep: str, shown: Columns, passing: str = "") -> str:
    """Return the SQL of all trials, up to MOST_TRIALS; `passing` is a condition: AND …."""
    numbers = [_scaled(name, name) for name in shown.measured]
    return f"""
SELECT trial, {_named(["method", "ablation", *shown.apart])}, replicate,
       rounded(100 * density, 3) AS "weights remaining (%)", status,
       {_lines([*numbers, "coalesce(run_key, mask_key)[:12] AS key"])}
FROM {_trials(sweep, shown)} WHERE sweep = {literal(sweep)}{passing}
ORDER BY trial LIMIT {MOST_TRIALS}
"""


def failures(sweep: str) -> str:
    """Return the SQL of failed tasks, of launches for this sweep, that were not done since."""
    return f"""
WITH launches AS (
    SELECT DISTINCT launch FROM attempts WHERE key IN (
        SELECT unnest([{", ".join(schema.ANSWERS)}])
        FROM trials WHERE sweep = {literal(sweep)})),
latest AS (
    SELECT key, arg_max((event, kind, failure, message), noted_at) AS last
    FROM attempts WHERE launch IN (FROM launches) GROUP BY key)
SELECT last[3] AS class, last[4] AS message, last[2] AS kind, count(*) AS tasks,
       min(key)[:12] AS "for example"
FROM latest WHERE last[1] = 'failed' AND key NOT IN (SELECT key FROM tasks)
GROUP BY ALL ORDER BY tasks DESC, class, message, kind
"""


def cost(sweep: str) -> str:
    """Return the SQL of seconds by method and in total, each task once, and of trials alone."""
    columns = """count(*) AS tasks,
       rounded(coalesce(sum(seconds ORDER BY key) FILTER (kind = 'run'), 0), 1) AS "training (s)",
       rounded(coalesce(sum(seconds ORDER BY key) FILTER (kind = 'mask'), 0), 1) AS "pruning (s)",
       rounded(coalesce(sum(seconds ORDER BY key) FILTER (kind NOT IN ('run', 'mask')), 0), 1)
           AS "measuring (s)","""
    return f"""
WITH spent AS (
    SELECT method, trial, key, kind, spent AS seconds, behind.seconds AS share
    FROM stands_on({literal(sweep)}) behind JOIN trials USING (trial)
    WHERE sweep = {literal(sweep)}),
each AS (
    SELECT method, rounded(sum(share ORDER BY trial, key), 1) AS summed FROM spent GROUP BY method)
SELECT method, {columns}
       any_value(summed) AS "each trial alone (s)"
FROM (SELECT DISTINCT method, key, kind, seconds FROM spent) JOIN each USING (method)
GROUP BY method
UNION ALL
SELECT 'all together', {columns}
       (SELECT rounded(sum(share ORDER BY trial, key), 1) FROM spent)
FROM (SELECT DISTINCT key, kind, seconds FROM spent)
ORDER BY method = 'all together', method
"""


def ledger(sweep: str) -> str:
    """Return the SQL of seconds by method and density, with shared tasks in equal parts."""
    return f"""
SELECT method, rounded(100 * density, 3) AS "weights asked for (%)", device, trials,
       rounded(3600 * hours, 1) AS "spent (s)",
       rounded(3600 * alone_hours, 1) AS "each trial alone (s)",
       rounded(100 * saved_hours / alone_hours, 1) AS "saved (%)"
FROM ledger({literal(sweep)})
ORDER BY method <> 'dense', method, density DESC, device
"""


def environment(sweep: str) -> str:
    """Return the SQL of devices and software that computed the tasks of the sweep."""
    return f"""
SELECT device, threads, python, torch, tombola, coalesce(code, 'no commit') AS "code (commit)",
       count(*) AS tasks, rounded(sum(seconds ORDER BY key), 1) AS "time (s)"
FROM (SELECT DISTINCT key FROM stands_on({literal(sweep)})) JOIN tasks USING (key)
GROUP BY ALL ORDER BY ALL
"""


def _trials(sweep: str, shown: Columns) -> str:
    """Return the table of trials, joined with `settings` if `apart` is shown."""
    settings = f" JOIN (FROM settings({literal(sweep)})) USING (trial)"
    return f"trials{settings if APART in shown.apart else ''}"


def _named(columns: Sequence[str]) -> str:
    """Return columns with names without underscores."""
    names = {name: _HEADINGS.get(name, name.replace("_", " ")) for name in columns}
    return ", ".join(c if c == name else f'{c} AS "{name}"' for c, name in names.items())


_HEADINGS = {APART: "told apart by"}


def _scaled(expression: str, column: str) -> str:
    """Return a measured column in its shown unit, with its name."""
    name, factor = _MEASURED[column]
    scaled = expression if factor == 1 else f"{factor} * {expression}"
    return f'rounded({scaled}, 2) AS "{name}"'


def _lines(expressions: Iterable[str]) -> str:
    return ",\n       ".join(expressions)
