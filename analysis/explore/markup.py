"""HTML of the page: progress and figures. All text of a store is escaped."""

from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa
from markupsafe import Markup

from analysis.explore.snapshot import STATUSES
from analysis.report.contents import Picture

MOST = 8
"""Most sweeps with a bar."""


def progress(sweeps: Mapping[str, Mapping[str, int]], chosen: str) -> str:
    """Return a bar for each sweep: the chosen one, then the latest."""
    names = [chosen, *(name for name in sweeps if name != chosen)]
    lines = Markup().join(_line(name, sweeps[name], name == chosen) for name in names[:MOST])
    more = len(names) - MOST
    rest = Markup("<p>and {} more</p>").format(f"{more:,}") if more > 0 else ""
    return str(Markup('<div class="sweeps">{}</div>{}').format(lines, rest))


def heard(moment: datetime | None, now: datetime) -> str:
    """Return in words when a launch last wrote to its journal."""
    if moment is None:
        return "not known here"
    seconds = max((now - moment).total_seconds(), 0)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= size or unit == "s":
            return f"last heard of {seconds / size:.0f}\N{NO-BREAK SPACE}{unit} ago"
    raise AssertionError


def table(caption: str, rows: pa.Table) -> str:
    """Return a small table; empty if there are no rows."""
    if not rows.num_rows:
        return ""
    numbers = [pa.types.is_integer(column.type) for column in rows.schema]

    def row(tag: str, cells: Iterable[Any]) -> Markup:
        shown = (
            Markup('<{0} class="{1}">{2}</{0}>').format(
                tag, "number" if number else "", f"{cell:,}" if isinstance(cell, int) else cell
            )
            for cell, number in zip(cells, numbers, strict=True)
        )
        return Markup("<tr>{}</tr>").format(Markup().join(shown))

    body = Markup().join(row("td", cells.values()) for cells in rows.to_pylist())
    return str(
        Markup('<div class="few"><p>{}</p><table>{}{}</table></div>').format(
            caption, row("th", rows.column_names), body
        )
    )


def line(text: str) -> str:
    """Return a sentence as a paragraph."""
    return str(Markup("<p>{}</p>").format(text))


def picture(shown: Picture) -> str:
    """Return a figure for wide and narrow windows with its note, or the reason for none."""
    if shown.problem:
        return line(f"{shown.problem}.")
    about = shown.about or {}
    runs = f"{about['runs']:,}", about["digest"][:16]
    return str(
        Markup(
            '<figure><picture><source media="(max-width: 40rem)" srcset="{}">'
            '<img src="{}" alt="{}"></picture>'
            "<figcaption>{} From {} runs with digest <code>{}</code>.</figcaption></figure>"
        ).format(_data(shown.narrow), _data(shown.wide), shown.title, shown.note, *runs)
    )


def _line(name: str, counts: Mapping[str, int], chosen: bool) -> Markup:
    trials = sum(counts.values())
    parts = Markup().join(
        Markup('<i class="{}" style="flex-grow: {}"></i>').format(status, counts[status])
        for status in STATUSES
        if counts[status]
    )
    counted = [f"{counts['done']:,} of {trials:,} trials done"]
    counted += [f"{counts[status]:,} {status}" for status in STATUSES[1:] if counts[status]]
    words = Markup('<div class="sweep{}"><b>{}</b><span>{}</span><div class="bar">{}</div></div>')
    return words.format(" chosen" if chosen else "", name, ", ".join(counted), parts)


def _data(svg: str) -> str:
    return f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"
