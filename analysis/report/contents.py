"""What the report says, in its order: facts and sentences, no markup but the figures'."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import yaml
from markupsafe import Markup

from analysis import figures, results, style, views
from analysis import lint as checking
from analysis.errors import FigureError
from analysis.figures import save
from analysis.figures.selection import SETTING
from analysis.report import queries
from analysis.report.tables import Table, ask, quoted, table

_MOST_VALUES = 12
_PHONE = style.WIDTHS["icml-column"]


@dataclass(frozen=True)
class Picture:
    """A figure in the page, for a sheet and for a phone, or why there is none."""

    title: str
    wide: str = ""
    narrow: str = ""
    note: str = ""
    about: dict[str, Any] | None = None
    problem: str = ""


@dataclass(frozen=True)
class Section:
    """A heading, a few words, and tables by their captions (empty where there is one)."""

    anchor: str
    title: str
    text: str
    tables: dict[str, Table]
    tall: bool = False


@dataclass(frozen=True)
class Report:
    """All of a page."""

    name: str
    description: str
    asked: dict[str, str]
    done: int
    trials: int
    progress: str
    pictures: tuple[Picture, ...]
    sections: tuple[Section, ...]
    definition: str


def gather(connection: duckdb.DuckDBPyConnection, sweep: str) -> Report:
    """Everything the report says of a sweep.

    Raises
    ------
    StoreError
        When the store does not know the sweep.
    """
    asked = results.figures_of(connection, sweep)
    revision, definition = connection.execute(
        "SELECT revision, definition FROM sweeps WHERE sweep = ? AND current", [sweep]
    ).fetchall()[0]
    cursor = connection.execute(queries.summary(sweep))
    names = [column[0] for column in cursor.description or ()]
    counts = dict(zip(names, cursor.fetchall()[0], strict=True))
    said = json.loads(definition)
    return Report(
        name=sweep,
        description=str(said.get("description") or ""),
        asked={**_asked(counts), "Revision": revision},
        done=counts["done"],
        trials=counts["trials"],
        progress=_progress(counts),
        pictures=tuple(
            _picture(connection, sweep, entry, number) for number, entry in enumerate(asked, 1)
        ),
        sections=_sections(connection, sweep),
        definition=yaml.safe_dump(
            said, sort_keys=False, allow_unicode=True, default_flow_style=None
        ),
    )


# ---------------------------------------------------------------- what was asked


def _asked(counts: dict[str, Any]) -> dict[str, str]:
    """Names of what was asked for, and how much of it."""
    seeds, densities = counts["replicates"] or [], counts["densities"] or []
    problems = [style.problem(*pair) for pair in counts["problems"] or []]
    asked = {
        "Trials": f"{counts['trials']:,}",
        "Replicates": f"{len(seeds):,} ({'seed' if len(seeds) == 1 else 'seeds'} {_listed(seeds)})",
        "Networks and datasets": _listed(problems),
        "Methods": _listed([style.look(name).label for name in counts["methods"] or []]),
        "Ablations": _listed([_ablation(name) for name in counts["ablations"] or []]),
        "Weights remaining": _listed(
            [f"{style.percent(one)}\N{NO-BREAK SPACE}%" for one in densities]
        ),
    }
    return {name: said for name, said in asked.items() if said}


def _ablation(name: str) -> str:
    return style.ABLATIONS[name].label if name in style.ABLATIONS else name


def _progress(counts: dict[str, Any]) -> str:
    rest = [f"{counts[s]:,} {s}" for s in ("failed", "blocked", "pending") if counts[s]]
    return ", ".join([f"{counts['done']:,} of {counts['trials']:,} trials done", *rest])


def _listed(values: Sequence[object]) -> str:
    more = f" and {len(values) - _MOST_VALUES:,} more" if len(values) > _MOST_VALUES else ""
    return ", ".join(map(str, values[:_MOST_VALUES])) + more


# ---------------------------------------------------------------- figures


def _picture(connection: duckdb.DuckDBPyConnection, sweep: str, entry: Any, number: int) -> Picture:
    """One figure; its note is left to the page, where it can be read and copied.

    Matplotlib writes every letter as a shape, so nothing of a sweep's text is in the SVG.
    """
    try:
        made = figures.prepare(connection, sweep, entry)
    except FigureError as error:
        name = entry if isinstance(entry, str) else next(iter(entry), "")
        return Picture(_titled(str(name)), problem=str(error))
    wide, narrow = (
        Markup(save.svg(made.draw, replace(made.facts, note="", width=width), prefix))  # noqa: S704
        for prefix, width in (
            (f"figure{number}", made.facts.width),
            (f"phone{number}", min(made.facts.width, _PHONE)),
        )
    )
    return Picture(_titled(made.name), wide, narrow, made.facts.note, json.loads(made.about))


def _titled(name: str) -> str:
    return name.replace("-", " ").capitalize()


# ---------------------------------------------------------------- tables


def _sections(connection: duckdb.DuckDBPyConnection, sweep: str) -> tuple[Section, ...]:
    apart = queries.varying(connection, sweep)
    failed = ask(connection, queries.failures(sweep))
    return (
        Section(
            "results",
            "Results",
            "Means over replicates at the last step; std is the standard deviation of the n "
            "replicates, and the change is to the dense run of the same replicate and recipe.",
            {"": ask(connection, queries.results(sweep, apart))},
            tall=True,
        ),
        _checklist(connection, sweep),
        _hyperparameters(connection, sweep),
        _cost(connection, sweep),
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
        _trials(connection, sweep, apart),
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
    sql = f"SELECT DISTINCT {', '.join(SETTING)} FROM trials WHERE sweep = {quoted(sweep)}"
    rows = connection.execute(f"{sql} ORDER BY ALL").fetchall()
    meanings = views.comments()
    parts: dict[str, list[tuple[str, str, str]]] = {"Varied": [], "The same for all": []}
    for column, values in zip(SETTING, zip(*rows, strict=True), strict=True):
        different = sorted({value for value in values if value not in (None, "{}")}, key=_order)
        if different:
            part = "Varied" if len(different) > 1 else "The same for all"
            said = _listed([_plain(value) for value in different])
            parts[part].append((column.replace("_", " "), said, meanings["trials", column]))
    tables = {
        caption: replace(table(("name", "values", "meaning"), found), sql=sql)
        for caption, found in parts.items()
        if found
    }
    text = "Of the trials' settings; what no trial uses is left out."
    return Section("hyperparameters", "Hyperparameters", text, tables)


def _cost(connection: duckdb.DuckDBPyConnection, sweep: str) -> Section:
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
    return Section("cost", "Cost", said, {"": found})


def _trials(connection: duckdb.DuckDBPyConnection, sweep: str, apart: Sequence[str]) -> Section:
    [(count,)] = connection.execute(
        f"SELECT count(*) FROM trials WHERE sweep = {quoted(sweep)}"
    ).fetchall()
    said = "Key is the run's (or the mask's, where nothing is trained): `tombola show KEY`."
    if count > queries.MOST_TRIALS:
        said = (
            f"The first {queries.MOST_TRIALS:,} of {count:,}; the query below without its "
            f"LIMIT gives all. {said}"
        )
    found = ask(connection, queries.trials(sweep, apart))
    return Section("trials", "All trials", said, {"": found}, tall=True)


def _order(value: Any) -> tuple[bool, Any]:
    """Numbers before text, each in their order."""
    return (True, value) if isinstance(value, str) else (False, value)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
