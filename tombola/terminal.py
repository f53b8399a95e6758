"""The terminal: what is printed there is shown as it is written, whoever wrote it."""

from typing import Any

from rich.console import Console
from rich.text import Text

from tombola.text import lines


class Terminal(Console):
    """A console for which text is nothing but text.

    Square brackets are no markup, colons no emoji, and control characters are written out. What
    is to be coloured is passed as a `styled` text or with `style=`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Text as it stands: cells, headings and lines all come here."""
        options |= {"markup": False, "emoji": False, "highlight": False}
        return super().render_str(lines(text), **options)


def styled(*parts: str | tuple[str, str]) -> Text:
    """Text of plain parts, and of parts with their style."""
    return Text.assemble(
        *(lines(part) if isinstance(part, str) else (lines(part[0]), part[1]) for part in parts)
    )
