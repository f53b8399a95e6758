"""Fields that the facts of every figure have."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from analysis import style
from analysis.selection import selection
from analysis.selection.options import Options


@dataclass(frozen=True, kw_only=True)
class BaseFacts:
    """Base of each figure's facts: keys of the runs behind it, footnote, width (inches), title."""

    runs: tuple[str, ...] = ()
    note: str
    width: float
    title: str | None = None


def base_fields(
    chosen: selection.Selection, counts: Iterable[int], options: Options, remarks: str = ""
) -> dict[str, Any]:
    """Return the fields of BaseFacts for a selection of trials.

    `counts` are numbers of replicates behind the means; the footnote ends with `remarks`.
    """
    return {
        "runs": chosen.runs,
        "note": selection.footnote(chosen, counts, options.spread) + remarks,
        "width": style.WIDTHS[options.width],
        "title": options.title,
    }
