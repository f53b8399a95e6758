"""Selection of a figure's trials, and labels of its curves; one curve never mixes settings.

Two trials are on one curve if all columns that configure them are equal, except density,
replicate and seeds. If two different runs still have the same density and replicate, a setting
without a column differs. The column `apart` then separates them, by grid or by order.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import duckdb

from analysis import style
from analysis.database.rows import Row, query_rows
from analysis.selection.metrics import METRICS, Metric
from analysis.selection.options import CurveOptions, LearningOptions, Options, Report
from analysis.stats import SPREADS, Spread
from tombola.errors import FigureError
from tombola.store import asked
from tombola.store.settings import APART, METHOD, PANEL, SETTING, details, varying
from tombola.text import nearest

COLUMNS = (
    *("trial", "grid", *PANEL, "method", "ablation", "replicate", "requested_density"),
    *("status", "best_val_accuracy", "best_accuracy"),
    *("dense_accuracy", "dense_best_val_accuracy", "dense_best_accuracy"),
    *(metric.column for metric in METRICS.values()),
    *("run_key", "mask_key", "dense_key", *SETTING),
)

SQL = f"SELECT {', '.join(COLUMNS)} FROM trials WHERE sweep = $sweep ORDER BY trial"

T = TypeVar("T")
Setting = tuple[Any, ...]


@dataclass(frozen=True)
class Selection:
    """Trials of a figure: rows of finished trials, counts, and keys of their runs.

    Rows have two more columns, `shown` and `dense_shown`: the metric's values in its unit.
    """

    rows: tuple[Row, ...]
    total: int
    done: int
    runs: tuple[str, ...]
    report: Report = "last"
    metric: Metric = METRICS["accuracy"]


def choose(
    connection: duckdb.DuckDBPyConnection, sweep: str, options: Options, sql: str = SQL
) -> Selection:
    """Select the trials that match the options; `rows` has the finished ones.

    Raises
    ------
    FigureError
        When no finished pruned trial matches.
    """
    name = options.metric if isinstance(options, CurveOptions) else "accuracy"
    trials = query_rows(connection, sql, {"sweep": sweep})
    rows = [_measured(row, METRICS[name], options.report) for row in trials]
    _check_where(rows, options)
    matching = [row for row in rows if _passes(row, options)]
    done = [row for row in matching if row["status"] == "done"]
    if not any(row["method"] != "dense" for row in done):
        raise FigureError(_nothing(sweep, rows, matching))
    if isinstance(options, CurveOptions):
        matching = [row for row in matching if row["status"] != "done" or _has(row)]
        done = [row for row in done if _has(row)]
        _check_shown(sweep, done, options)
    set_apart([row for row in done if row["method"] != "dense"])
    return Selection(
        rows=tuple(done),
        total=len({row["trial"] for row in matching}),
        done=len({row["trial"] for row in done}),
        runs=tuple(sorted({answer(row) for row in done})),
        report=options.report,
        metric=METRICS[name],
    )


def _measured(row: Row, metric: Metric, report: Report) -> Row:
    """Return a row with the shown values: at the last step, or accuracy at the best step."""
    at = "" if report == "last" or metric.column != "accuracy" else f"{report}_"
    shown = row[f"{at}{metric.column}"]
    dense = row[f"dense_{at}{metric.column}"] if metric.dense else None
    return {
        **row,
        "shown": None if shown is None else metric.scale * shown,
        "dense_shown": None if dense is None else metric.scale * dense,
    }


def _has(row: Row) -> bool:
    """Return whether a finished trial has the metric; without it, it was not to be measured."""
    return row["method"] == "dense" or row["shown"] is not None


def _check_shown(sweep: str, done: Sequence[Row], options: CurveOptions) -> None:
    if options.report != "last" and options.metric != "accuracy":
        raise FigureError(f"report {options.report} goes with metric accuracy alone")
    if not any(row["method"] != "dense" for row in done):
        if options.report != "last":
            raise FigureError(
                f"report {options.report} takes a sweep that evaluates val: add "
                "`eval: [train, val, test]`"
            )
        takes = METRICS[options.metric].takes
        raise FigureError(f"sweep {sweep} has no {options.metric} to show: it takes {takes}")


def answer(row: Row) -> str:
    """Return the key of a trial's run, or of its mask if it trains nothing."""
    key: str = row["run_key"] or row["mask_key"]
    return key


def setting(row: Row) -> Setting:
    """Return the values that two rows of one method's curve share, without the ablation."""
    return (row["method"], *of(row, SETTING), row[APART])


def labels(rows: Iterable[Row], titled: Sequence[str] = ()) -> dict[Setting, tuple[str, int]]:
    """Return (label, number) of each setting: the method, and what varies among its settings.

    Labels leave out the columns in `titled`, which a title names. Numbers count, from 0, the
    labels of methods with the same colour and marker.
    """
    pruned = [row for row in rows if row["method"] != "dense"]
    different = varying(pruned)
    names = method_names({row["method"] for row in pruned})
    named: dict[Setting, tuple[str, int]] = {}
    numbers: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for row in pruned:
        words = details(row, different[row["method"]].difference(titled))
        name = [] if "method" in titled and words else [names[row["method"]]]
        label = ", ".join([*name, *words])
        look = style.look(row["method"])
        known = numbers[("", "") if "method" in titled else (look.colour, look.marker)]
        named[setting(row)] = (label, known.setdefault(label, len(known)))
    return named


def method_names(methods: Iterable[str]) -> dict[str, str]:
    """Return a name for each method; its full name if two short names are equal."""
    short = {method: style.look(method).label for method in methods}
    known = [*short.values()]
    return {m: label if known.count(label) == 1 else m for m, label in short.items()}


def footnote(selection: Selection, counts: Iterable[int], spread: Spread) -> str:
    """Return the footnote: replicates, spread, and progress of an unfinished sweep."""
    low, high = min(counts), max(counts)
    replicates = str(low) if low == high else f"{low} to {high}"
    text = f"Mean of {replicates} replicates, band {SPREADS[spread]}."
    if high == 1:
        text = "One replicate."
    text += _REPORTED[selection.report]
    if selection.done < selection.total:
        text += f" {selection.done:,} of {selection.total:,} trials done."
    return text


_REPORTED = {
    "last": "",
    "best_val": " Test accuracy at the step of the best validation accuracy.",
    "best": " Best test accuracy of all steps, which peeks at the test set.",
}


def spaced(densities: Iterable[float], wanted: Sequence[float], most: int) -> tuple[float, ...]:
    """Return the densities nearest to the wanted ones, or `most` evenly spaced; densest first."""
    ordered = sorted(set(densities), reverse=True)
    if wanted:
        near = {min(ordered, key=lambda d: abs(d - density)) for density in wanted}
    elif most == 1:
        near = {ordered[len(ordered) // 2]}
    else:
        near = {ordered[round(n * (len(ordered) - 1) / (most - 1))] for n in range(most)}
    return tuple(sorted(near, reverse=True))


def left_out(densities: Iterable[float], shown: Sequence[float]) -> str:
    """Return a sentence on the densities that are not shown; empty if all are."""
    count = len(set(densities))
    if count <= len(shown):
        return ""
    return f" {len(shown)} of {count} densities; others by the option `densities`."


def grouped(rows: Iterable[T], key: Callable[[T], Any]) -> dict[Any, list[T]]:
    """Group rows, or other items, by key, in their order."""
    groups: dict[Any, list[T]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def of(row: Row, columns: Iterable[str]) -> tuple[Any, ...]:
    """Return the values of columns."""
    return tuple(row[column] for column in columns)


# ---------------------------------------------------------------- details


def _passes(row: Row, options: Options) -> bool:
    wanted: dict[str, tuple[Any, ...]] = {"network": options.networks, "dataset": options.datasets}
    if row["method"] != "dense":
        wanted |= {"method": options.methods, "ablation": options.ablations}
        if isinstance(options, LearningOptions):
            wanted["trial"] = options.trials
    if not all(not names or row[column] in names for column, names in wanted.items()):
        return False
    return all(_is_one(row, column, values) for column, values in options.where)


def _is_one(row: Row, column: str, values: tuple[Any, ...]) -> bool:
    """Return whether a row has one of the values; dense runs match columns of masks."""
    known = {**_own(row), **row}
    if row["method"] == "dense" and (column not in known or column in METHOD):
        return True
    return any(
        known.get(column) == value or str(known.get(column)) == str(value) for value in values
    )


def _own(row: Row) -> Row:
    """Return the options and tags of a row by name, and by the column names of `trials`."""
    fields: Row = {}
    for column, prefix in _NAMED:
        for name, value in asked.fields(row[column] or "{}").items():
            fields |= {name: value, f"{prefix}_{name}": value}
    return fields


_NAMED = (("options", "option"), ("network_options", "network_option"), ("tags", "tag"))


def _check_where(rows: Sequence[Row], options: Options) -> None:
    known = {*SETTING, *(name for row in rows for name in _own(row))} if options.where else set()
    for column, _ in options.where:
        if column not in known:
            raise FigureError(f"where: no trial has a column {column!r}; {nearest(column, known)}")


def _nothing(sweep: str, rows: Sequence[Row], matching: Sequence[Row]) -> str:
    if any(row["method"] != "dense" for row in matching):
        return f"nothing to draw yet: none of {len(matching):,} trials of sweep {sweep} is done"
    present = "; ".join(
        f"{column}s {', '.join(sorted({row[column] for row in rows} - {'dense'}))}"
        for column in ("method", "network", "dataset", "ablation")
    )
    return f"nothing to draw: no pruned trial of sweep {sweep} matches; it has {present or 'none'}"


def set_apart(rows: Sequence[Row]) -> None:
    """Set the column `apart`, which separates settings that no other column separates."""
    for row in rows:
        row[APART] = None
    for members in grouped(rows, lambda row: row["method"]).values():
        for name in (_by_grid, _by_order):
            cells = grouped(members, _cell)
            if all(len({answer(row) for row in cell}) == 1 for cell in cells.values()):
                break
            for cell in cells.values():
                name(cell)


def _by_grid(cell: Sequence[Row]) -> None:
    for row in cell:
        row[APART] = f"grid {row['grid']}"


def _by_order(cell: Sequence[Row]) -> None:
    order = list(dict.fromkeys(answer(row) for row in cell))
    for row in cell:
        row[APART] += f", setting {order.index(answer(row))}"


def _cell(row: Row) -> tuple[Any, ...]:
    point = ("ablation", "requested_density", "replicate")
    return (*of(row, PANEL), setting(row), *of(row, point))
