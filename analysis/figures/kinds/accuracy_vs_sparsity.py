"""Accuracy, or another metric, against weights remaining: a curve for each method, and dense."""

from collections.abc import Iterable
from dataclasses import dataclass

import duckdb
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import style
from analysis.figures import axes, published
from analysis.figures.facts import BaseFacts, base_fields
from analysis.selection import selection, series, split
from analysis.selection.options import AccuracyOptions
from analysis.selection.series import Panel, Series
from tombola.errors import FigureError

SQL = selection.SQL

_CHANCE = style.Look(style.GREY, "", "Chance", ":")
_MOST_PANELS = 12
_PUBLISHED = style.Look(style.GREY, ".", "Published", published.LINE)


@dataclass(frozen=True, kw_only=True)
class Facts(BaseFacts):
    """What is drawn: panels, lines at chance and where the axis begins (fractions).

    `beside` are published curves of the same problems and methods, under our names.
    """

    panels: tuple[Panel, ...]
    metric: str
    chance: float | None = None
    floor: float | None = None
    beside: tuple[published.Curve, ...] = ()
    each_explains: bool = False


def select(connection: duckdb.DuckDBPyConnection, sweep: str, options: AccuracyOptions) -> Facts:
    """Means over replicates of every method.

    Raises
    ------
    FigureError
        When no trial that the options let pass is done, or reference meets another metric.
    """
    chosen = selection.choose(connection, sweep, options)
    by = split.split(chosen.rows)
    panels = series.panels(chosen, options.spread, by)
    split.check(sweep, chosen.rows, len(panels), _MOST_PANELS)
    if options.reference and options.metric != "accuracy":
        raise FigureError(f"reference goes with metric accuracy, not {options.metric}")
    beside = published.beside(options.reference, panels)
    remarks = split.absent({} if by.each_explains else {p.title: _names(p) for p in panels})
    remarks += published.footnote(options.reference, beside)
    return Facts(
        panels=panels,
        metric=chosen.metric.label,
        chance=options.chance,
        floor=options.floor,
        beside=beside,
        each_explains=by.each_explains,
        **base_fields(chosen, series.replicates(panels), options, remarks),
    )


def draw(facts: Facts) -> Figure:
    """Panels side by side under one legend."""
    count = len(facts.panels)
    shape = axes.abreast(count, facts.width, each_explains=facts.each_explains)
    height = axes.tall(2.3, shape, facts.width)
    together = len({panel.dataset for panel in facts.panels}) == 1
    curves = {(one.label, one.ablation): one for panel in facts.panels for one in panel.series}
    dense = axes.dense_handles(one for panel in facts.panels for one in panel.dense)
    handles = [] if facts.each_explains else [_handle(one) for one in _ordered(curves.values())]
    if facts.chance is not None:
        handles.append(axes.handle(_CHANCE))
    cited = dict.fromkeys(one.cited for one in facts.beside)
    handles += [axes.handle(_PUBLISHED, f"Published ({name})") for name in cited]
    frame = axes.Frame(facts.width, facts.title, facts.note, [*dense, *handles])
    names = [str(line.get_label()) for line in dense]
    figure, _, lines = axes.sheet(shape, height, frame, sharey=together)
    spots = [ax for line in lines for ax in line]
    for panel, ax in zip(facts.panels, spots, strict=False):
        axes.dense_line(ax, panel.dense, names)
        _draw_published(ax, panel, facts.beside)
        for one in panel.series:
            axes.curve(ax, one.points, _look(one))
        densities = {p.density for one in panel.series for p in one.points}
        axes.weights_remaining(ax, densities, room={1: 10, 2: 8}.get(shape[1], 4))
        if facts.chance is not None:
            ax.axhline(100 * facts.chance, color=_CHANCE.colour, linestyle=_CHANCE.line)
        if facts.floor is not None:
            ax.set_ylim(100 * facts.floor, 100 + 3 * (1 - facts.floor))
        axes.ticked(ax, 8, height)
        axes.titled(ax, panel.title, facts.width / shape[1])
        ax.set_xlabel("Weights remaining (%)")
        if facts.each_explains:
            axes.explained(ax, [_handle(one) for one in _ordered(panel.series)], facts.width)
    for line in lines:
        line[0].set_ylabel(facts.metric)
    for spare in spots[count:]:
        spare.remove()
    return figure


def _names(panel: Panel) -> set[str]:
    return {style.ablated(one.label, one.ablation) for one in panel.series}


def _look(one: Series) -> style.Look:
    return axes.look(one.method, one.variant, one.ablation, plain=one.plain)


def _handle(one: Series) -> Line2D:
    return axes.handle(_look(one), style.ablated(one.label, one.ablation))


def _draw_published(ax: Axes, panel: Panel, beside: Iterable[published.Curve]) -> None:
    """Thin dotted lines in their method's colour, behind one's own and without their bands."""
    methods = {one.method for one in panel.series}
    for one in beside:
        problem = one.dataset, one.network
        if problem == (panel.dataset, panel.network) and one.method in methods:
            ax.plot(
                [point.x for point in one.points],
                [point.shown.centre for point in one.points],
                color=style.look(one.method).colour,
                linestyle=published.LINE,
                linewidth=0.9,
                marker=_PUBLISHED.marker,
                markersize=2.4,
            )


def _ordered(curves: Iterable[Series]) -> list[Series]:
    """As the legend lists them: methods in the order of the palette, then what varies."""
    return sorted(
        curves,
        key=lambda one: (split.order(one.method), one.variant, style.ablation_order(one.ablation)),
    )
