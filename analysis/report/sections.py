"""Sections of the report: tables with a heading and a text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import pyarrow as pa

from analysis.database import views
from analysis.database.quoting import literal
from analysis.figures import costing
from analysis.lint import lint
from analysis.report import queries
from analysis.report.queries import Columns
from analysis.report.tables import Table, ask, listed, table
from tombola.rounding import rounded
from tombola.store.settings import SETTING


@dataclass(frozen=True)
class Section:
    """Heading, text, and tables by caption; a single table has an empty caption."""

    anchor: str
    title: str
    text: str
    tables: dict[str, Table]
    tall: bool = False


Drawn = Mapping[str, Sequence[str]]
"""Keys of the runs behind each figure, by its name."""


def sections(
    connection: duckdb.DuckDBPyConnection, sweep: str, drawn: Drawn
) -> tuple[Section, ...]:
    """Return all sections of the report, in order."""
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
    findings = lint(connection, sweep)
    rows = [(f.rule.capitalize(), f.answer, f.evidence) for f in findings]
    kept = sum(finding.outcome == "ok" for finding in findings)
    return Section(
        "checklist",
        "Reporting checklist",
        "After Blalock et al. 2020, “What is the State of Neural Network Pruning?”, answered "
        f"from the store: {kept} of {len(findings)} are kept.",
        {"": table(("asked for", "answer", "evidence"), rows)},
    )


def _hyperparameters(connection: duckdb.DuckDBPyConnection, sweep: str) -> Section:
    """Return the settings that vary, and those that are the same for all trials."""
    sql = f"SELECT DISTINCT {', '.join(SETTING)} FROM trials WHERE sweep = {literal(sweep)}"
    rows = connection.execute(f"{sql} ORDER BY ALL").fetchall()
    meanings = views.comments()
    parts: dict[str, list[tuple[str, str, str]]] = {"Varied": [], "The same for all": []}
    for column, values in zip(SETTING, zip(*rows, strict=True), strict=True):
        different = sorted({value for value in values if value not in (None, "{}")}, key=_order)
        if different:
            part = "Varied" if len(different) > 1 else "The same for all"
            text = listed([_plain(value) for value in different])
            parts[part].append((column.replace("_", " "), text, meanings["trials", column]))
    tables = {
        caption: replace(table(("name", "values", "meaning"), settings), sql=sql)
        for caption, settings in parts.items()
        if settings
    }
    text = "Of the trials' settings; what no trial uses is left out."
    return Section("hyperparameters", "Hyperparameters", text, tables)


def _cost(connection: duckdb.DuckDBPyConnection, sweep: str, drawn: Drawn) -> Section:
    """Return the cost of each method, and what sharing saved."""
    by_method = ask(connection, queries.cost(sweep))
    _, tasks, training, pruning, measuring, alone = by_method.values[-1]
    if not tasks:
        return Section("cost", "Cost", "Nothing is computed yet.", {})
    text = (
        "Time of the tasks behind each method, what is shared counted for each that needs it; "
        "“all together” counts each task once."
    )
    once = training + pruning + measuring
    if 0 < once < alone:
        text += (
            f" Each trial alone, with all it stands on, would have taken {alone:,.0f} s; "
            f"equal work done once took {once:,.0f} s: "
            f"{100 * (1 - once / alone):.0f}\N{NO-BREAK SPACE}% saved."
        )
    text += (
        " By density, a shared task is split evenly over the trials that stand on it: what is "
        "spent adds up to the total."
    )
    by_density = ask(connection, queries.ledger(sweep))
    tables = {"By method": by_method, "By method and density": by_density}
    if drawn:
        text += (
            " By figure, work is that behind the trials that it draws, equal work once; its own "
            "is what no other figure needs."
        )
        tables["By figure"] = _by_figure(costing.by_figure(connection, sweep, drawn))
    return Section("cost", "Cost", text, tables)


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
    text = "Key is the run's (or the mask's, where nothing is trained): `tombola show KEY`."
    if count > queries.MOST_TRIALS:
        text = (
            f"The first {queries.MOST_TRIALS:,} of {count:,}; the query below without its "
            f"LIMIT gives all. {text}"
        )
    rows = ask(connection, queries.trials(sweep, columns))
    return Section("trials", "All trials", text, {"": rows}, tall=True)


def _order(value: Any) -> tuple[bool, Any]:
    """Return the sort key of a value: numbers before text."""
    return (True, value) if isinstance(value, str) else (False, value)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
