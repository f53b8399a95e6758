"""The rule for what a sweep's file in a store says: what a sweep file could have asked for.

Whoever writes such a file by hand can put anything into it, and its names become columns, words
of figures and lines on a terminal. All readers check here, before any of it goes further.
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
"""Characters of a trial's options or tags."""

_LONGEST_SAID = 1 << 22
"""Characters of a sweep's definition, and of its figures."""

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
        When one of them is none that a sweep file gives.
    """
    if not text.is_sweep(about["name"]):
        raise ValueError(f"no sweep can be called {_quoted(about['name'])}")
    if not _REVISION.fullmatch(about["revision"]):
        raise ValueError(f"no revision can be called {_quoted(about['revision'])}")
    if not isinstance(document(about["definition"]), dict):
        raise ValueError("its definition is no sweep file")
    figures = document(about["figures"])
    if not isinstance(figures, list) or not all(map(_is_figure, figures)):
        raise ValueError("its figures are none that a sweep file asks for")


def check_trials(trials: pa.Table, name: str) -> None:
    """Check the labels and keys of a sweep's trials.

    Raises
    ------
    ValueError
        When one of them is none that a sweep file gives.
    """
    for field in trials.schema:
        if not pa.types.is_string(field.type):
            continue
        column = trials[field.name]
        if field.name.endswith("_key"):
            if pc.all(pc.match_substring_regex(column, KEY)).as_py() not in (True, None):
                raise ValueError(f"a {field.name} of it is no key")
            continue
        for value in pc.unique(column).to_pylist():
            if value is not None:
                _check_label(field.name, value, name)


def document(content: str) -> Any:
    """What JSON says.

    Raises
    ------
    ValueError
        When it is none, or deeper than anybody writes it.
    """
    if len(content) > _LONGEST_SAID:
        raise ValueError(f"JSON of {len(content):,} characters")
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("JSON of too many values in one another") from None


def fields(content: str) -> dict[str, Any]:
    """What a JSON object holds; what is none, such as that of a later version, has no fields."""
    try:
        said = document(content)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _check_label(column: str, value: str, name: str) -> None:
    if column == "sweep" and value != name:
        raise ValueError(f"holds a trial of another sweep, {_quoted(value)}")
    if column not in _NAMED:
        if not text.is_label(value):
            raise ValueError(f"no {column} can be called {_quoted(value)}")
        return
    said = fields(value) if len(value) <= _LONGEST_JSON else {}
    if len(value) > _LONGEST_JSON or len(said) > text.MOST_TAGS:
        raise ValueError(f"its {column} are more than a sweep file gives")
    for option in said:
        if not _NAMED[column](option):
            raise ValueError(f"none of its {column} can be called {_quoted(option)}")


def _is_figure(entry: Any) -> bool:
    """Whether it is a name, or a name with options."""
    if isinstance(entry, dict):
        return len(entry) == 1 and all(isinstance(given, dict) for given in entry.values())
    return isinstance(entry, str)


def _quoted(name: str) -> str:
    return repr(text.visible(text.shortened(name, 60)))
