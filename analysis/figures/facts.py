"""What the facts of every figure have in common."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from analysis import style
from analysis.selection import selection
from analysis.selection.options import Options


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The runs behind a figure, its footnote, width in inches and title."""

    runs: tuple[str, ...]
    note: str
    width: float
    title: str | None = None


def common(chosen: selection.Selection, counts: Iterable[int], options: Options) -> dict[str, Any]:
    """Fields of Facts, for means of so many replicates."""
    return {
        "runs": chosen.runs,
        "note": selection.footnote(chosen, counts, options.spread),
        "width": style.WIDTHS[options.width],
        "title": options.title,
    }
