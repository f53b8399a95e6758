"""Sheets of panels, and the parts that several figures draw on them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from math import ceil, log10
from textwrap import fill
from typing import Any, Protocol

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation

from analysis import style
from analysis.figures.canvas import Sheet
from analysis.selection.selection import Setting
from analysis.selection.series import Dense
from analysis.selection.split import Curve, Split
from analysis.stats import Summary
from analysis.style import Look


class Mark(Protocol):
    """A point of a curve: position and mean with spread."""

    @property
    def x(self) -> float: ...
    @property
    def shown(self) -> Summary: ...


_LINE, _LETTER = 0.165, 0.046
_PAGE, _LEAST, _LEAST_SMALL = 8.6, 0.75, 0.88
"""Inches: most height of all panels on a page, and least height of a line of panels."""
_MANY = 12
_NARROW, _LEAST_NARROW = 4.0, 1.5
_BESIDE, _MOST_BESIDE = 4.5, 0.4
"""Width of a sheet (inches) that has room for a legend beside a panel, and its largest share."""


@dataclass(frozen=True)
class Frame:
    """Everything around the panels: title, legend and note; `width` in inches."""

    width: float
    title: str | None
    note: str
    legend: Sequence[Line2D]
    legend_title: str | None = None


def sheet(
    shape: tuple[int, int], panel_height: float, frame: Frame, **shared: Any
) -> tuple[Figure, SubFigure, list[list[Axes]]]:
    """Return a figure with a grid of panels (`shape`: lines, columns) in a frame.

    `panel_height` is in inches. The result is the figure, the subfigure with the panels, and the
    panels by line. The legend is above the panels, or beside a single wide panel.
    """
    for line in frame.legend:
        line.set_label(wrapped(str(line.get_label()), frame.width - 0.5, 8.0, _LETTER))
    beside = shape == (1, 1) and _fits_beside(frame, panel_height)
    note = wrapped(frame.note, frame.width - 0.06, 7.0, 0.048)
    title = wrapped(frame.title or "", frame.width, 10.0, 0.06)
    above = _LINE * (0.4 + title.count("\n") + 1) if title else 0.01
    legend = 0.01 if beside else _legend_height(frame)
    written = note.count("\n") + 1
    heights = [above, legend, panel_height * shape[0], _LINE * written]
    figure = Sheet(frame.width, sum(heights))
    parts: Any = figure.subfigures(4, 1, height_ratios=heights)
    body = parts[2]
    if beside:
        body.legend(handles=frame.legend, loc="outside right center", title=frame.legend_title)
    elif frame.legend:
        parts[1].legend(
            handles=frame.legend,
            loc="center",
            ncols=_columns(frame),
            title=frame.legend_title,
            borderaxespad=0.0,
        )
    parts[0].text(0.5, 0.5, title, fontsize=10.0, ha="center", va="center")
    low = 0.5 - 0.1 / written
    parts[3].text(0.008, low, note, fontsize=7.0, color=style.GREY, ha="left", va="center")
    return figure, body, body.subplots(*shape, squeeze=False, **shared).tolist()


@dataclass(frozen=True)
class Grid:
    """Places of panels: a line for each name, a column for each problem.

    With one problem, the names fill lines and columns.
    """

    names: tuple[str, ...]
    problems: tuple[str, ...]
    width: float

    @property
    def shape(self) -> tuple[int, int]:
        """Lines and columns of the grid."""
        if len(self.problems) > 1:
            return len(self.names), len(self.problems)
        many = len(self.names) > _MANY
        columns = max(2, int(self.width / (0.9 if many else 1.35)))
        return spread_out(len(self.names), self._each(columns) if many else columns)

    def _each(self, most: int) -> int:
        """Return the columns for many names: one for each setting, if all methods have as many."""
        counts = set(Counter(name.split(", ")[0] for name in self.names).values())
        return counts.pop() if len(counts) == 1 and 1 < max(counts) <= most else most

    @property
    def panel_height(self) -> float:
        """Height of a panel in inches."""
        if self.shape[0] == 1:
            return 1.7
        plain = 1.05 if len(self.problems) > 1 else 1.4
        return min(plain, max(_PAGE / self.shape[0], _LEAST_SMALL))

    def place(self, name: str, problem: str) -> tuple[int, int]:
        """Return line and column of a panel."""
        if len(self.problems) > 1:
            return self.names.index(name), self.problems.index(problem)
        return divmod(self.names.index(name), self.shape[1])

    @property
    def ticks(self) -> int:
        """Number of ticks on the vertical axis of a panel."""
        return 5 if self.panel_height >= 1 else 2

    def finish(
        self, lines: list[list[Axes]], shown: dict[tuple[int, int], str], beside: float = 0.25
    ) -> None:
        """Draw titles of lines and columns, and tick labels at the outer panels.

        `shown` has the names of the panels in use. A title leaves `beside` inches of the panel's
        width free.
        """
        for line, row in enumerate(lines):
            for column, ax in enumerate(row):
                ax.set_visible((line, column) in shown)
                ax.tick_params(
                    labelbottom=not any((below, column) in shown for below in _after(lines, line)),
                    labelleft=not any((line, before) in shown for before in range(column)),
                )
        size = 8.5 if len(self.names) <= _MANY else 7.0
        cell = self.width / self.shape[1]
        for (line, column), name in shown.items():
            if len(self.problems) == 1 or not any((line, c) in shown for c in range(column)):
                letter = _LETTER * size / 8.5 * (cell - beside) / cell
                text = wrapped(name, cell - beside, size, letter)
                lines[line][column].set_title(text, loc="left", fontsize=size)
        if len(self.problems) > 1:
            for ax, problem in zip(lines[0], self.problems, strict=True):
                title = wrapped(problem, self.width / self.shape[1], 9.5, 0.055)
                ax.set_title(f"{title}\n", fontsize=9.5)


def wrapped(text: str, width: float, size: float, letter: float) -> str:
    """Wrap text to `width` inches at font size `size`; `letter` is the least width of a letter."""
    letters = max(4, int(width / letter))
    while letters > 4 and any(
        inches(line, size) > width for line in fill(text, letters).split("\n")
    ):
        letters -= 1
    return "\n".join(fill(line, letters) for line in text.split("\n"))


def inches(text: str, size: float = 8.0) -> float:
    """Return the width of the widest line of a text, in inches."""
    return _inches(text, size, tuple(rcParams["font.family"]))


@lru_cache(maxsize=4096)
def _inches(text: str, size: float, family: tuple[str, ...]) -> float:
    lines = [line for line in text.split("\n") if line.strip()]
    font = FontProperties(family=family)
    paths = (TextPath((0, 0), line.replace("$", "S"), size, prop=font) for line in lines)
    return max((float(path.get_extents().width) / 72 for path in paths), default=0.0)


def spread_out(count: int, columns: int) -> tuple[int, int]:
    """Return lines and columns for `count` panels, with at most `columns` columns."""
    columns = min(columns, count)
    return ceil(count / columns), columns


def abreast(count: int, width: float, *, each_explains: bool = False) -> tuple[int, int]:
    """Return lines and columns for `count` panels of curves; with own legends, one column."""
    narrow = width < _NARROW
    columns = (1 if narrow else 2) if count <= 6 else (2 if narrow else 3)
    return spread_out(count, 1 if each_explains else columns)


def tall(height: float, shape: tuple[int, int], width: float) -> float:
    """Return the height of a panel in inches: `height`, or less if many lines fill the page.

    The least height is larger on a narrow sheet: titles have more lines there, and phones scroll.
    """
    return min(height, max(_PAGE / shape[0], _LEAST if width >= _NARROW else _LEAST_NARROW))


def ticked(ax: Axes, most: int, height: float) -> None:
    """Set at most `most` round ticks on the vertical axis, as many as fit `height` inches."""
    room = max(2, int((height - 0.45) / 0.17))
    ax.yaxis.set_major_locator(MaxNLocator(min(most, room), steps=[1, 2, 5, 10]))


def titled(ax: Axes, title: str, width: float) -> None:
    """Set the title of a panel of `width` inches, wrapped to fit."""
    ax.set_title(wrapped(title, width - 0.55, 9.0, 0.05))


def explained(ax: Axes, handles: Sequence[Line2D], width: float) -> None:
    """Draw the legend of one panel at its right."""
    small = width < _BESIDE
    for line in handles:
        line.set_label(wrapped(str(line.get_label()), 0.32 * width - 0.3, 8.0, _LETTER))
    ax.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.03),
        borderaxespad=0.2,
        fontsize=6.0 if small else 7.0,
        handlelength=1.6,
        labelspacing=0.2,
    )


def handle(look: Look, label: str | None = None) -> Line2D:
    """Return an entry of the legend."""
    return Line2D([], [], label=label or look.label, **_drawn(look))


def look(method: str, variant: int, ablation: str, *, plain: bool = False) -> Look:
    """Return colour, marker and line of a method's setting; the line shows the ablation.

    If `plain`, the colour is number `variant` of the palette, not the method's.
    """
    palette = [*style.METHODS.values()]
    own = palette[variant % len(palette)] if plain else style.look(method)
    return _ablated(own if plain else style.variant(own, variant), ablation)


def looks(
    curves: Sequence[Curve], named: Mapping[Setting, tuple[str, int]], by: Split
) -> dict[Curve, Look]:
    """Return the look of each curve of one panel."""
    plain = by.recoloured([key[0] for key, _ in curves])
    by_curve = {}
    for n, (key, ablation) in enumerate(curves):
        number = n if plain and by.each_explains else named[key][1]
        shown = "none" if "ablation" in by.columns else ablation
        by_curve[key, ablation] = look(key[0], number, shown, plain=plain)
    return by_curve


def _ablated(plain: Look, ablation: str) -> Look:
    if ablation == "none":
        return plain
    return replace(plain, line=style.look_of_ablation(ablation).line, filled=not plain.filled)


def dense_handles(dense: Iterable[Dense]) -> list[Line2D]:
    """Return the legend entries of dense networks, one for each label."""
    names = list(dict.fromkeys(line.label for line in dense))
    return [handle(dense_look(n), label) for n, label in enumerate(names)]


def dense_look(number: int) -> Look:
    """Return the look of the dense network of the n-th recipe, from 0."""
    shades = (style.DENSE.colour, style.lighter(style.DENSE.colour, 0.5))
    return Look(shades[number % 2], "", "", style.variant(style.DENSE, number + 1).line)


def curve(axes: Axes, points: Iterable[Mark], look: Look, **marks: Any) -> None:
    """Draw means joined by a line, with the spread as a band."""
    points = list(points)
    places = [point.x for point in points]
    axes.plot(places, [point.shown.centre for point in points], **_drawn(look), **marks)
    lows, highs = zip(*(_band(point.shown) for point in points), strict=True)
    if len(points) == 1:
        axes.vlines(places, lows, highs, color=look.colour, alpha=0.5, linewidth=1.0)
    axes.fill_between(places, lows, highs, color=look.colour, alpha=0.18, linewidth=0)


def spot(axes: Axes, x: float, shown: Summary, look: Look, beside: float = 0.0) -> None:
    """Draw one mean with its spread as a line, `beside` points (1/72 inch) right of x."""
    drawn = axes.plot([x, x], _band(shown), color=look.colour, alpha=0.6, linewidth=1.0)
    drawn += axes.plot([x], [shown.centre], **{**_drawn(look), "linestyle": "none"})
    moved = ScaledTranslation(beside / 72, 0, axes.figure.dpi_scale_trans)
    for line in drawn:
        line.set_transform(axes.transData + moved)  # the limits of the axis follow the data


def dense_line(axes: Axes, dense: Sequence[Dense], names: Sequence[str]) -> None:
    """Draw the dense network of each recipe: a line over the whole width, with its spread."""
    for line in dense:
        look = dense_look(names.index(line.label))
        axes.axhline(line.shown.centre, **{**_drawn(look), "linewidth": 0.9, "zorder": 1.5})
        low, high = _band(line.shown)
        axes.axhspan(low, high, color=look.colour, alpha=0.12, linewidth=0)


def weights_remaining(axes: Axes, densities: Iterable[float], room: int) -> None:
    """Set a log axis of density, sparser to the right, with ticks at the data's values."""
    shown = sorted({1.0, *densities}, reverse=True)
    axes.set_xscale("log")
    low, high = shown[-1], max(shown[0], shown[-1] * 1.5)
    margin = (high / low) ** 0.05
    axes.set_xlim(high * margin, low / margin)
    ticks = _thinned(shown, room)
    axes.set_xticks(ticks, [style.percent(tick) for tick in ticks])
    axes.set_xticks([], minor=True)


# ---------------------------------------------------------------- details


def _after(lines: list[list[Axes]], line: int) -> range:
    return range(line + 1, len(lines))


def _drawn(look: Look) -> dict[str, Any]:
    face = look.colour if look.filled else "white"
    return {
        "color": look.colour,
        "linestyle": look.line,
        "marker": look.marker,
        "markerfacecolor": face,
    }


def _band(shown: Summary) -> tuple[float, float]:
    """Return the ends of the band; both are the mean if there is no spread."""
    low = shown.centre if shown.low is None else shown.low
    return low, shown.centre if shown.high is None else shown.high


def _thinned(densities: list[float], room: int) -> list[float]:
    """Return ticks that are at least 1/room of the axis apart, with both ends."""
    gap = log10(densities[0] / densities[-1]) / room
    ticks = [densities[0]]
    for density in densities[1:-1]:
        if min(log10(ticks[-1] / density), log10(density / densities[-1])) >= gap:
            ticks.append(density)
    return list(dict.fromkeys([*ticks, densities[-1]]))


def _columns(frame: Frame) -> int:
    """Return the most columns of the legend that fit; matplotlib fills column after column."""
    widths = [0.52 + inches(str(line.get_label())) for line in frame.legend]
    for columns in range(len(widths), 1, -1):
        if sum(max(part) for part in _filled(widths, columns)) <= frame.width:
            return columns
    return 1


def _filled(values: Sequence[float], columns: int) -> list[Sequence[float]]:
    least, more = divmod(len(values), columns)
    ends = [n * least + min(n, more) for n in range(columns + 1)]
    return [values[a:b] for a, b in pairwise(ends)]


def _legend_height(frame: Frame) -> float:
    if not frame.legend:
        return 0.01
    lines = [str(line.get_label()).count("\n") + 1 for line in frame.legend]
    tallest = max(sum(part) for part in _filled(lines, _columns(frame)))
    return _LINE * (tallest + (frame.legend_title is not None)) + 0.04


def _fits_beside(frame: Frame, height: float) -> bool:
    """Return whether the legend fits beside a single panel."""
    count = len(frame.legend)
    tall = _LINE * (count + (frame.legend_title is not None)) <= height
    widest = max((inches(str(line.get_label())) for line in frame.legend), default=0.0)
    return count > 3 and tall and frame.width >= _BESIDE and widest <= _MOST_BESIDE * frame.width
