"""Files of figures with their provenance; the same store gives the same bytes."""

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import duckdb

from analysis import reference, style
from analysis.figures.provenance import PDF_KEY, PNG_KEY, SVG_KEY

_BEHIND = """
SELECT list(key || ' ' || coalesce(digest, '') ORDER BY key),
       list_sort(list(DISTINCT tombola || coalesce(' ' || code, '')))
FROM tasks WHERE key IN (SELECT unnest($runs))
"""
_ROOT = 'stroke-linejoin="round" stroke-linecap="butt"'
_LEFT_OUT = re.compile(r"<metadata>.*?</metadata>|<style\b.*?</style>|<!--.*?-->", re.DOTALL)
_NAMED = re.compile(r'( id="|url\(#|href="#)([^")]+)')
_REVISION = "SELECT revision FROM sweeps WHERE sweep = ? AND current"


def about(
    connection: duckdb.DuckDBPyConnection,
    sweep: str,
    name: str,
    given: dict[str, Any],
    sql: str,
    runs: tuple[str, ...],
) -> str:
    """Return the provenance of a figure as JSON: SQL, options, runs and versions of the code.

    `digest` is the SHA-256 of the keys and result digests of the runs, sorted by key. `references`
    has the SHA-256 of each file of published numbers.
    """
    behind = connection.execute(_BEHIND, {"runs": list(runs)}).fetchone() or (None, None)
    revision = connection.execute(_REVISION, [sweep]).fetchone() or (None,)
    shown = {other: reference.sha256_of(other) for other in given.get("reference") or ()}
    return json.dumps(
        {
            "figure": name,
            "options": given,
            "sweep": sweep,
            "revision": revision[0],
            "sql": " ".join(sql.split()),
            "runs": len(runs),
            "digest": hashlib.sha256("\n".join(behind[0] or ()).encode()).hexdigest(),
            "code": behind[1] or [],
            **({"references": shown} if shown else {}),
        },
        sort_keys=True,
    )


def save(
    draw: Callable[[Any], Any],
    facts: Any,
    about: str,
    stem: Path,
    formats: Iterable[str] = ("pdf", "png"),
) -> list[Path]:
    """Draw the facts into `stem`.pdf and so on, with their provenance as metadata."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in formats]
    with style.style():
        for path in paths:  # a new figure for each file: a layout depends on earlier ones
            metadata = _UNDATED[path.suffix] | {_KEYS[path.suffix]: about}
            draw(facts).savefig(path, metadata=metadata)
    return paths


def svg(draw: Callable[[Any], Any], facts: Any, prefix: str) -> str:
    """Return an `<svg>` element for a page, with letters as shapes.

    It has no style sheet, and its ids begin with the prefix, so it does not affect the rest of the
    page. Ids are numbered, because matplotlib's contain memory addresses.
    """
    undated = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with style.style(), io.StringIO() as file:
        from matplotlib import rc_context

        with rc_context({"svg.fonttype": "path"}):
            draw(facts).savefig(file, format="svg", metadata=undated)
        text = file.getvalue()
    element = _LEFT_OUT.sub("", text[text.index("<svg") :])
    numbers: dict[str, int] = {}
    named = _NAMED.sub(
        lambda id: f"{id[1]}{prefix}-{numbers.setdefault(id[2], len(numbers))}", element
    )
    return re.sub(r"\n\s*", "\n", named.replace("<svg", f"<svg {_ROOT}", 1)).strip()


_KEYS = {".pdf": PDF_KEY, ".png": PNG_KEY, ".svg": SVG_KEY}
_UNDATED: dict[str, dict[str, Any]] = {
    ".pdf": {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": "Tombola"},
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": "Tombola"},
}
