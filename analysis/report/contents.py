"""Contents of the report, in order: values and sentences; only figures have markup."""

import json
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import yaml
from markupsafe import Markup

from analysis import figures, style
from analysis.database.connection import figures_of
from analysis.database.rows import query_rows
from analysis.figures import save
from analysis.report import queries, sections
from analysis.report.sections import Section
from analysis.report.tables import listed
from tombola.errors import FigureError

_PHONE = style.WIDTHS["icml-column"]


@dataclass(frozen=True)
class Picture:
    """A figure of the page, as a wide and a narrow SVG, or the reason that there is none."""

    title: str
    wide: str = ""
    narrow: str = ""
    note: str = ""
    about: dict[str, Any] | None = None
    problem: str = ""
    runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """Contents of a page."""

    name: str
    description: str
    scope: dict[str, str]
    done: int
    trials: int
    progress: str
    pictures: tuple[Picture, ...]
    sections: tuple[Section, ...]
    definition: str


def gather(connection: duckdb.DuckDBPyConnection, sweep: str) -> Report:
    """Collect the contents of the report of a sweep.

    Raises
    ------
    StoreError
        When the store has no such sweep.
    """
    entries = figures_of(connection, sweep)
    revision, definition = connection.execute(
        "SELECT revision, definition FROM sweeps WHERE sweep = ? AND current", [sweep]
    ).fetchall()[0]
    [counts] = query_rows(connection, queries.summary(sweep))
    sweep_file = json.loads(definition)
    pictures = [
        picture(connection, sweep, entry, number) for number, entry in enumerate(entries, 1)
    ]
    drawn = {f"{n}. {shown.title}": shown.runs for n, shown in enumerate(pictures, 1) if shown.runs}
    return Report(
        name=sweep,
        description=str(sweep_file.get("description") or ""),
        scope={**_scope(counts), "Revision": revision},
        done=counts["done"],
        trials=counts["trials"],
        progress=_progress(counts),
        pictures=tuple(pictures),
        sections=sections.sections(connection, sweep, drawn),
        definition=yaml.safe_dump(
            sweep_file, sort_keys=False, allow_unicode=True, default_flow_style=None
        ),
    )


# ---------------------------------------------------------------- what was asked


def _scope(counts: dict[str, Any]) -> dict[str, str]:
    """Return the scope of the sweep as (name, text): trials, replicates, methods and so on."""
    seeds, densities = counts["replicates"] or [], counts["densities"] or []
    problems = [style.problem(*pair) for pair in counts["problems"] or []]
    scope = {
        "Trials": f"{counts['trials']:,}",
        "Replicates": f"{len(seeds):,} ({'seed' if len(seeds) == 1 else 'seeds'} {listed(seeds)})",
        "Networks and datasets": listed(problems),
        "Methods": listed([style.look(name).label for name in counts["methods"] or []]),
        "Ablations": listed([_ablation(name) for name in counts["ablations"] or []]),
        "Weights remaining": listed(
            [f"{style.percent(density)}\N{NO-BREAK SPACE}%" for density in densities]
        ),
    }
    return {name: text for name, text in scope.items() if text}


def _ablation(name: str) -> str:
    return style.look_of_ablation(name).label


def _progress(counts: dict[str, Any]) -> str:
    rest = [f"{counts[s]:,} {s}" for s in ("failed", "blocked", "pending") if counts[s]]
    return ", ".join([f"{counts['done']:,} of {counts['trials']:,} trials done", *rest])


# ---------------------------------------------------------------- figures


def picture(
    connection: duckdb.DuckDBPyConnection, sweep: str, entry: Any, number: int = 1
) -> Picture:
    """Return one figure as SVG; the page shows its note as text.

    `number` is unique on the page. Matplotlib draws letters as shapes, so the SVG contains no text
    of a sweep.
    """
    try:
        prepared = figures.prepare(connection, sweep, entry)
    except FigureError as error:
        name = entry if isinstance(entry, str) else next(iter(entry), "")
        return Picture(titled(str(name)), problem=str(error))
    wide, narrow = (
        Markup(save.svg(prepared.draw, replace(prepared.facts, note="", width=width), prefix))  # noqa: S704
        for prefix, width in (
            (f"figure{number}", prepared.facts.width),
            (f"phone{number}", min(prepared.facts.width, _PHONE)),
        )
    )
    about = json.loads(prepared.about)
    return Picture(
        titled(prepared.name), wide, narrow, prepared.facts.note, about, runs=prepared.facts.runs
    )


def titled(name: str) -> str:
    """Return the name of a figure as a heading."""
    return name.replace("-", " ").capitalize()
