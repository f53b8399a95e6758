"""Sheets of panels, and the marks that several figures draw on them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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
from matplotlib.transforms import ScaledTranslation

from analysis import style
from analysis.figures.canvas import Sheet
from analysis.figures.series import Dense
from analysis.stats import Summary
from analysis.style import Look


class Mark(Protocol):
    """A point of a curve."""

    @property
    def x(self) -> float: ...
    @property
    def shown(self) -> Summary: ...


_LINE, _LETTER = 0.165, 0.046
_BESIDE = 4.5


@dataclass(frozen=True)
class Frame:
    """What stands around the panels: title, legend and note; `width` in inches."""

    width: float
    title: str | None
    note: str
    legend: Sequence[Line2D]
    legend_title: str | None = None


def sheet(
    shape: tuple[int, int], panel_height: float, frame: Frame, **shared: Any
) -> tuple[Figure, SubFigure, list[list[Axes]]]:
    """A figure of lines × columns panels, each of that height in inches, in a frame.

    Returns the figure, the part of it that holds the panels, and the panels by line. The
    legend is above them, or beside a single wide one.
    """
    beside = shape == (1, 1) and frame.width >= _BESIDE and len(frame.legend) > 3
    note = fill(frame.note, int(frame.width / 0.048))
    above = _LINE * 1.4 if frame.title else 0.01
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
    parts[0].text(0.5, 0.5, frame.title or "", fontsize=10.0, ha="center", va="center")
    low = 0.5 - 0.1 / written
    parts[3].text(0.008, low, note, fontsize=7.0, color=style.GREY, ha="left", va="center")
    return figure, body, body.subplots(*shape, squeeze=False, **shared).tolist()


@dataclass(frozen=True)
class Grid:
    """Where panels stand: a line for each name, a column for each problem, if several.

    With one problem the names are spread over lines and columns.
    """

    names: tuple[str, ...]
    problems: tuple[str, ...]
    width: float

    @property
    def shape(self) -> tuple[int, int]:
        """Lines and columns."""
        if len(self.problems) > 1:
            return len(self.names), len(self.problems)
        return spread_out(len(self.names), max(2, int(self.width / 1.35)))

    @property
    def panel_height(self) -> float:
        """Inches."""
        if self.shape[0] == 1:
            return 1.7
        return 1.05 if len(self.problems) > 1 else 1.4

    def place(self, name: str, problem: str) -> tuple[int, int]:
        """Line and column of a panel."""
        if len(self.problems) > 1:
            return self.names.index(name), self.problems.index(problem)
        return divmod(self.names.index(name), self.shape[1])

    def finish(self, lines: list[list[Axes]], shown: dict[tuple[int, int], str]) -> None:
        """Titles of lines and columns, and tick labels where no panel is below or beside."""
        for line, row in enumerate(lines):
            for column, ax in enumerate(row):
                ax.set_visible((line, column) in shown)
                ax.tick_params(
                    labelbottom=not any((below, column) in shown for below in _after(lines, line)),
                    labelleft=not any((line, before) in shown for before in range(column)),
                )
        for (line, column), name in shown.items():
            if len(self.problems) == 1 or not any((line, c) in shown for c in range(column)):
                text = fill(name, int(self.width / self.shape[1] / _LETTER))
                lines[line][column].set_title(text, loc="left", fontsize=8.5)
        if len(self.problems) > 1:
            for ax, problem in zip(lines[0], self.problems, strict=True):
                ax.set_title(f"{problem}\n", fontsize=9.5)


def spread_out(count: int, columns: int) -> tuple[int, int]:
    """Lines and columns for so many panels, no more columns than that."""
    columns = min(columns, count)
    return ceil(count / columns), columns


def handle(look: Look, label: str | None = None) -> Line2D:
    """A line of the legend."""
    return Line2D([], [], label=label or look.label, **_drawn(look))


def look(method: str, variant: int, ablation: str) -> Look:
    """Colour and marker of a method's setting; an ablation is told by its line."""
    plain = style.variant(style.look(method), variant)
    if ablation == "none":
        return plain
    return replace(plain, line=style.ABLATIONS[ablation].line, filled=not plain.filled)


def dense_handles(dense: Iterable[Dense]) -> list[Line2D]:
    """Lines of the legend for dense networks, one for each label."""
    names = list(dict.fromkeys(one.label for one in dense))
    return [handle(dense_look(n), label) for n, label in enumerate(names)]


def dense_look(number: int) -> Look:
    """The look of the dense network under the n-th recipe, from 0."""
    shades = (style.DENSE.colour, style.lighter(style.DENSE.colour, 0.5))
    return Look(shades[number % 2], "", "", style.variant(style.DENSE, number + 1).line)


def curve(axes: Axes, points: Iterable[Mark], look: Look, **marks: Any) -> None:
    """Means joined by a line, with the spread as a band where there is one."""
    points = list(points)
    places = [point.x for point in points]
    axes.plot(places, [point.shown.centre for point in points], **_drawn(look), **marks)
    lows, highs = zip(*(_band(point.shown) for point in points), strict=True)
    if len(points) == 1:
        axes.vlines(places, lows, highs, color=look.colour, alpha=0.5, linewidth=1.0)
    axes.fill_between(places, lows, highs, color=look.colour, alpha=0.18, linewidth=0)


def spot(axes: Axes, x: float, shown: Summary, look: Look, beside: float = 0.0) -> None:
    """One mean, its spread as a line through it; drawn so many points (1/72 in) beside x."""
    drawn = axes.plot([x, x], _band(shown), color=look.colour, alpha=0.6, linewidth=1.0)
    drawn += axes.plot([x], [shown.centre], **{**_drawn(look), "linestyle": "none"})
    moved = ScaledTranslation(beside / 72, 0, axes.figure.dpi_scale_trans)
    for line in drawn:
        line.set_transform(axes.transData + moved)  # limits are those of the data


def dense_line(axes: Axes, dense: Sequence[Dense], names: Sequence[str]) -> None:
    """The dense network of each recipe: a line over the whole width, with its spread."""
    for one in dense:
        look = dense_look(names.index(one.label))
        axes.axhline(one.shown.centre, **{**_drawn(look), "linewidth": 0.9, "zorder": 1.5})
        low, high = _band(one.shown)
        axes.axhspan(low, high, color=look.colour, alpha=0.12, linewidth=0)


def weights_remaining(axes: Axes, densities: Iterable[float], room: int) -> None:
    """A log axis of density, sparser to the right, with ticks at the data's own values."""
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
    """Low and high; a band of no height where there is no spread."""
    low = shown.centre if shown.low is None else shown.low
    return low, shown.centre if shown.high is None else shown.high


def _thinned(densities: list[float], room: int) -> list[float]:
    """Ticks with at least a share of the axis between them, both ends kept."""
    gap = log10(densities[0] / densities[-1]) / room
    ticks = [densities[0]]
    for density in densities[1:-1]:
        if min(log10(ticks[-1] / density), log10(density / densities[-1])) >= gap:
            ticks.append(density)
    return list(dict.fromkeys([*ticks, densities[-1]]))


def _columns(frame: Frame) -> int:
    """As many as fit; matplotlib fills columns one after the other, and fits each to its words."""
    widths = [0.5 + _inches(str(line.get_label())) for line in frame.legend]
    for columns in range(len(widths), 1, -1):
        least, more = divmod(len(widths), columns)
        ends = [n * least + min(n, more) for n in range(columns + 1)]
        if sum(max(widths[a:b]) for a, b in pairwise(ends)) <= frame.width:
            return columns
    return 1


def _inches(text: str) -> float:
    """How wide the legend writes it."""
    size = FontProperties(size=rcParams["legend.fontsize"]).get_size_in_points()
    return float(TextPath((0, 0), text, size).get_extents().width) / 72 if text.strip() else 0.0


def _legend_height(frame: Frame) -> float:
    if not frame.legend:
        return 0.01
    lines = ceil(len(frame.legend) / _columns(frame)) + (frame.legend_title is not None)
    return _LINE * lines + 0.04
