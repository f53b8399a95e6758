"""Provenance of a figure, read from its file."""

import json
import re
import struct
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

from tombola.errors import FigureError

PNG_KEY = "Provenance"
PDF_KEY = "Keywords"
SVG_KEY = "Description"

_KEYWORDS = re.compile(rb"/" + PDF_KEY.encode() + rb" \(((?:[^\\()]|\\.)*)\)", re.DOTALL)
_DESCRIBED = re.compile(rb"<dc:description>(.*?)</dc:description>", re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}


def trace(path: str | Path) -> dict[str, Any]:
    """Return the provenance in a PDF, PNG or SVG that `draw` wrote.

    It names figure, options, sweep, revision and SQL, the number of runs and their digest, and
    the versions of the code that computed them. For published numbers, it names the source and
    the SHA-256 of its file.

    Raises
    ------
    FigureError
        When the file cannot be read or has no provenance.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise FigureError(f"{path}: {error.strerror or error}") from None
    for text in _texts(content):
        try:
            about = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(about, dict) and "figure" in about:
            return about
    raise FigureError(f"{path} does not say where it comes from: no figure of ours")


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return why a file of provenance `before` is stale, if it would be `now`; empty if fresh."""
    reasons = []
    if before.get("revision") != now["revision"]:
        reasons.append("the sweep has other trials now")
    if before.get("digest") != now["digest"]:
        earlier, later = before.get("runs"), now["runs"]
        same = "the same number of runs, other results or other runs"
        reasons.append(same if earlier == later else f"{earlier} runs behind it then, {later} now")
    for entry, reason in _REASONS.items():
        if before.get(entry) != now.get(entry):
            reasons.append(reason)
    return reasons


_REASONS = {
    "figure": "another figure",
    "sweep": "another sweep",
    "options": "other options",
    "sql": "another query",
    "references": "other published numbers",
}


def _texts(content: bytes) -> Iterator[bytes]:
    if content.startswith(b"\x89PNG"):
        yield from _of_png(content)
    elif content.startswith(b"%PDF"):
        yield from _of_pdf(content)
    else:
        for match in _DESCRIBED.finditer(content):
            yield unescape(match.group(1).decode(errors="replace")).encode()


def _of_pdf(content: bytes) -> Iterator[bytes]:
    for match in _KEYWORDS.finditer(content):
        yield _ESCAPED.sub(lambda m: _LETTERS.get(m.group(1), m.group(1)), match.group(1))


def _of_png(content: bytes) -> Iterator[bytes]:
    """Yield the texts under our key.

    A chunk is length, type, data and checksum. A text chunk is key, NUL and text.
    """
    position = 8
    while position + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        data = content[position + 8 : position + 8 + length]
        if kind == b"tEXt" and data.startswith(PNG_KEY.encode() + b"\0"):
            yield data[len(PNG_KEY) + 1 :]
        position += length + 12
