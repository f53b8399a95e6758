"""A terminal that prints all text as it is, without markup or control characters."""

from typing import Any

from rich.console import Console
from rich.text import Text

from tombola.text import lines


class Terminal(Console):
    """A console without markup.

    Square brackets and colons have no meaning, and control characters are written out. Coloured
    text is passed as a `styled` text or with `style=`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Convert text without markup; rich calls this for cells, headings and lines."""
        options |= {"markup": False, "emoji": False, "highlight": False}
        return super().render_str(lines(text), **options)


def styled(*parts: str | tuple[str, str]) -> Text:
    """Build text from plain parts and from (text, style) parts."""
    return Text.assemble(
        *(lines(part) if isinstance(part, str) else (lines(part[0]), part[1]) for part in parts)
    )
