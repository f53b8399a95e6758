"""Report of a sweep as one HTML file: figures, tables, checklist and definition.

The same store gives the same bytes. The page loads nothing, and its content security policy forbids
that. All text of a sweep file or a store is escaped.
"""

import base64
import hashlib
import re
from pathlib import Path

import duckdb
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from analysis.database.connection import connect, scanning
from analysis.report import contents
from tombola.errors import AnalysisError
from tombola.store.publish import replacing
from tombola.text import lines

__all__ = ["page", "write"]

_FOLDER = Path(__file__).parent


def write(store: str | Path, sweep: str, path: Path) -> Path:
    """Write the report of a sweep to a file, completely or not at all; return its path.

    Raises
    ------
    StoreError
        When the store is missing or damaged, or has no such sweep.
    AnalysisError
        When the path is a directory.
    """
    if path.is_dir():
        raise AnalysisError(f"{path} is a directory; a report is written to a file")
    with scanning(store), connect(store) as connection:
        text = page(connection, sweep)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")
    return path


def page(connection: duckdb.DuckDBPyConnection, sweep: str) -> str:
    """Return the HTML of the report.

    Raises
    ------
    StoreError
        When the store has no such sweep.
    """
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _code
    script = _text("sort.js")
    return environment.get_template("page.html.jinja").render(
        report=contents.gather(connection, sweep),
        policy=_policy(script),
        script=Markup(script),  # noqa: S704 - our own file
        style=Markup(_text("style.css")),  # noqa: S704 - our own file
    )


def _shown(value: object) -> object:
    """Return text without control characters; Markup is our own and stays."""
    return lines(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _policy(script: str) -> str:
    """Return the content security policy: only our script runs, and nothing is loaded.

    Inline styles are allowed, because the figures have them.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'"
    )


def _code(text: str) -> Markup:
    """Return escaped text with `…` as <code>."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
