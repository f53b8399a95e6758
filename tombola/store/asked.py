"""Check the registered sweeps of a store: accept only what a sweep file can ask for.

A file written by hand can hold anything, and its names become columns, texts of figures and
lines on a terminal. Every reader checks it here first.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tombola import text

KEY = r"^[0-9a-f]{64}$"
_REVISION = re.compile(r"[0-9a-z]{1,64}")
_LONGEST_JSON = 100_000
"""The most characters of a trial's options or tags."""

_LONGEST_SAID = 1 << 22
"""The most characters of a sweep's definition, and of its figures."""

_NAMED = {
    "options": text.is_option,
    "network_options": text.is_option,
    "tags": text.is_tag,
}


def check_metadata(about: Mapping[str, str]) -> None:
    """Check the name, revision, definition and figures of a sweep.

    Raises
    ------
    ValueError
        When no sweep file can have one of them.
    """
    if not text.is_sweep(about["name"]):
        raise ValueError(f"{_quoted(about['name'])} is not a valid name of a sweep")
    if not _REVISION.fullmatch(about["revision"]):
        raise ValueError(f"{_quoted(about['revision'])} is not a valid revision")
    if not isinstance(document(about["definition"]), dict):
        raise ValueError("its definition is not a sweep file")
    figures = document(about["figures"])
    if not isinstance(figures, list) or not all(map(_is_figure, figures)):
        raise ValueError("its figures are not a list of figures")


def check_trials(trials: pa.Table, name: str) -> None:
    """Check the labels and keys of a sweep's trials.

    Raises
    ------
    ValueError
        When no sweep file can give one of them.
    """
    for field in trials.schema:
        if not pa.types.is_string(field.type):
            continue
        column = trials[field.name]
        if field.name.endswith("_key"):
            if pc.all(pc.match_substring_regex(column, KEY)).as_py() not in (True, None):
                raise ValueError(f"a {field.name} in it is not a key")
            continue
        for value in pc.unique(column).to_pylist():
            if value is not None:
                _check_label(field.name, value, name)


def document(content: str) -> Any:
    """Parse JSON.

    Raises
    ------
    ValueError
        When it is not JSON, too long, or nested too deeply.
    """
    if len(content) > _LONGEST_SAID:
        raise ValueError(f"JSON of {len(content):,} characters")
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None


def fields(content: str) -> dict[str, Any]:
    """Parse a JSON object; anything else, for example of a later version, has no fields."""
    try:
        parsed = document(content)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _check_label(column: str, value: str, name: str) -> None:
    if column == "sweep" and value != name:
        raise ValueError(f"holds a trial of another sweep, {_quoted(value)}")
    if column not in _NAMED:
        if not text.is_label(value):
            raise ValueError(f"{_quoted(value)} is not a valid {column}")
        return
    options = fields(value) if len(value) <= _LONGEST_JSON else {}
    if len(value) > _LONGEST_JSON or len(options) > text.MOST_TAGS:
        raise ValueError(f"it has more {column} than a sweep file can give")
    for option in options:
        if not _NAMED[column](option):
            raise ValueError(f"{_quoted(option)} is not a valid name in its {column}")


def _is_figure(entry: Any) -> bool:
    """Return whether an entry of `figures:` is a name, or a name with options."""
    if isinstance(entry, dict):
        return len(entry) == 1 and all(isinstance(given, dict) for given in entry.values())
    return isinstance(entry, str)


def _quoted(name: str) -> str:
    return repr(text.visible(text.shortened(name, 60)))
