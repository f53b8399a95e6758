"""The pages of the documentation, and the blocks of code in them."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SITE = sorted((ROOT / "docs").rglob("*.md"))
TUTORIALS = sorted((ROOT / "docs" / "tutorial").glob("*.md"))
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```', re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: its language, the file it is saved as (or empty), and its text."""

    language: str
    title: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    return [Block(*match) for match in FENCE.findall(page.read_text())]


def commands(text: str) -> list[list[str]]:
    """Return the words of each line of a shell block; a quoted query may span lines."""
    quoted_or_continued = r'"[^"]*"|\\\n'
    joined = re.sub(quoted_or_continued, lambda m: re.sub(r"\\?\n", " ", m[0]), text)
    lines = [shlex.split(line.removeprefix("$ "), comments=True) for line in joined.splitlines()]
    return [words for words in lines if words]


def prose(page: Path) -> list[str]:
    """Return the sentences of a page: no code, no headings, no tables, no pictures."""
    text = FENCE.sub("", page.read_text())
    text = re.sub(r"<[^>]+>|!\[[^\]]*\]\([^)]*\)", "", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"^(#|\||```).*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"^(\s*[-*:]|\s*\d+\.)\s+", "\n", text, flags=re.MULTILINE)
    text = re.sub(r"[`*]", "", text)
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text)]
    pieces = (re.split(r"(?<=[.!?:])\s+(?=[A-Z])", part) for part in paragraphs)
    return [sentence for part in pieces for sentence in part if re.search(r"[a-z]", sentence)]
