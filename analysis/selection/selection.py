"""The trials a figure shows, and what its series are called: settings never mix.

What makes two trials points of one curve is every column that configures them, apart from
density, replicate and seeds. Should two different runs still meet at one density of one
replicate (a setting that no column names), they are told apart by grid, then by order.
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
    """Trials of a figure: those that are done, of how many, and the runs that answer them.

    Rows have two columns more: `shown` and `dense_shown`, the metric's values in its unit.
    """

    rows: tuple[Row, ...]
    asked: int
    done: int
    runs: tuple[str, ...]
    report: Report = "last"
    metric: Metric = METRICS["accuracy"]


def choose(
    connection: duckdb.DuckDBPyConnection, sweep: str, options: Options, sql: str = SQL
) -> Selection:
    """Trials that the options let pass; `rows` are of those that are done.

    Raises
    ------
    FigureError
        When no pruned one is.
    """
    name = options.metric if isinstance(options, CurveOptions) else "accuracy"
    trials = query_rows(connection, sql, {"sweep": sweep})
    rows = [_measured(row, METRICS[name], options.report) for row in trials]
    _check_where(rows, options)
    asked = [row for row in rows if _passes(row, options)]
    done = [row for row in asked if row["status"] == "done"]
    if not any(row["method"] != "dense" for row in done):
        raise FigureError(_nothing(sweep, rows, asked))
    if isinstance(options, CurveOptions):
        asked = [row for row in asked if row["status"] != "done" or _has(row)]
        done = [row for row in done if _has(row)]
        _check_shown(sweep, done, options)
    set_apart([row for row in done if row["method"] != "dense"])
    return Selection(
        rows=tuple(done),
        asked=len({row["trial"] for row in asked}),
        done=len({row["trial"] for row in done}),
        runs=tuple(sorted({answer(row) for row in done})),
        report=options.report,
        metric=METRICS[name],
    )


def _measured(row: Row, metric: Metric, report: Report) -> Row:
    """A row with what is shown of it: at the last step, or accuracy at the best."""
    at = "" if report == "last" or metric.column != "accuracy" else f"{report}_"
    shown = row[f"{at}{metric.column}"]
    dense = row[f"dense_{at}{metric.column}"] if metric.dense else None
    return {
        **row,
        "shown": None if shown is None else metric.scale * shown,
        "dense_shown": None if dense is None else metric.scale * dense,
    }


def _has(row: Row) -> bool:
    """Whether it has the metric; what is done without was never to be measured."""
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
    """Key of the run that answers a trial, or of the mask where nothing is trained."""
    key: str = row["run_key"] or row["mask_key"]
    return key


def setting(row: Row) -> Setting:
    """What makes two rows of a panel points of one method's curve, ablations aside."""
    return (row["method"], *of(row, SETTING), row[APART])


def labels(rows: Iterable[Row], told: Sequence[str] = ()) -> dict[Setting, tuple[str, int]]:
    """Label and number of each setting: its method, and what varies among its siblings.

    Columns in `told` are left out, as the reader is told of them elsewhere. Numbers count the
    labels of methods with one colour and marker, from 0.
    """
    pruned = [row for row in rows if row["method"] != "dense"]
    different = varying(pruned)
    names = method_names({row["method"] for row in pruned})
    found: dict[Setting, tuple[str, int]] = {}
    numbers: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for row in pruned:
        said = details(row, different[row["method"]].difference(told))
        name = [] if "method" in told and said else [names[row["method"]]]
        label = ", ".join([*name, *said])
        look = style.look(row["method"])
        known = numbers[("", "") if "method" in told else (look.colour, look.marker)]
        found[setting(row)] = (label, known.setdefault(label, len(known)))
    return found


def method_names(methods: Iterable[str]) -> dict[str, str]:
    """What to call each method; one's own in full where two would have the same name."""
    short = {method: style.look(method).label for method in methods}
    known = [*short.values()]
    return {m: label if known.count(label) == 1 else m for m, label in short.items()}


def footnote(selection: Selection, counts: Iterable[int], spread: Spread) -> str:
    """Replicates and spread, and how much is done where it is not all."""
    low, high = min(counts), max(counts)
    replicates = str(low) if low == high else f"{low} to {high}"
    text = f"Mean of {replicates} replicates, band {SPREADS[spread]}."
    if high == 1:
        text = "One replicate."
    text += _REPORTED[selection.report]
    if selection.done < selection.asked:
        text += f" {selection.done:,} of {selection.asked:,} trials done."
    return text


_REPORTED = {
    "last": "",
    "best_val": " Test accuracy at the step of the best validation accuracy.",
    "best": " Best test accuracy of all steps, which peeks at the test set.",
}


def spaced(there_are: Iterable[float], wanted: Sequence[float], most: int) -> tuple[float, ...]:
    """The densities nearest to each wanted one, or `most` spread out; densest first."""
    ordered = sorted(set(there_are), reverse=True)
    if wanted:
        near = {min(ordered, key=lambda d: abs(d - one)) for one in wanted}
    elif most == 1:
        near = {ordered[len(ordered) // 2]}
    else:
        near = {ordered[round(n * (len(ordered) - 1) / (most - 1))] for n in range(most)}
    return tuple(sorted(near, reverse=True))


def left_out(there_are: Iterable[float], shown: Sequence[float]) -> str:
    """A sentence on the densities that are not shown; empty where all are."""
    count = len(set(there_are))
    if count <= len(shown):
        return ""
    return f" {len(shown)} of {count} densities; others by the option `densities`."


def grouped(rows: Iterable[T], key: Callable[[T], Any]) -> dict[Any, list[T]]:
    """Rows, or whatever it is, by key, in their order."""
    groups: dict[Any, list[T]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def of(row: Row, columns: Iterable[str]) -> tuple[Any, ...]:
    """Values of these columns."""
    return tuple(row[column] for column in columns)


# ---------------------------------------------------------------- details


def _passes(row: Row, options: Options) -> bool:
    asked: dict[str, tuple[Any, ...]] = {"network": options.networks, "dataset": options.datasets}
    if row["method"] != "dense":
        asked |= {"method": options.methods, "ablation": options.ablations}
        if isinstance(options, LearningOptions):
            asked["trial"] = options.trials
    if not all(not names or row[column] in names for column, names in asked.items()):
        return False
    return all(_is_one(row, column, values) for column, values in options.where)


def _is_one(row: Row, column: str, values: tuple[Any, ...]) -> bool:
    """Whether a row has one of the values; the dense run passes what only masks have."""
    known = {**_own(row), **row}
    if row["method"] == "dense" and (column not in known or column in METHOD):
        return True
    return any(
        known.get(column) == value or str(known.get(column)) == str(value) for value in values
    )


def _own(row: Row) -> Row:
    """Options and tags of a row by their names, as columns of `trials` are called too."""
    found: Row = {}
    for column, prefix in _NAMED:
        for name, value in asked.fields(row[column] or "{}").items():
            found |= {name: value, f"{prefix}_{name}": value}
    return found


_NAMED = (("options", "option"), ("network_options", "network_option"), ("tags", "tag"))


def _check_where(rows: Sequence[Row], options: Options) -> None:
    known = {*SETTING, *(name for row in rows for name in _own(row))} if options.where else set()
    for column, _ in options.where:
        if column not in known:
            raise FigureError(f"where: no trial has a column {column!r}; {nearest(column, known)}")


def _nothing(sweep: str, rows: Sequence[Row], asked: Sequence[Row]) -> str:
    if any(row["method"] != "dense" for row in asked):
        return f"nothing to draw yet: none of {len(asked):,} trials of sweep {sweep} is done"
    there = "; ".join(
        f"{column}s {', '.join(sorted({row[column] for row in rows} - {'dense'}))}"
        for column in ("method", "network", "dataset", "ablation")
    )
    return f"nothing to draw: no pruned trial of sweep {sweep} matches; it has {there or 'none'}"


def set_apart(rows: Sequence[Row]) -> None:
    """Tell apart, in the column `apart`, settings of a method that no column tells apart."""
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
