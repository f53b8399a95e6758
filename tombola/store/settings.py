"""The columns of `trials` that distinguish settings, and their text for people.

Two trials are points of one curve if they agree in every column that configures them, except
density, replicate and seeds. The text is the same in Python and in SQL.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from tombola.store import asked, schema

Labels = Mapping[str, Any]

APART = "apart"
"""Extra column for runs that no other column distinguishes: their grid, then their order."""

METHOD = ("options", "scope", "prune_step", "rewind_step", "finetune", "prune_fraction")
"""Columns that a dense run does not have."""

PANEL = ("network", "dataset")

_POINT = ("sweep", "trial", "grid", "replicate", "level", "requested_density")

SETTING = tuple(
    name
    for name in schema.TRIALS.names
    if name not in (*_POINT, *PANEL, "method", "ablation") and not name.endswith(("_seed", "_key"))
)
"""Columns of `trials` that distinguish series of one method and ablation."""

RECIPE = tuple(name for name in SETTING if name not in METHOD)
"""Columns of SETTING that a dense run has too."""


def varying(trials: Iterable[Labels]) -> dict[str, set[str]]:
    """Return, by method, the columns in which trials of one network and dataset differ."""
    first: dict[tuple[Any, ...], Labels] = {}
    columns: dict[str, set[str]] = defaultdict(set)
    for labels in trials:
        method = labels["method"]
        other = first.setdefault((method, *(labels[name] for name in PANEL)), labels)
        if other is not labels:
            known = columns[method]
            known.update(
                name
                for name in (*SETTING, APART)
                if name not in known and other.get(name) != labels.get(name)
            )
    return columns


def details(labels: Labels, columns: Iterable[str]) -> list[str]:
    """Return the text of a trial's setting: these columns and their values."""
    wanted = set(columns)
    return [_text_of(name, labels.get(name)) for name in (*SETTING, APART) if name in wanted]


def _text_of(column: str, value: Any) -> str:
    if column in (APART, "scope", "schedule"):
        return str(value) if column == APART else str(value).replace("_", " ")
    if column == "options":
        chosen = asked.fields(value)
        return ", ".join(f"{k} {v}" for k, v in chosen.items()).replace("_", " ") or "default"
    if column in _VERBS:
        return f"{_VERBS[column]} {value}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{column.replace('_', ' ')} {value:.12g}"
    return f"{column} {value}"


_VERBS = {"rewind_step": "rewound to", "prune_step": "pruned at", "finetune": "fine-tuned"}


# ---------------------------------------------------------------- the same in SQL


def varies(column: str) -> str:
    """Return SQL that tells whether a column differs within a group."""
    return f"(min({column}) IS DISTINCT FROM max({column}) OR count({column}) NOT IN (0, count(*)))"


def words(column: str) -> str:
    """Return SQL of the text of a column and its value, as in `details`."""
    kind = schema.TRIALS.field(column).type
    text = f"coalesce({column}::VARCHAR, 'None')"
    if column in ("scope", "schedule"):
        return f"replace({text}, '_', ' ')"
    if column == "options":
        return f"coalesce(nullif(replace({_OPTIONS}, '_', ' '), ''), 'default')"
    if column in _VERBS:
        return f"'{_VERBS[column]} ' || {text}"
    if pa.types.is_boolean(kind):
        text = f"CASE {column} WHEN true THEN 'True' WHEN false THEN 'False' ELSE 'None' END"
    if pa.types.is_floating(kind):
        text = f"coalesce(printf('%.12g', {column}), 'None')"
    number = pa.types.is_floating(kind) or pa.types.is_integer(kind)
    name = column.replace("_", " ") if number else column
    named = f"'{name} ' || {text}"
    if not number:
        return named
    return f"CASE WHEN {column} IS NULL THEN '{column} None' ELSE {named} END"


_OPTIONS = """replace(regexp_replace(trim(options, '{}'), '"([^"]*)": ', '\\1 ', 'g'), '"', '')"""

_CELL = "method, network, dataset, words_, ablation, requested_density, replicate"
_GRID = "CASE WHEN by_grid_ THEN coalesce(grid::VARCHAR, 'None') END"

MACRO = f"""TABLE
WITH panels_ AS (
    SELECT method, {", ".join(f"{varies(name)} AS {name}_" for name in SETTING)}
    FROM trials WHERE trials.sweep = sweep GROUP BY method, network, dataset),
methods_ AS (
    SELECT method, {", ".join(f"bool_or({name}_) AS {name}_" for name in SETTING)}
    FROM panels_ GROUP BY method),
named_ AS (
    SELECT trial, grid, {_CELL.replace("words_, ", "")},
           coalesce(run_key, mask_key) AS answer_,
           concat_ws(', ', {", ".join(f"CASE WHEN {n}_ THEN {words(n)} END" for n in SETTING)})
               AS words_
    FROM trials JOIN methods_ USING (method) WHERE trials.sweep = sweep),
celled_ AS (
    SELECT *, min(answer_) OVER cell_ IS DISTINCT FROM max(answer_) OVER cell_ AS several_
    FROM named_ WINDOW cell_ AS (PARTITION BY {_CELL})),
gridded_ AS (
    SELECT * EXCLUDE (several_), bool_or(several_) OVER (PARTITION BY method) AS by_grid_
    FROM celled_),
begun_ AS (
    SELECT *, min(trial) OVER (PARTITION BY {_CELL}, {_GRID}, answer_) AS first_,
           min(answer_) OVER cell_ IS DISTINCT FROM max(answer_) OVER cell_ AS several_
    FROM gridded_ WINDOW cell_ AS (PARTITION BY {_CELL}, {_GRID})),
ordered_ AS (
    SELECT *, bool_or(several_) OVER (PARTITION BY method) AS by_order_,
           dense_rank() OVER (PARTITION BY {_CELL}, {_GRID} ORDER BY first_) - 1 AS order_
    FROM begun_),
apart_ AS (
    SELECT trial, words_, nullif(concat_ws(', ', 'grid ' || {_GRID},
               CASE WHEN by_order_ THEN 'setting ' || order_ END), '') AS apart
    FROM ordered_)
SELECT trial, concat_ws(', ', nullif(words_, ''), apart) AS setting, apart
FROM apart_ ORDER BY trial
"""
"""SQL macro: the trials of a sweep with the text of their setting, and its `apart` part."""
