"""Figure of a metric against weights remaining: a curve for each method, and dense networks."""

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

SQL = selection.SQL  # all trials of the sweep: analysis/selection/selection.py

_CHANCE = style.Look(style.GREY, "", "Chance", ":")
_MOST_PANELS = 12
_PUBLISHED = style.Look(style.GREY, ".", "Published", published.LINE)


@dataclass(frozen=True, kw_only=True)
class Facts(BaseFacts):
    """Facts of the figure; `chance` and `floor` (lower end of the axis) are fractions.

    `beside` are published curves of the same problems and methods, under our names.
    """

    panels: tuple[Panel, ...]
    metric: str
    chance: float | None = None
    floor: float | None = None
    beside: tuple[published.Curve, ...] = ()
    each_explains: bool = False


def select(connection: duckdb.DuckDBPyConnection, sweep: str, options: AccuracyOptions) -> Facts:
    """Select means over replicates of every method.

    Raises
    ------
    FigureError
        When no finished trial matches the options, or `reference` is used with another metric.
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
    """Draw panels under one legend."""
    count = len(facts.panels)
    shape = axes.abreast(count, facts.width, each_explains=facts.each_explains)
    height = axes.tall(2.3, shape, facts.width)
    together = len({panel.dataset for panel in facts.panels}) == 1
    curves = {(c.label, c.ablation): c for panel in facts.panels for c in panel.series}
    dense = axes.dense_handles(line for panel in facts.panels for line in panel.dense)
    handles = [] if facts.each_explains else [_handle(curve) for curve in _ordered(curves.values())]
    if facts.chance is not None:
        handles.append(axes.handle(_CHANCE))
    cited = dict.fromkeys(curve.cited for curve in facts.beside)
    handles += [axes.handle(_PUBLISHED, f"Published ({name})") for name in cited]
    frame = axes.Frame(facts.width, facts.title, facts.note, [*dense, *handles])
    names = [str(line.get_label()) for line in dense]
    figure, _, lines = axes.sheet(shape, height, frame, sharey=together)
    spots = [ax for line in lines for ax in line]
    for panel, ax in zip(facts.panels, spots, strict=False):
        axes.dense_line(ax, panel.dense, names)
        _draw_published(ax, panel, facts.beside)
        for curve in panel.series:
            axes.curve(ax, curve.points, _look(curve))
        densities = {p.density for curve in panel.series for p in curve.points}
        axes.weights_remaining(ax, densities, room={1: 10, 2: 8}.get(shape[1], 4))
        if facts.chance is not None:
            ax.axhline(100 * facts.chance, color=_CHANCE.colour, linestyle=_CHANCE.line)
        if facts.floor is not None:
            ax.set_ylim(100 * facts.floor, 100 + 3 * (1 - facts.floor))
        axes.ticked(ax, 8, height)
        axes.titled(ax, panel.title, facts.width / shape[1])
        ax.set_xlabel("Weights remaining (%)")
        if facts.each_explains:
            axes.explained(ax, [_handle(curve) for curve in _ordered(panel.series)], facts.width)
    for line in lines:
        line[0].set_ylabel(facts.metric)
    for spare in spots[count:]:
        spare.remove()
    return figure


def _names(panel: Panel) -> set[str]:
    return {style.ablated(curve.label, curve.ablation) for curve in panel.series}


def _look(curve: Series) -> style.Look:
    return axes.look(curve.method, curve.variant, curve.ablation, plain=curve.plain)


def _handle(curve: Series) -> Line2D:
    return axes.handle(_look(curve), style.ablated(curve.label, curve.ablation))


def _draw_published(ax: Axes, panel: Panel, beside: Iterable[published.Curve]) -> None:
    """Draw published curves as thin dotted lines in the colours of their methods, without bands."""
    methods = {own.method for own in panel.series}
    for curve in beside:
        problem = curve.dataset, curve.network
        if problem == (panel.dataset, panel.network) and curve.method in methods:
            ax.plot(
                [point.x for point in curve.points],
                [point.shown.centre for point in curve.points],
                color=style.look(curve.method).colour,
                linestyle=published.LINE,
                linewidth=0.9,
                marker=_PUBLISHED.marker,
                markersize=2.4,
            )


def _ordered(curves: Iterable[Series]) -> list[Series]:
    """Return the curves in the order of the legend: by palette, then by setting and ablation."""
    return sorted(
        curves,
        key=lambda c: (split.order(c.method), c.variant, style.ablation_order(c.ablation)),
    )
