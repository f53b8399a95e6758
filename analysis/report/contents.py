"""What the report says, in its order: facts and sentences, no markup but the figures'."""

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
    """A figure in the page, for a sheet and for a phone, or why there is none."""

    title: str
    wide: str = ""
    narrow: str = ""
    note: str = ""
    about: dict[str, Any] | None = None
    problem: str = ""
    runs: tuple[str, ...] = ()


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
    asked = figures_of(connection, sweep)
    revision, definition = connection.execute(
        "SELECT revision, definition FROM sweeps WHERE sweep = ? AND current", [sweep]
    ).fetchall()[0]
    [counts] = query_rows(connection, queries.summary(sweep))
    said = json.loads(definition)
    pictures = [picture(connection, sweep, entry, number) for number, entry in enumerate(asked, 1)]
    drawn = {f"{n}. {one.title}": one.runs for n, one in enumerate(pictures, 1) if one.runs}
    return Report(
        name=sweep,
        description=str(said.get("description") or ""),
        asked={**_asked(counts), "Revision": revision},
        done=counts["done"],
        trials=counts["trials"],
        progress=_progress(counts),
        pictures=tuple(pictures),
        sections=sections.sections(connection, sweep, drawn),
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
        "Replicates": f"{len(seeds):,} ({'seed' if len(seeds) == 1 else 'seeds'} {listed(seeds)})",
        "Networks and datasets": listed(problems),
        "Methods": listed([style.look(name).label for name in counts["methods"] or []]),
        "Ablations": listed([_ablation(name) for name in counts["ablations"] or []]),
        "Weights remaining": listed(
            [f"{style.percent(one)}\N{NO-BREAK SPACE}%" for one in densities]
        ),
    }
    return {name: said for name, said in asked.items() if said}


def _ablation(name: str) -> str:
    return style.look_of_ablation(name).label


def _progress(counts: dict[str, Any]) -> str:
    rest = [f"{counts[s]:,} {s}" for s in ("failed", "blocked", "pending") if counts[s]]
    return ", ".join([f"{counts['done']:,} of {counts['trials']:,} trials done", *rest])


# ---------------------------------------------------------------- figures


def picture(
    connection: duckdb.DuckDBPyConnection, sweep: str, entry: Any, number: int = 1
) -> Picture:
    """One figure; its note is left to the page, where it can be read and copied.

    `number` is another for each figure of a page. Matplotlib writes every letter as a shape, so
    nothing of a sweep's text is in the SVG.
    """
    try:
        made = figures.prepare(connection, sweep, entry)
    except FigureError as error:
        name = entry if isinstance(entry, str) else next(iter(entry), "")
        return Picture(titled(str(name)), problem=str(error))
    wide, narrow = (
        Markup(save.svg(made.draw, replace(made.facts, note="", width=width), prefix))  # noqa: S704
        for prefix, width in (
            (f"figure{number}", made.facts.width),
            (f"phone{number}", min(made.facts.width, _PHONE)),
        )
    )
    about = json.loads(made.about)
    return Picture(titled(made.name), wide, narrow, made.facts.note, about, runs=made.facts.runs)


def titled(name: str) -> str:
    """A figure's name as a heading."""
    return name.replace("-", " ").capitalize()
