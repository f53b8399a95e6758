"""The report's tables, each with a heading and what has to be said of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import pyarrow as pa

from analysis import lint as checking
from analysis.database import views
from analysis.database.quoting import literal
from analysis.figures import costing
from analysis.report import queries
from analysis.report.queries import Columns
from analysis.report.tables import Table, ask, listed, table
from tombola.rounding import rounded
from tombola.store.settings import SETTING


@dataclass(frozen=True)
class Section:
    """A heading, a few words, and tables by their captions (empty where there is one)."""

    anchor: str
    title: str
    text: str
    tables: dict[str, Table]
    tall: bool = False


Drawn = Mapping[str, Sequence[str]]
"""The runs behind each figure, by its name."""


def sections(
    connection: duckdb.DuckDBPyConnection, sweep: str, drawn: Drawn
) -> tuple[Section, ...]:
    """Every table of the report, in its order."""
    columns = queries.columns(connection, sweep)
    failed = ask(connection, queries.failures(sweep))
    return (
        Section(
            "results",
            "Results",
            "Means over the n replicates at the last step; std is their standard deviation, and "
            "the change is to the dense run of the same replicate and recipe.",
            {"": ask(connection, queries.results(sweep, columns))},
            tall=True,
        ),
        _checklist(connection, sweep),
        _hyperparameters(connection, sweep),
        _cost(connection, sweep, drawn),
        Section(
            "environment",
            "Environment",
            "Where the tasks behind these trials were done, and by which software; a + after "
            "the commit says that the code was modified.",
            {"": ask(connection, queries.environment(sweep))},
        ),
        Section(
            "failures",
            "Failures",
            "By class and message." if failed.rows else "No task failed.",
            {"": failed} if failed.rows else {},
        ),
        _trials(connection, sweep, columns),
    )


def _checklist(connection: duckdb.DuckDBPyConnection, sweep: str) -> Section:
    findings = checking.lint(connection, sweep)
    rows = [(found.rule.capitalize(), found.answer, found.evidence) for found in findings]
    kept = sum(found.outcome == "ok" for found in findings)
    return Section(
        "checklist",
        "Reporting checklist",
        "After Blalock et al. 2020, “What is the State of Neural Network Pruning?”, answered "
        f"from the store: {kept} of {len(findings)} are kept.",
        {"": table(("asked for", "answer", "evidence"), rows)},
    )


def _hyperparameters(connection: duckdb.DuckDBPyConnection, sweep: str) -> Section:
    """What varies and what is the same, of the columns that configure a trial."""
    sql = f"SELECT DISTINCT {', '.join(SETTING)} FROM trials WHERE sweep = {literal(sweep)}"
    rows = connection.execute(f"{sql} ORDER BY ALL").fetchall()
    meanings = views.comments()
    parts: dict[str, list[tuple[str, str, str]]] = {"Varied": [], "The same for all": []}
    for column, values in zip(SETTING, zip(*rows, strict=True), strict=True):
        different = sorted({value for value in values if value not in (None, "{}")}, key=_order)
        if different:
            part = "Varied" if len(different) > 1 else "The same for all"
            said = listed([_plain(value) for value in different])
            parts[part].append((column.replace("_", " "), said, meanings["trials", column]))
    tables = {
        caption: replace(table(("name", "values", "meaning"), found), sql=sql)
        for caption, found in parts.items()
        if found
    }
    text = "Of the trials' settings; what no trial uses is left out."
    return Section("hyperparameters", "Hyperparameters", text, tables)


def _cost(connection: duckdb.DuckDBPyConnection, sweep: str, drawn: Drawn) -> Section:
    """What each method took, and what sharing saved, in words."""
    found = ask(connection, queries.cost(sweep))
    _, tasks, training, pruning, measuring, alone = found.values[-1]
    if not tasks:
        return Section("cost", "Cost", "Nothing is computed yet.", {})
    said = (
        "Time of the tasks behind each method, what is shared counted for each that needs it; "
        "“all together” counts each task once."
    )
    once = training + pruning + measuring
    if 0 < once < alone:
        said += (
            f" Each trial alone, with all it stands on, would have taken {alone:,.0f} s; "
            f"equal work done once took {once:,.0f} s: "
            f"{100 * (1 - once / alone):.0f}\N{NO-BREAK SPACE}% saved."
        )
    said += (
        " By density, a shared task is split evenly over the trials that stand on it: what is "
        "spent adds up to the total."
    )
    tables = {"By method": found, "By method and density": ask(connection, queries.ledger(sweep))}
    if drawn:
        said += (
            " By figure, work is that behind the trials that it draws, equal work once; its own "
            "is what no other figure needs."
        )
        tables["By figure"] = _by_figure(costing.by_figure(connection, sweep, drawn))
    return Section("cost", "Cost", said, tables)


def _by_figure(hours: pa.Table) -> Table:
    rows = [
        (
            *(row[name] for name in ("figure", "trials", "tasks")),
            *(rounded(3600 * row[f"{name}hours"], 1) for name in ("", "own_", "alone_")),
            rounded(100 * row["saved_hours"] / row["alone_hours"], 1)
            if row["alone_hours"]
            else None,
        )
        for row in hours.to_pylist()
    ]
    seconds = ("work (s)", "its own (s)", "each trial alone (s)", "saved (%)")
    return table(("figure", "trials", "tasks", *seconds), rows)


def _trials(connection: duckdb.DuckDBPyConnection, sweep: str, columns: Columns) -> Section:
    [(count,)] = connection.execute(
        f"SELECT count(*) FROM trials WHERE sweep = {literal(sweep)}"
    ).fetchall()
    said = "Key is the run's (or the mask's, where nothing is trained): `tombola show KEY`."
    if count > queries.MOST_TRIALS:
        said = (
            f"The first {queries.MOST_TRIALS:,} of {count:,}; the query below without its "
            f"LIMIT gives all. {said}"
        )
    found = ask(connection, queries.trials(sweep, columns))
    return Section("trials", "All trials", said, {"": found}, tall=True)


def _order(value: Any) -> tuple[bool, Any]:
    """Numbers before text, each in their order."""
    return (True, value) if isinstance(value, str) else (False, value)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
