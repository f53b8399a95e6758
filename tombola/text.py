"""Rules for names, and safe display of foreign text on a terminal and in CSV.

Names, labels and messages of a store or a sweep file may hold anything. Quoting for SQL is in
`analysis/database/quoting.py`. HTML, LaTeX and Markdown have one function each, beside the code
that writes them.
"""

import difflib
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

SWEEP_NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"
TAG_NAME = r"^[a-z][a-z0-9_]{0,39}$"
"""The names of tags, which become columns."""

MOST_TAGS = 100
"""The most tags of a sweep or a grid, and the most options of a method."""

LONGEST_OPTION = 80
"""The most characters of an option's name: a Python identifier, which becomes a column."""

LONGEST_LABEL = 2_000
"""The most characters of a label, which is a text column of `trials`."""

LONGEST_LINE = 600
"""The most characters of a message to the user; a longer message loses its middle."""

_KEPT_AT_END = 120

_CONTROLS = frozenset({"Cc", "Cs", "Zl", "Zp"})
_INVISIBLE = re.compile(
    "[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]"
)
"""Characters that are invisible, or change the direction of text."""

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_FORMULA = ("=", "+", "-", "@", "\t", "\\r")
"""Beginnings of a cell that a spreadsheet would compute."""


def visible(text: object, *, keep: str = "") -> str:
    r"""Return the text with control characters written out (`\x1b`, `\n`), except `keep`."""
    plain = str(text)
    if plain.isprintable():
        return plain
    return "".join(char if char in keep or not _is_control(char) else _code(char) for char in plain)


def lines(text: object) -> str:
    """Return the text with control characters written out, except newlines and tabs."""
    return visible(text, keep="\n\t")


def shortened(text: object, most: int = LONGEST_LINE) -> str:
    """Return the text, without its middle if it is longer than `most`."""
    whole = str(text)
    if len(whole) <= most:
        return whole
    end = min(_KEPT_AT_END, most // 3)
    return f"{whole[: most - end]} … {whole[-end:]}"


def nearest(word: str, known: Iterable[str]) -> str:
    """Suggest the known word closest to `word`, or list the known words."""
    words = sorted(known)
    matches = difflib.get_close_matches(word.lower(), words, n=1) or difflib.get_close_matches(
        word, words, n=1
    )
    return f"did you mean {matches[0]}?" if matches else f"known: {', '.join(words)}"


def cell(value: Any) -> Any:
    """Return a value for CSV, with an apostrophe before text that would be a formula.

    Numbers are not changed, also when they are text. Control characters except newlines and
    tabs are written out.
    """
    if not isinstance(value, str):
        return value
    shown = lines(value)
    dangerous = shown.startswith(_FORMULA) and not _NUMBER.fullmatch(shown)
    return f"'{shown}" if dangerous else shown


def is_label(text: str) -> bool:
    """Return whether a text is a valid label: one line, no control characters, not too long."""
    return len(text) <= LONGEST_LABEL and visible(text) == text


def is_option(name: str) -> bool:
    """Return whether a text is a valid name of an option."""
    return name.isidentifier() and len(name) <= LONGEST_OPTION


def is_tag(name: str) -> bool:
    """Return whether a text is a valid name of a tag."""
    return re.fullmatch(TAG_NAME, name) is not None and not name.endswith("\n")


def is_sweep(name: str) -> bool:
    """Return whether a text is a valid name of a sweep."""
    return re.fullmatch(SWEEP_NAME, name) is not None and not name.endswith("\n")


def _is_control(char: str) -> bool:
    return unicodedata.category(char) in _CONTROLS or _INVISIBLE.match(char) is not None


def _code(char: str) -> str:
    return char.encode("unicode_escape").decode()
