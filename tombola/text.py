"""Text that others wrote: the rule for names, and how the rest is shown on a terminal and in CSV.

Names, labels and messages of a store or a sweep file may hold anything. Quoting for SQL is in
`analysis/database/quoting.py`; HTML, LaTeX and Markdown have one function each, beside what
they write.
"""

import difflib
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

SWEEP_NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"
TAG_NAME = r"^[a-z][a-z0-9_]{0,39}$"
"""What a sweep's tags are called: they become columns."""

MOST_TAGS = 100
"""Of a sweep or a grid; as many options may a method have."""

LONGEST_OPTION = 80
"""Characters of an option's name, which is a Python identifier and becomes a column, too."""

LONGEST_LABEL = 2_000
"""Characters of a label: a column of `trials` that is text."""

LONGEST_LINE = 600
"""Characters of a message to the user; what is longer loses its middle."""

_KEPT_AT_END = 120

_CONTROLS = frozenset({"Cc", "Cs", "Zl", "Zp"})
_INVISIBLE = re.compile(
    "[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]"
)
"""What changes the direction of text, or hides in it."""

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_FORMULA = ("=", "+", "-", "@", "\t", "\\r")
"""How a cell begins that a spreadsheet would compute."""


def visible(text: object, *, keep: str = "") -> str:
    r"""The text with control characters written out (`\x1b`, `\n`), but for those to `keep`."""
    plain = str(text)
    if plain.isprintable():
        return plain
    return "".join(char if char in keep or not _is_control(char) else _code(char) for char in plain)


def lines(text: object) -> str:
    """The text with control characters written out, but for the ends of lines and tabs."""
    return visible(text, keep="\n\t")


def shortened(text: object, most: int = LONGEST_LINE) -> str:
    """The text without its middle, where it is longer than that."""
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
    """A value for CSV: text that a spreadsheet would take for a formula follows an apostrophe.

    Numbers stay what they are, also those that are written as text. Control characters other
    than the ends of lines and tabs are written out.
    """
    if not isinstance(value, str):
        return value
    shown = lines(value)
    dangerous = shown.startswith(_FORMULA) and not _NUMBER.fullmatch(shown)
    return f"'{shown}" if dangerous else shown


def is_label(text: str) -> bool:
    """Whether a text can be a label: one line, without control characters, and not too long."""
    return len(text) <= LONGEST_LABEL and visible(text) == text


def is_option(name: str) -> bool:
    """Whether an option can be called so."""
    return name.isidentifier() and len(name) <= LONGEST_OPTION


def is_tag(name: str) -> bool:
    """Whether a tag can be called so."""
    return re.fullmatch(TAG_NAME, name) is not None and not name.endswith("\n")


def is_sweep(name: str) -> bool:
    """Whether a sweep can be called so."""
    return re.fullmatch(SWEEP_NAME, name) is not None and not name.endswith("\n")


def _is_control(char: str) -> bool:
    return unicodedata.category(char) in _CONTROLS or _INVISIBLE.match(char) is not None


def _code(char: str) -> str:
    return char.encode("unicode_escape").decode()
