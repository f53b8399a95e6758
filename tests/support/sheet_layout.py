"""Layout of a figure's ink: what is cut off, what overlaps, what lies outside the axes."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any
from unittest.mock import patch

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

_PIXEL = 1.0
"""What rounding to pixels may take or add, at 100 dots an inch."""


def faults(figure: Figure) -> list[str]:
    """Return sentences; none if every text is whole and clear and all data are in their axes."""
    texts = _drawn(figure)
    sheet = figure.bbox
    found = [f"{_said(text)} leaves the sheet" for text, box in texts if not _inside(box, sheet)]
    for (one, box), (other, beside) in combinations(texts, 2):
        if _over(box, beside):
            found.append(f"{_said(one)} lies over {_said(other)}")
    return [*found, *_outside(figure)]


def _drawn(figure: Figure) -> list[tuple[Text, Bbox]]:
    """Return the drawn texts, ticks' included, with their boxes in pixels."""
    found: list[tuple[Text, Bbox]] = []
    draw = Text.draw

    def recorded(self: Text, renderer: Any) -> None:
        draw(self, renderer)
        if self.get_visible() and self.get_text().strip():
            found.append((self, self.get_window_extent(renderer)))

    FigureCanvasAgg(figure)
    figure.draw_without_rendering()  # the first drawing settles the layout
    with patch.object(Text, "draw", recorded):
        figure.draw_without_rendering()
    return found


def _outside(figure: Figure) -> Iterator[str]:
    """Return the points, with their markers, that the edge of their axes cuts."""
    for ax in _axes(figure):
        for line in ax.lines:
            if not line.get_visible() or len(line.get_xdata()) == 0:
                continue
            points = line.get_transform().transform(np.column_stack(line.get_data()))
            size = line.get_markersize() / 2 if line.get_marker() not in ("", "None", None) else 0
            size *= figure.dpi / 72
            box = ax.bbox.padded(_PIXEL - size)
            points = points[np.isfinite(points).all(axis=1)]
            if line.get_clip_on() and not all(map(box.contains, *points.T)):
                yield f"{line.get_label()} {line.get_data()} leaves its axes {ax.get_title()!r}"


def _axes(figure: Any) -> list[Any]:
    return [ax for ax in figure.findobj(lambda one: hasattr(one, "xaxis")) if ax.get_visible()]


def _inside(box: Bbox, sheet: Bbox) -> bool:
    grown = sheet.padded(_PIXEL)
    return bool(
        grown.x0 <= box.x0 and grown.y0 <= box.y0 and box.x1 <= grown.x1 and box.y1 <= grown.y1
    )


def _over(one: Bbox, other: Bbox) -> bool:
    return bool(one.padded(-_PIXEL).overlaps(other.padded(-_PIXEL)))


def _said(text: Text) -> str:
    return repr(text.get_text()[:40])
