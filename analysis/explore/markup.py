"""The page's own HTML: progress and figures. Whatever a store says is escaped."""

from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa
from markupsafe import Markup

from analysis.explore.snapshot import STATUSES
from analysis.report.contents import Picture

MOST = 8
"""Sweeps that are shown at once."""


def progress(sweeps: Mapping[str, Mapping[str, int]], chosen: str) -> str:
    """A bar for each sweep, the chosen one and then the latest, and what its parts are."""
    names = [chosen, *(name for name in sweeps if name != chosen)]
    lines = Markup().join(_line(name, sweeps[name], name == chosen) for name in names[:MOST])
    more = len(names) - MOST
    rest = Markup("<p>and {} more</p>").format(f"{more:,}") if more > 0 else ""
    return str(Markup('<div class="sweeps">{}</div>{}').format(lines, rest))


def heard(moment: datetime | None, now: datetime) -> str:
    """When a launch was last heard of, in words."""
    if moment is None:
        return "not known here"
    seconds = max((now - moment).total_seconds(), 0)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= size or unit == "s":
            return f"last heard of {seconds / size:.0f}\N{NO-BREAK SPACE}{unit} ago"
    raise AssertionError


def table(caption: str, rows: pa.Table) -> str:
    """Few rows, as they are; nothing where there are none."""
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

    body = Markup().join(row("td", one.values()) for one in rows.to_pylist())
    return str(
        Markup('<div class="few"><p>{}</p><table>{}{}</table></div>').format(
            caption, row("th", rows.column_names), body
        )
    )


def line(text: str) -> str:
    """A sentence."""
    return str(Markup("<p>{}</p>").format(text))


def picture(shown: Picture) -> str:
    """A figure for a wide and for a narrow window, its note below; or why there is none."""
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
    said = [f"{counts['done']:,} of {trials:,} trials done"]
    said += [f"{counts[status]:,} {status}" for status in STATUSES[1:] if counts[status]]
    words = Markup('<div class="sweep{}"><b>{}</b><span>{}</span><div class="bar">{}</div></div>')
    return words.format(" chosen" if chosen else "", name, ", ".join(said), parts)


def _data(svg: str) -> str:
    return f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"
