"""Where a figure's file comes from, read back from the file alone."""

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analysis.errors import FigureError

PNG_KEY = "Provenance"
PDF_KEY = "Keywords"

_KEYWORDS = re.compile(rb"/" + PDF_KEY.encode() + rb" \(((?:[^\\()]|\\.)*)\)", re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}


def trace(path: str | Path) -> dict[str, Any]:
    """Provenance of a PDF or PNG that `draw` wrote.

    Names its figure, options, sweep and revision, the SQL, how many runs are behind it and
    their digest, and the versions of the code that computed them.

    Raises
    ------
    FigureError
        When the file says nothing of the kind.
    """
    content = Path(path).read_bytes()
    texts = _of_png(content) if content.startswith(b"\x89PNG") else _of_pdf(content)
    for text in texts:
        try:
            about: dict[str, Any] = json.loads(text)
        except ValueError:
            continue
        return about
    raise FigureError(f"{path} does not say where it comes from: no figure of ours")


def _of_pdf(content: bytes) -> Iterator[bytes]:
    for found in _KEYWORDS.finditer(content):
        yield _ESCAPED.sub(lambda m: _LETTERS.get(m.group(1), m.group(1)), found.group(1))


def _of_png(content: bytes) -> Iterator[bytes]:
    """Chunks are length, type, data, checksum; text chunks are key, NUL, text."""
    position = 8
    while position + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        data = content[position + 8 : position + 8 + length]
        if kind == b"tEXt" and data.startswith(PNG_KEY.encode() + b"\0"):
            yield data[len(PNG_KEY) + 1 :]
        position += length + 12
